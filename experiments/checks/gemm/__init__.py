"""How near the kernels come to what the processor can do: matrix products and 3x3 convolutions on one thread.

`python -m experiments.checks.gemm [--rounds 15] [--sizes 512,768,1024,1536,2048] [--channels 16,32,64,128]`

A round times everything once, in turning order: the core's sgemm, numpy's product (OpenBLAS, in its wheels) and
PyTorch's (MKL) where that is installed, and every pass of 3x3 convolutions, direct and by Winograd's algorithm. A run
that does not count comes first: the sides of a product share its operands, and whoever came first would bring them into
the caches for the others. Right before and after each the peak is measured, with FMAs on registers alone, for a few
milliseconds: a share is of the mean of these two, so that a neighbour on the same core, which slows both, is no excuse
and no harm. The table shows medians over the rounds with their quartiles, and beside them the fastest time against the
highest peak of the run.

Shares count the FLOPs of the direct algorithm: with Winograd's they go beyond 100 %. The numbers are compared before
anything is timed.
"""
