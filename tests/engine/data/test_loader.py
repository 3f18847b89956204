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


# ---- what the transforms of a user give back ---

GREY = Dataset("grey", np.full((8, 1, 6, 6), 200, np.uint8), np.arange(8) % 2)
FLOATS = Dataset("floats", np.full((8, 1, 6, 6), 0.5, np.float32), np.arange(8) % 2)
WRONG_SAMPLES = {
    "scaled": (GREY, lambda image, rng: image / np.float32(255), "gave float32 for uint8 images"),
    "brighter": (GREY, lambda image, rng: image * 1.5, "gave float64 for uint8 images"),
    "int16": (GREY, lambda image, rng: image.astype(np.int16) + 100, "gave int16 for uint8 images"),
    "mask": (GREY, lambda image, rng: image > 3, "gave bool for uint8 images"),
    "nothing": (GREY, lambda image, rng: None, "gave NoneType"),
    "a list": (GREY, lambda image, rng: image.tolist(), "gave list"),
    "one pixel": (GREY, lambda image, rng: image[:, :1, :1], r"gave shape \(1, 1, 1\) for images of shape \(1, 6, 6\)"),
    "no channel": (GREY, lambda image, rng: image[0], r"gave shape \(6, 6\) for images of shape \(1, 6, 6\)"),
    "float64": (FLOATS, lambda image, rng: image.astype(np.float64), "gave float64 for float32 images"),
    "uint8": (FLOATS, lambda image, rng: (255 * image).astype(np.uint8), "gave uint8 for float32 images"),
}


@pytest.mark.parametrize(("dataset", "transform", "message"), WRONG_SAMPLES.values(), ids=WRONG_SAMPLES)
def test_a_sample_transform_that_gives_another_kind_of_image_is_refused(dataset, transform, message):
    same = lambda image, rng: image[:, ::-1]  # noqa: E731
    for transforms, place in (((transform,), 0), ((same, transform, same), 1)):
        loader = Loader(dataset, 4, sample_transforms=transforms)
        with pytest.raises(UserError, match=rf"^{dataset.name}: sample_transforms\[{place}\] {message}"):
            list(loader.epoch(0))
    (images, _), *_ = Loader(dataset, 4, sample_transforms=(same,)).epoch(0)
    assert images.shape == (4, 1, 6, 6)


WRONG_BATCHES = {
    "nothing": (lambda x, y, rng: None, "gave NoneType"),
    "images alone": (lambda x, y, rng: x, "gave ndarray"),
    "float64": (lambda x, y, rng: (x.astype(np.float64), y), "gave images of float64"),
    "uint8": (lambda x, y, rng: (x.astype(np.uint8), y), "gave images of uint8"),
    "fewer": (lambda x, y, rng: (x[:2], y[:2]), r"gave images of shape \(2, 1, 6, 6\)"),
    "smaller": (lambda x, y, rng: (x[..., 1:], y), r"gave images of shape \(4, 1, 6, 5\)"),
    "a list of labels": (lambda x, y, rng: (x, list(y)), "gave labels of type list"),
    "fewer labels": (lambda x, y, rng: (x, y[:1]), r"gave labels of int64 \(1,\) for 4 images"),
    "float64 labels": (lambda x, y, rng: (x, np.eye(2)[y]), r"gave labels of float64 \(4, 2\)"),
}


@pytest.mark.parametrize(("transform", "message"), WRONG_BATCHES.values(), ids=WRONG_BATCHES)
def test_a_batch_transform_that_gives_another_kind_of_batch_is_refused(transform, message):
    with pytest.raises(UserError, match=f"^grey: batch_transform {message}"):
        list(Loader(GREY, 4, batch_transform=transform).epoch(0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_transforms", lambda image, rng: image),
        ("sample_transforms", (3,)),
        ("batch_transform", "mixup"),
        ("drop_last", "no"),
        ("prefetch", "2"),
        ("prefetch", 1.5),
        ("workers", "2"),
        ("workers", 1.5),
    ],
)
def test_arguments_of_a_loader(name, value):
    with pytest.raises(UserError, match=rf"^Loader: {name} must be"):
        Loader(GREY, 4, **{name: value})
