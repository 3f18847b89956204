"""Whole epochs on real sets beside PyTorch eager: seconds for training on every image, and for the test set after it.

`python -m experiments.checks.epoch_vs_torch [--networks mnist_cnn,vgg3,model3] [--rounds N] [--data-root DIR]`

An epoch draws an order, gathers its batches from images kept as bytes, makes them float32, takes a step on each, and
then evaluates loss and accuracy on the test set. PyTorch's loop is the quick one: the whole set in one byte tensor, a
batch by indexing, converted at once, no DataLoader; for channels_last the bytes lie in that order already. All sides
have the same first weights and the same order, so that their losses agree. Each is a process of its own that is
stopped while another works; a round is one epoch of each, in turning order.
"""
