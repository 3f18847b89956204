"""One module per framework: `version()` names it, `prepare(job, side)` builds a training step or a prediction.

A module imports its framework and `experiments.peers.job`, nothing else of this project (but for `ours`): it runs in
the interpreter where the framework is installed.
"""
