"""Commands that try the reports' training methods on real sets; each prints a table beside what was published.

What a study can say of them stands in `experiments/studies/` under the command's name: rows, stages, published values.
The same command again goes on where it was cut off under --out and repeats nothing.
"""
