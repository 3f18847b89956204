"""Commands that try the reports' training methods on real sets; each prints a table beside what was published.

Every training has a run folder under --out: the same command again goes on where it was cut off and repeats nothing.
"""
