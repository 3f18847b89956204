"""Which samples, with which labels and weights."""
