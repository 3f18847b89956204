"""Sums of products as C: how the weights lie, plain loops, and loops of vectors."""
