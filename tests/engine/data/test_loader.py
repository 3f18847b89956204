"""The loader: an order that depends on seed and epoch only, and an epoch that can be entered anywhere."""

import threading

import numpy as np
import pytest

from engine.data.dataset import Dataset
from engine.data.loader import Loader, Mixup
from engine.draws import epoch_order, generator
from engine.errors import UserError


def dataset(count=23):
    images = np.arange(count * 4, dtype=np.uint8).reshape(count, 1, 2, 2)
    return Dataset("tiny", images, np.arange(count, dtype=np.int64) % 3, ("a", "b", "c"))


def shifted(image, rng):
    return image + rng.integers(0, 5, dtype=np.uint8)


def test_order_is_a_permutation_that_seed_and_epoch_decide():
    orders = {(seed, epoch): epoch_order(100, seed, epoch) for seed in (0, 1) for epoch in (0, 1)}
    assert all(sorted(order) == list(range(100)) for order in orders.values())
    assert len({order.tobytes() for order in orders.values()}) == 4
    assert np.array_equal(epoch_order(100, 1, 1), orders[1, 1])


def test_order_is_pinned():
    """The raw words of Philox decide: a change here would break the resume of every stored run."""
    assert epoch_order(8, seed=7, epoch=3).tolist() == [5, 6, 1, 2, 4, 0, 7, 3]


def test_an_epoch_has_every_sample_once_with_a_short_last_batch():
    batches = list(Loader(dataset(), 5).epoch(0))
    assert [len(x) for x, _ in batches] == [5, 5, 5, 5, 3]
    pixels = np.sort(np.concatenate([x[:, 0, 0, 0] for x, _ in batches]) * 255)
    assert np.allclose(pixels, np.arange(23) * 4)
    assert all(x.dtype == np.float32 and x.flags.c_contiguous and y.dtype == np.int64 for x, y in batches)


def test_drop_last():
    loader = Loader(dataset(), 5, drop_last=True)
    assert len(loader) == 4 and [len(x) for x, _ in loader.epoch(0)] == [5, 5, 5, 5]
    with pytest.raises(UserError, match="drop_last"):
        Loader(dataset(3), 5, drop_last=True)


@pytest.mark.parametrize("prefetch", [0, 1, 4])
@pytest.mark.parametrize("start", [0, 2, 5])
def test_an_epoch_entered_at_any_batch_goes_on_the_same(prefetch, start):
    def loader(ahead):
        transform = Mixup(0.4, 3)
        return Loader(dataset(), 5, seed=3, sample_transforms=(shifted,), batch_transform=transform, prefetch=ahead)

    whole = list(loader(0).epoch(2))
    part = list(loader(prefetch).epoch(2, start))
    assert len(part) == len(whole) - start
    for (x, y), (wanted_x, wanted_y) in zip(part, whole[start:], strict=True):
        assert np.array_equal(x, wanted_x) and np.array_equal(y, wanted_y)


def test_augmentation_differs_between_epochs_and_leaves_the_data_alone():
    data = dataset()
    before = data.images.copy()
    loader = Loader(data, 23, sample_transforms=(shifted,))
    first, second = (next(iter(loader.epoch(epoch)))[0] for epoch in (0, 1))
    assert not np.array_equal(np.sort(first.ravel()), np.sort(second.ravel()))
    assert np.array_equal(data.images, before)


def test_mixup_gives_soft_labels_that_sum_to_one():
    _, soft = next(iter(Loader(dataset(), 8, batch_transform=Mixup(1.0, 3)).epoch(0)))
    assert soft.dtype == np.float32 and soft.shape == (8, 3)
    assert np.allclose(soft.sum(axis=1), 1)


def test_an_error_on_the_thread_arrives_and_the_thread_ends():
    def broken(image, rng):
        raise UserError("broken transform")

    with pytest.raises(UserError, match="broken transform"):
        list(Loader(dataset(), 5, sample_transforms=(broken,)).epoch(0))
    epoch = Loader(dataset(), 2).epoch(0)
    next(epoch)
    epoch.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cnn-loader")]


def test_generators_of_different_places_differ():
    keys = [(0, 1, 0, 0), (1, 1, 0, 0), (0, 2, 0, 0), (0, 1, 1, 0), (0, 1, 0, 1)]
    assert len({generator(*key).bytes(8) for key in keys}) == len(keys)


def test_bad_arguments():
    for options in ({"batch_size": 0}, {"batch_size": 4, "seed": -1}):
        with pytest.raises(UserError):
            Loader(dataset(), **options)
    with pytest.raises(UserError, match="mixup"):
        Mixup(0.0, 3)
    with pytest.raises(UserError, match="mixup"):
        Mixup(float("nan"), 3)
