"""Random whole networks: every gradient beside PyTorch's in float64.

`python -m experiments.checks.gradients [--networks 600] [--first 0]`

A gradient passes where it differs by at most 2e-3 of the largest gradient of its tensor, or of 1 % of the network's
largest where that is more (a bias before batch normalisation has a true gradient of zero). Where the input of an
activation stands at its kink (a ReLU's at zero), or two elements of a max-pool's window are equal, up to what float32
rounds away, the two may rightly take different sides: such samples are found by hooks in the float64 network, replaced
by fresh draws, and counted. The first 200 networks have few kinds of activations, those from 200 on all, those from 400
on also the layers of residual networks, MobileNets and U-Nets. No network is left out; one whose every draw has ties is
given up for another one, and counted.
"""
