"""Trained networks behind HTTP: `python -m engine.serve NET…`."""
