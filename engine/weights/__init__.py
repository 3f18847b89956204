"""Weights from files of PyTorch and Keras into a network: read as numbers, put where they belong, and reported."""
