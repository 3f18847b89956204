"""Trained networks at work: ensembles, views, classification."""
