"""The fast studies' whole recipes beside PyTorch: the same losses step by step, then what a step takes.

`python -m experiments.checks.recipe_vs_torch [--studies cifar10_fast,mnist_fast] [--steps 20] [--rounds 7] [--epoch]
[--python /elsewhere/bin/python] [--data-root DIR] [key=value …]`

PyTorch trains as the study's configuration says: its first weights (whitened filters among them), rates by step and by
role, decay by role, Nesterov's momentum, label smoothing and lookahead averages, eager, with fused SGD, contiguous and
channels_last. The batches are our loader's, with its augmentation, made beforehand and laid out for each side: no side
waits for data. A filter that never learns asks for no gradient there.

The first steps are also taken in float64. Ours agree where their losses differ from those by at most 1e-3, or by ten
times what PyTorch's in float32 have differed until then: where rounding decides which element of a max-pool wins or on
which side of its kink a ReLU stands, one step is enough to part two trainings, and the next ones amplify it. The
command ends with status 1 otherwise. Then rounds in turning order, all other sides stopped; with --epoch one epoch of
each as well.
`key=value` is laid over the configuration: algorithm=direct does without Winograd's algorithm, which rounds more.
"""
