"""The engine beside other frameworks: same network, weights and batch, interleaved rounds in one run."""
