"""Data sets, image preparation, splits and the loader that feeds a training run."""
