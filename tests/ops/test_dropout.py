"""Dropout: the documented mask bit by bit, its mean, and that each part of the key matters."""

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.ops import oracle


def kept(
    count: int, rate: float, *, batch: int = 1, seed: int = 0, step: int = 0, stream: int = 0, draws: int = 0
) -> NDArray[np.bool_]:
    """The core's mask, read off from ones."""
    src, dst = np.ones(batch * count, np.float32), np.empty(batch * count, np.float32)
    geometry = {"count": count, "draws": draws or count, "stream": stream, "rate": rate}
    cnncore.run_op("dropout", {"dst": dst, "src": src}, geometry, batch, seed=seed, step=step)
    return dst != 0


@pytest.mark.parametrize("rate", (0.1, 0.2, 0.5, 0.7, 0.999))
def test_exactly_the_documented_mask(rate: float, isa: str) -> None:
    for seed, step, stream in [(0, 0, 0), (12345678901234567890, 3, 2), (1, 2**32 - 1, 7)]:
        expected = oracle.dropout_mask(10_001, np.float32(rate), seed, step, stream)
        assert np.array_equal(kept(10_001, rate, seed=seed, step=step, stream=stream), expected)


@pytest.mark.parametrize("rate", (0.1, 0.5, 0.7))
def test_mean(rate: float) -> None:
    count = 200_000
    share = kept(count, rate, seed=4).mean()
    assert abs(share - (1.0 - rate)) < 5.0 * np.sqrt(rate * (1.0 - rate) / count)


def test_the_whole_key_matters() -> None:
    masks = [kept(4096, 0.5, seed=seed, step=step, stream=stream) for seed, step, stream in
             [(0, 0, 0), (1, 0, 0), (1 << 32, 0, 0), (0, 1, 0), (0, 0, 1)]]  # fmt: skip
    for i, a in enumerate(masks):
        for b in masks[i + 1 :]:
            assert 0.4 < (a == b).mean() < 0.6


def test_a_sample_keeps_its_mask_in_a_smaller_batch() -> None:
    assert np.array_equal(kept(100, 0.5, batch=3, seed=9), kept(100, 0.5, batch=7, seed=9)[:300])


@pytest.mark.parametrize("draws", (1, 3, 64))
def test_elements_that_share_a_draw_share_its_fate(draws: int, isa: str) -> None:
    together = kept(64 * 9, 0.4, batch=7, seed=9, stream=1, draws=draws).reshape(7, -1, draws)
    assert np.array_equal(together, np.repeat(together[:, :1], 64 * 9 // draws, axis=1))
    assert np.array_equal(together[:, 0].ravel(), oracle.dropout_mask(7 * draws, np.float32(0.4), 9, 0, 1))


def test_its_own_gradient() -> None:
    rng = np.random.default_rng(0)
    geometry = {"count": 1000, "draws": 1000, "stream": 1, "rate": 0.3}
    mask = kept(1000, 0.3, seed=5, step=2, stream=1)
    diff_dst, diff_src = rng.standard_normal(1000).astype(np.float32), np.empty(1000, np.float32)
    cnncore.run_op("dropout", {"dst": diff_src, "src": diff_dst}, geometry, 1, seed=5, step=2)
    assert np.array_equal(diff_src != 0, mask)
    np.testing.assert_allclose(diff_src[mask], diff_dst[mask] / 0.7, rtol=1e-6)
