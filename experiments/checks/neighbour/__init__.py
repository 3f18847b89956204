"""What a busy foreign process costs: one image and a training step, alone on the machine and beside it.

`python -m experiments.checks.neighbour [--rounds 5] [--seconds 0.5]`

Every number is a process of its own. In each round every network is measured alone, beside, and beside on one worker;
means are over all calls of a process, waiting included, since that is what a neighbour costs. Prints medians over the
rounds.
"""
