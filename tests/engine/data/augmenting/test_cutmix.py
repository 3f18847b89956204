"""CutMix: one rectangle of another image, labels by its area, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.augment_config import AugmentConfig, CutMix
from engine.data.augmenting.cutmix import BatchCutMix, cutmix
from engine.data.dataset import Dataset
from engine.data.loader import Loader, batch_mixer
from engine.errors import UserError


def batch(count: int = 5, height: int = 6, width: int = 9) -> np.ndarray:
    """Images of one value each, its number."""
    return np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None, None], (count, 2, height, width)).copy()


@given(st.integers(0, 2**32), st.sampled_from([(6, 9), (1, 1), (1, 7), (8, 3)]))
def test_labels_are_mixed_by_the_pixels_that_came_over(seed, size):
    images, labels = batch(5, *size), np.eye(5, dtype=np.float32)
    mixed, soft = cutmix(images, labels, 1.0, np.random.default_rng(seed))
    assert mixed.dtype == soft.dtype == np.float32
    for number in range(5):
        shares = [(mixed[number] == other).mean() for other in range(5)]
        np.testing.assert_allclose(soft[number], shares, atol=1e-6)
    changed = (mixed != images).any(axis=(0, 1))
    rows, columns = np.nonzero(changed)
    if len(rows):  # a rectangle, the same in every image
        assert changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    assert np.array_equal(images, batch(5, *size)) and np.array_equal(labels, np.eye(5))


def test_a_generator_repeats_and_areas_are_spread():
    images, labels = batch(4, 32, 32), np.eye(4, dtype=np.float32)
    twice = [cutmix(images, labels, 1.0, np.random.default_rng(3))[0] for _ in range(2)]
    assert np.array_equal(*twice)
    kept = [cutmix(images, labels, 1.0, np.random.default_rng(seed))[1].max(axis=1).min() for seed in range(300)]
    assert min(kept) < 0.55 and max(kept) > 0.95


def test_a_loader_mixes_its_share_of_the_batches_and_repeats():
    images = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 1, 8, 8)).copy()
    data = Dataset("numbers", images, np.arange(40) % 4, ("a", "b", "c", "d"))
    config = AugmentConfig(cutmix=CutMix(1.0, 0.5))
    loader = Loader(data, 4, seed=1, augment=config, batch_transform=batch_mixer(config, 4))
    first, again = list(loader.epoch(0)), list(loader.epoch(0, 3))
    assert all(np.array_equal(x, y) and np.array_equal(a, b) for (x, a), (y, b) in zip(first[3:], again, strict=True))
    assert all(labels.shape == (4, 4) and np.allclose(labels.sum(axis=1), 1) for _, labels in first)
    mixed = [bool((np.ptp(x, axis=(1, 2, 3)) > 0).any()) for x, _ in first]
    assert 0 < sum(mixed) < 10


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(UserError, match="classes"):
        cutmix(batch(), np.zeros(5, np.float32), 1.0, np.random.default_rng(0))
    with pytest.raises(UserError, match="2 or more classes"):
        BatchCutMix(1.0, 1.0, 1)
    assert batch_mixer(AugmentConfig(), 1) is None
