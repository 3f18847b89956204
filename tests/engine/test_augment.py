"""Image steps, mixup and the digits on sheets: what they do to pixels, and that they always do the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data import augment, digits
from engine.errors import UserError


def sheet(side: int = 120, top: int = 40, left: int = 30, height: int = 20, width: int = 15) -> np.ndarray:
    """White paper with one dark bar."""
    image = np.full((side, side), 255, np.uint8)
    image[top : top + height, left : left + width] = 10
    return image


def test_invert_is_its_own_inverse():
    image = sheet()
    assert augment.invert(image)[40, 30] == 245
    np.testing.assert_array_equal(augment.invert(augment.invert(image)), image)


@pytest.mark.parametrize("shape", [(20, 20), (20, 20, 1), (20, 20, 3)])
def test_morphology_of_one_bright_pixel(shape):
    image = np.zeros(shape, np.uint8)
    image[10, 10] = 200
    grown = augment.dilation(image, 3)
    assert grown.shape == shape
    bright = grown.reshape(20, 20, -1)[:, :, 0]
    assert (bright[9:12, 9:12] == 200).all() and np.count_nonzero(bright) == 9
    np.testing.assert_array_equal(augment.erosion(grown, 3), image)
    assert not augment.opening(image, 3).any()


def test_bounding_box_crops_to_the_ink_whichever_side_is_dark():
    image = sheet()
    assert augment.ink_box(image) == (40, 30, 60, 45)
    assert augment.ink_box(augment.invert(image)) == (40, 30, 60, 45)
    np.testing.assert_array_equal(augment.bounding_box(image, margin=4), image[36:64, 26:49])


def test_bounding_box_takes_the_union_of_contours_and_ignores_specks():
    image = sheet()
    image[90:100, 80:110] = 0
    image[5, 5] = 0
    assert augment.ink_box(image) == (40, 30, 100, 110)


def test_bounding_box_stays_inside_the_image():
    image = sheet(top=0, left=110, height=20, width=9)
    assert augment.bounding_box(image, margin=4).shape == (24, 14)


@pytest.mark.parametrize("value", [0, 255])
def test_bounding_box_of_an_empty_sheet_is_the_sheet(value):
    image = np.full((50, 60, 3), value, np.uint8)
    image[20, 20] = 128
    np.testing.assert_array_equal(augment.bounding_box(image), image)


def test_small_images_are_enlarged_once_for_steps_that_work_in_pixels():
    image = sheet(side=50, top=10, left=10)
    assert augment.apply_steps(image, ["reverse"]).shape == (50, 50)
    assert augment.apply_steps(image, ["reverse", "dilation", "erosion"]).shape == (200, 200)
    assert augment.apply_steps(sheet(side=90), ["dilation"]).shape == (90, 90)


def test_steps_do_not_write_their_input():
    image = sheet(side=50, top=10, left=10)
    before = image.copy()
    first = augment.apply_steps(image, augment.STEPS)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(augment.apply_steps(image, augment.STEPS), first)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.float32), "uint8"),
        (np.zeros((0, 4), np.uint8), r"\(0, 4\)"),
        (np.zeros((2, 2, 7), np.uint8), r"\(2, 2, 7\)"),
        ([[1, 2]], "list"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(UserError, match=message):
        augment.apply_steps(image, ["reverse"])


def test_an_unknown_step_names_the_nearest_and_an_even_kernel_is_refused():
    with pytest.raises(UserError, match="did you mean 'dilation'"):
        augment.check_steps(["dilate"])
    with pytest.raises(UserError, match="odd"):
        augment.dilation(sheet(), 4)


def mixup_batch(seed: int) -> tuple[np.ndarray, np.ndarray]:
    images = np.arange(4 * 6, dtype=np.float32).reshape(4, 1, 2, 3)
    return augment.mixup(images, np.eye(4, dtype=np.float32), 0.4, np.random.default_rng(seed))


@given(st.integers(0, 2**32))
def test_mixup_weighs_images_and_labels_alike(seed):
    images, labels = mixup_batch(seed)
    assert images.dtype == labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    sources = np.arange(4 * 6, dtype=np.float32).reshape(4, 6)
    np.testing.assert_allclose(images.reshape(4, 6), labels @ sources, rtol=1e-4, atol=1e-4)


def test_mixup_repeats_with_its_generator_and_refuses_hard_labels():
    np.testing.assert_array_equal(mixup_batch(3)[0], mixup_batch(3)[0])
    with pytest.raises(UserError, match="classes"):
        augment.mixup(np.zeros((2, 1), np.float32), np.zeros(2, np.float32), 0.2, np.random.default_rng(0))
    with pytest.raises(UserError, match="alpha"):
        augment.mixup(np.zeros((2, 1), np.float32), np.eye(2, dtype=np.float32), 0.0, np.random.default_rng(0))


def test_digits5k_are_500_of_each():
    images, labels = digits.digits5k()
    assert images.shape == (5000, 28, 28) and images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [500] * 10
    assert images.max() == 255 and np.median(images) == 0


def test_digits_on_sheets_are_keyed_by_seed_and_sample():
    some, labels = digits.digits_on_sheets(seed=5, count=30)
    every, all_labels = digits.digits_on_sheets(seed=5)
    assert np.bincount(labels).tolist() == [3] * 10
    places = np.concatenate([np.flatnonzero(all_labels == label)[:3] for label in range(10)])
    for few, place in zip(some, places):
        np.testing.assert_array_equal(few, every[place])
    other, _ = digits.digits_on_sheets(seed=6, count=30)
    assert any(one.shape != two.shape for one, two in zip(some, other))


def test_digits_on_sheets_are_black_on_white_within_the_asked_sides():
    sheets, _ = digits.digits_on_sheets(sheet_sides=(50, 60), digit_sides=(20, 30), count=200)
    sides = {each.shape for each in sheets}
    assert len(sides) == 11 and all(50 <= height <= 60 and height == width for height, width in sides)
    assert all(np.median(each) == 255 and each.min() < 100 for each in sheets)
    fixed, _ = digits.digits_on_sheets(sheet_sides=(64, 64), count=10)
    assert {each.shape for each in fixed} == {(64, 64)}


def test_the_first_draw_is_pinned():
    # Were these words to change, every stored table would no longer be what its configuration says.
    assert digits.sample_words(0, 0).tolist() == [
        17061384294756208000,
        3492049476177902260,
        3999415460000651481,
        12592862837184101706,
    ]
    assert len({tuple(digits.sample_words(seed, sample)) for seed in range(3) for sample in range(3)}) == 9


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"digit_sides": (20, 80)}, "must fit"),
        ({"sheet_sides": (60, 50)}, "smallest and a largest"),
        ({"count": 0}, "count"),
        ({"seed": -1, "count": 10}, "negative"),
    ],
)
def test_sheets_that_cannot_be_made_are_refused(keywords, message):
    with pytest.raises(UserError, match=message):
        digits.digits_on_sheets(**keywords)
