"""Do trainings with Winograd's algorithm end at the accuracy of direct ones? Pairs of runs, and the 95 % interval.

`python -m experiments.checks.winograd_accuracy [--studies mnist,cifar10] [--seeds 0,1] [--epochs N] [--data-root DIR]`

Both runs of a pair have the same first weights and see the same batches in the same order; only the algorithms differ.
What counts is the accuracy on the test set after the last epoch: no epoch is picked. The learning rate falls to zero
along a cosine, in both runs, so that the last weights hardly depend on the last batches. Every run is kept under --out
with its checkpoints: the same command again goes on where it was cut off, and repeats nothing.
"""
