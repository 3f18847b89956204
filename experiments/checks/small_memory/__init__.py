"""What a training step in less memory saves, and what it costs."""
