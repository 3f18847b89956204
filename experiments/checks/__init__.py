"""Checks that print what they find: gradients beside PyTorch, determinism, time spent in Python.

Run each as `python -m experiments.checks.NAME`; the exit status is 1 where a check fails. Those that compare with
PyTorch need it installed: `pip install torch`.
"""
