"""Random rectangles: areas, ratios and places, the same on every machine, and images cropped to them."""

import hashlib

import cnncore
import numpy as np
import pytest

from engine.data.augmenting.rectangles import WORDS, crop_maps, powers, rectangles


def drawn(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 32, (count, WORDS), dtype=np.uint32)


def test_powers_are_near_those_of_the_library_and_exact_at_none():
    exponents = np.linspace(-1, 1, 2001)
    for base in (1.0, 4 / 3, 10 / 3, 10.0):
        assert np.abs(powers(base, exponents) / base**exponents - 1).max() < 1e-14
    assert powers(7.0, np.zeros(1)).tolist() == [1.0]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 50), (50, 20)])
def test_a_rectangle_lies_within_and_has_its_area_and_ratio(height, width):
    boxes, found = rectangles(drawn(4000), 0.1, 0.5, 1.5, height, width)
    top, left, tall, wide = boxes.T
    assert found.all() and (top >= 0).all() and (left >= 0).all()
    assert (top + tall <= height).all() and (left + wide <= width).all()
    # Each side is rounded by half a pixel at most.
    assert ((tall - 0.5) * (wide - 0.5) <= 0.5 * height * width).all()
    assert ((tall + 0.5) * (wide + 0.5) >= 0.1 * height * width).all()
    assert ((wide - 0.5) / (tall + 0.5) <= 1.5).all() and ((wide + 0.5) / (tall - 0.5) >= 1 / 1.5).all()
    room = height - tall
    assert (top[room > 0] == 0).any() and (top == room)[room > 0].any()  # the first place and the last
    assert abs((top[room > 0] / room[room > 0]).mean() - 0.5) < 0.03
    # The largest areas fit a long image at few ratios.
    assert abs((tall * wide).mean() / (height * width) - 0.3) < 0.05


def test_what_never_fits_is_the_whole_image():
    boxes, found = rectangles(drawn(50), 0.9, 1.0, 1.0, 1, 40)
    assert not found.any() and (boxes == [0, 0, 1, 40]).all()
    boxes, found = rectangles(drawn(50), 0.01, 1.0, 3.0, 1, 1)
    assert (boxes[found] == [0, 0, 1, 1]).all() and (boxes[~found] == [0, 0, 1, 1]).all()


def test_the_same_words_give_the_same_rectangles_on_every_machine():
    """A change here would make other runs of all with a resized crop or random erasing."""
    boxes, _ = rectangles(drawn(1000), 0.02, 0.4, 10 / 3, 32, 48)
    assert hashlib.sha256(boxes.astype("<i8").tobytes()).hexdigest()[:16] == "321944f49c8fc4ba"


def oracle(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A rectangle of (C, H, W) stretched to the whole, bilinear, in float64; middles of pixels at halves."""
    top, left, tall, wide = box
    height, width = image.shape[1:]
    ends = []
    for first, side, whole in ((top, tall, height), (left, wide, width)):
        place = np.clip(first + (np.arange(whole) + 0.5) * side / whole - 0.5, 0, whole - 1)
        low = np.minimum(np.floor(place).astype(int), max(whole - 2, 0))
        ends.append((low, np.minimum(low + 1, whole - 1), place - low))
    (y0, y1, fy), (x0, x1, fx) = ends
    upper = image[:, y0][:, :, x0] * (1 - fx) + image[:, y0][:, :, x1] * fx
    lower = image[:, y1][:, :, x0] * (1 - fx) + image[:, y1][:, :, x1] * fx
    return upper * (1 - fy[:, None]) + lower * fy[:, None]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (7, 40), (1, 9), (1, 1)])
def test_a_crop_is_its_rectangle_stretched(height, width):
    images = np.random.default_rng(1).integers(0, 256, (200, 3, height, width), np.uint8)
    boxes, _ = rectangles(drawn(200, 2), 0.05, 1.0, 2.0, height, width)
    got = cnncore.warp_images(images, np.arange(200), crop_maps(boxes, height, width), fill="nearest")
    wanted = np.stack([oracle(image.astype(float), box) for image, box in zip(images, boxes)])
    assert np.abs(got - wanted).max() < 1.0
    whole = np.all(boxes == [0, 0, height, width], axis=1)
    assert np.array_equal(got[whole], images[whole])
