"""What the rules of gradients are written with, and those of ops that work by channel."""
