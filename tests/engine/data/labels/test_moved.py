"""Maps of labels move as their images do: against the images themselves, for every augmentation that moves."""

import numpy as np
import pytest

from engine.data.augment_config import AugmentConfig
from engine.data.dataset import Dataset
from engine.data.labels.moved import source, warped
from engine.data.loader import Loader
from engine.errors import UserError
from engine.reading.schema import read_mapping

SIDE = 24
MOVES = {
    "flips": {"flip": 0.5, "vertical_flip": 0.5},
    "alternate": {"flip": "alternate"},
    "shift": {"shift": {"fraction": 0.3, "fill": "reflect"}},
    "crop": {"crop": {"padding": 7, "fill": "mirror"}},
    "rotation": {"rotation": {"degrees": 40, "fill": "nearest"}},
    "scaling": {"scaling": {"amount": 0.4, "fill": "wrap"}},
    "resized": {"resized_crop": {"smallest": 0.2}},
    "all": {
        "rotation": {"degrees": 20},
        "scaling": {"amount": 0.2},
        "resized_crop": {"smallest": 0.5},
        "colour_jitter": {"brightness": 0.1, "contrast": 0.0, "saturation": 0.0},
        "shift": {"fraction": 0.1},
        "flip": 0.5,
    },
}


def augment(given):
    return read_mapping(AugmentConfig, given, "augment")


def smooth_set(count=16, channels=1):
    """Images of two large areas, 40 and 200, and maps that say which."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    angles = np.linspace(0, 6, count)[:, None, None]
    maps = (np.cos(angles) * (rows - 10.3) + np.sin(angles) * (columns - 13.1) > 0).astype(np.uint8)
    images = np.where(maps, 200, 40).astype(np.uint8)[:, None].repeat(channels, axis=1)
    return images, maps


@pytest.mark.parametrize("name", MOVES)
def test_the_label_is_that_of_the_pixel_that_came_there(name):
    images, maps = smooth_set()
    loader = Loader(Dataset("maps", images, maps), 8, seed=3, augment=augment(MOVES[name]), prefetch=0)
    agreed = edges = 0
    for epoch in range(3):
        for values, labels in loader.epoch(epoch):
            bright = values[:, 0] > 120 / 255
            agreed += int((bright == (labels == 1)).sum())
            # Where the image is plainly of one area the label is right; at an edge pixels are mixed.
            plain = (values[:, 0] < 60 / 255) | (values[:, 0] > 175 / 255)
            edges += int((~plain).sum())
            wrong = (labels[plain] != bright[plain]).mean()
            assert wrong <= (0.005 if name == "all" else 0)  # two warps each take the nearest pixel
            assert labels.dtype == np.int64 and set(np.unique(labels)) <= {0, 1}
    total = 3 * len(images) * SIDE * SIDE
    assert agreed > 0.97 * total and edges < 0.15 * total


def test_without_movement_nothing_moves_and_colours_leave_maps_alone():
    images, maps = smooth_set()
    jitter = augment({"colour_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.0}})
    for how in (None, jitter):
        loader = Loader(Dataset("maps", images, maps), 16, augment=how, prefetch=0)
        ((values, labels),) = loader.epoch(0)
        plain = Loader(Dataset("maps", images, maps), 16, prefetch=0)
        ((unchanged, same),) = plain.epoch(0)
        assert np.array_equal(labels, same) and np.array_equal(values, unchanged) == (how is None)


@pytest.mark.parametrize(
    "how",
    [
        {"shift": {"fraction": 0.3, "fill": "constant"}},
        {"crop": {"padding": 6}},
        {"rotation": {"degrees": 45, "fill": "constant", "value": 200}},
        {"scaling": {"amount": 0.5, "fill": "constant"}},
    ],
    ids=lambda each: next(iter(each)),
)
def test_a_constant_border_does_not_count(how):
    """Of images that are 100 everywhere and maps of 1 the border shows: value there, and 255."""
    data = {"images": np.full((12, 1, SIDE, SIDE), 100, np.uint8), "labels": np.ones((12, SIDE, SIDE), np.uint8)}
    loader = Loader(Dataset("maps", **data, ignore=255), 12, augment=augment(how), prefetch=0)
    ((values, labels),) = loader.epoch(1)
    inside = np.abs(values[:, 0] - np.float32(100 / 255)) < 1e-6
    assert set(np.unique(labels)) == {1, 255} and 0.3 < inside.mean() < 0.99
    assert (labels[inside] == 1).all()
    # A warp mixes the pixels along the edge.
    assert ((labels == 255) == ~inside).mean() > 0.93
    with pytest.raises(UserError, match=f"augment.{next(iter(how))} fills the border with a constant"):
        Loader(Dataset("maps", **data), 12, augment=augment(how))


@pytest.mark.parametrize("name", ["contour_cutout", "cutout", "random_erasing", "mixup", "cutmix"])
def test_what_paints_or_mixes_is_refused_by_its_name(name):
    images, maps = smooth_set()
    given = {name: 0.5 if name == "mixup" else {}}
    with pytest.raises(UserError, match=f"augment.{name} changes what an image shows"):
        Loader(Dataset("maps", images, maps), 4, augment=augment(given))


def test_numbers_that_no_byte_holds_are_not_moved():
    images, maps = smooth_set()
    wrong = maps.astype(np.int64) - 1
    with pytest.raises(UserError, match="numbers from 0 to 255, these run from -1 to 0"):
        Loader(Dataset("maps", images, wrong), 4, augment=augment({"flip": 0.5}))
    Loader(Dataset("maps", images, wrong), 4)


@pytest.mark.parametrize("fill", ["nearest", "constant", "reflect", "mirror", "wrap"])
@pytest.mark.parametrize("extent", [1, 2, 5])
def test_where_pixels_come_from_is_what_the_core_does(fill, extent):
    """Shifts by whole pixels, by the core and by a map's warp."""
    import cnncore

    rng = np.random.default_rng(0)
    shifts = np.arange(-12, 13)
    image = rng.integers(1, 200, (1, 1, extent, extent)).astype(np.uint8).repeat(len(shifts), axis=0)
    moves = np.stack([shifts, shifts], axis=1).astype(np.int32)
    one = np.ones(1, np.float32)
    by_core = cnncore.gather_images(
        image, np.arange(len(shifts)), one, 0 * one, shifts=moves, fill=fill, fill_value=250
    )[:, 0]
    coefficients = np.zeros((len(shifts), 2, 3), np.int64)
    coefficients[:, 0, 0] = coefficients[:, 1, 1] = cnncore.WARP_ONE
    coefficients[:, :, 2] = -shifts[:, None] * cnncore.WARP_ONE
    assert np.array_equal(warped(image[:, 0], coefficients, fill, 250), by_core)
    by_warp = cnncore.warp_images(image, np.arange(len(shifts)), coefficients, fill=fill, fill_value=250)
    assert np.array_equal(by_warp[:, 0], by_core)
    assert (source("constant", np.array([-1, 0, extent]), extent) == [-1, 0, -1]).all()


def test_the_draws_do_not_depend_on_the_batch():
    images, maps = smooth_set()
    how = augment(MOVES["all"])
    whole = Loader(Dataset("maps", images, maps), 16, augment=how, prefetch=0)
    parts = Loader(Dataset("maps", images, maps), 5, augment=how, prefetch=2, workers=2)
    ((values, labels),) = whole.epoch(4)
    pieces = list(parts.epoch(4))
    assert np.array_equal(np.concatenate([each for each, _ in pieces]), values)
    assert np.array_equal(np.concatenate([each for _, each in pieces]), labels)
