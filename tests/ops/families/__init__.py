"""Families of ops, a file for each kind; `base.py` says what a family is."""
