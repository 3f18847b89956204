"""What measurements have in common: the networks, and sides that take turns."""
