"""A linear layer gives a sample the same bits whether it comes alone, in a pair or in a batch."""

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

RANDOM = np.random.default_rng(3)
BATCH = 5


def forward(src: NDArray[np.float32], weights: NDArray[np.float32], bias: NDArray[np.float32] | None, n: int,
            threads: int) -> NDArray[np.float32]:  # fmt: skip
    dst = np.full((len(src), n), np.nan, np.float32)
    geometry = {"k": src.shape[1], "n": n, "activation": int(bias is not None)}
    operands = {"dst": dst, "src": src, "weights": weights, "bias": bias}
    cnncore.run_op("linear_forward", operands, geometry, len(src), threads=threads)
    return dst


@pytest.mark.parametrize("isa", [name for name in cnncore.available_isas() if name != "reference"])
@pytest.mark.parametrize("n", (1, 16, 17, 40, 64, 79, 130))
@pytest.mark.parametrize("with_bias", (False, True))
def test_a_sample_alone_in_a_pair_or_in_a_batch(isa: str, n: int, with_bias: bool) -> None:
    usual, k = cnncore.isa(), 37
    src = RANDOM.standard_normal((BATCH, k)).astype(np.float32)
    panels = -(-n // cnncore.PANEL)
    weights = cnncore.aligned_zeros(panels * k * cnncore.PANEL)
    weights[:] = RANDOM.standard_normal(weights.size)
    bias = RANDOM.standard_normal(n).astype(np.float32) if with_bias else None
    cnncore.set_isa(isa)
    try:
        expected = forward(src, weights, bias, n, threads=1)
        for threads in (1, 3):
            for size in (1, 2):
                for start in range(0, BATCH - size + 1, size):
                    part = np.ascontiguousarray(src[start : start + size])
                    result = forward(part, weights, bias, n, threads)
                    assert result.tobytes() == expected[start : start + size].tobytes(), (threads, size, start)
    finally:
        cnncore.set_isa(usual)
