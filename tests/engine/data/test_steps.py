"""Image steps: what they do to pixels, with which parameters, and what they refuse."""

import numpy as np
import pytest

from engine.data import steps
from engine.data.preprocess import Preprocess
from engine.errors import UserError


def sheet(side: int = 120, top: int = 40, left: int = 30, height: int = 20, width: int = 15) -> np.ndarray:
    """White paper with one dark bar."""
    image = np.full((side, side), 255, np.uint8)
    image[top : top + height, left : left + width] = 10
    return image


def test_invert_is_its_own_inverse():
    image = sheet()
    assert steps.invert(image)[40, 30] == 245
    np.testing.assert_array_equal(steps.invert(steps.invert(image)), image)


@pytest.mark.parametrize("shape", [(20, 20), (20, 20, 1), (20, 20, 3)])
def test_morphology_of_one_bright_pixel(shape):
    image = np.zeros(shape, np.uint8)
    image[10, 10] = 200
    grown = steps.dilation(image, 3)
    assert grown.shape == shape
    bright = grown.reshape(20, 20, -1)[:, :, 0]
    assert (bright[9:12, 9:12] == 200).all() and np.count_nonzero(bright) == 9
    np.testing.assert_array_equal(steps.erosion(grown, 3), image)
    assert not steps.opening(image, 3).any()


def test_bounding_box_crops_to_the_ink_whichever_side_is_dark():
    image = sheet()
    assert steps.ink_box(image) == (40, 30, 60, 45)
    assert steps.ink_box(steps.invert(image)) == (40, 30, 60, 45)
    np.testing.assert_array_equal(steps.bounding_box(image, margin=4), image[36:64, 26:49])


def test_bounding_box_takes_the_union_of_contours_and_ignores_specks():
    image = sheet()
    image[90:100, 80:110] = 0
    image[5, 5] = 0
    assert steps.ink_box(image) == (40, 30, 100, 110)


def test_bounding_box_stays_inside_the_image():
    image = sheet(top=0, left=110, height=20, width=9)
    assert steps.bounding_box(image, margin=4).shape == (24, 14)


@pytest.mark.parametrize("value", [0, 255])
def test_bounding_box_of_an_empty_sheet_is_the_sheet(value):
    image = np.full((50, 60, 3), value, np.uint8)
    image[20, 20] = 128
    np.testing.assert_array_equal(steps.bounding_box(image), image)


def test_small_images_are_enlarged_once_for_steps_that_work_in_pixels():
    image = sheet(side=50, top=10, left=10)
    assert steps.apply_steps(image, ["reverse"]).shape == (50, 50)
    assert steps.apply_steps(image, ["reverse", "dilation", "erosion"]).shape == (200, 200)
    assert steps.apply_steps(sheet(side=90), ["dilation"]).shape == (90, 90)


def test_steps_do_not_write_their_input():
    image = sheet(side=50, top=10, left=10)
    before = image.copy()
    first = steps.apply_steps(image, steps.STEPS)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(steps.apply_steps(image, steps.STEPS), first)


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
        steps.apply_steps(image, ["reverse"])


def test_an_unknown_step_names_the_nearest_and_an_even_kernel_is_refused():
    with pytest.raises(UserError, match="did you mean 'dilation'"):
        steps.check_steps(["dilate"])
    with pytest.raises(UserError, match="odd"):
        steps.dilation(sheet(), 4)


def test_steps_take_parameters_and_plain_names_mean_the_defaults():
    image = steps.invert(sheet())
    read = steps.check_steps(["dilation", {"dilation": {"kernel": 5}}, {"erosion": {"times": 2}}, {"bbox": None}])
    assert read == (steps.Dilation(), steps.Dilation(5), steps.Erosion(times=2), steps.BoundingBox(3, 4, 32))
    assert np.array_equal(read[0](image), steps.dilation(image, 3))
    assert np.array_equal(read[1](image), steps.dilation(steps.dilation(image, 3), 3))
    assert np.array_equal(read[2](image), steps.erosion(image, 5))
    assert steps.apply_steps(image, [{"bbox": {"margin": 0}}]).shape == (20, 15)
    assert steps.Erosion() != steps.Dilation()


def test_an_opening_removes_what_is_smaller_than_its_kernel():
    image = np.zeros((120, 120), np.uint8)
    image[10:14, 10:14] = 255
    image[40:70, 40:70] = 255
    assert steps.apply_steps(image, ["opening"])[12, 12] == 255
    opened = steps.apply_steps(image, [{"opening": {"kernel": 5}}])
    assert opened[12, 12] == 0 and opened[55, 55] == 255
    assert np.array_equal(opened, steps.apply_steps(image, [{"opening": {"kernel": 3, "times": 2}}]))


def test_the_contrast_says_what_counts_as_ink():
    faint = np.full((100, 100), 200, np.uint8)
    faint[30:60, 40:50] = 180
    assert steps.apply_steps(faint, ["bbox"]).shape == (100, 100)
    assert steps.apply_steps(faint, [{"bbox": {"contrast": 10, "margin": 0}}]).shape == (30, 10)


def test_a_description_gives_the_step_back_and_leaves_out_defaults():
    given = ["reverse", {"dilation": {"kernel": 5}}, {"bbox": {"margin": 4, "kernel": 7}}, {"opening": {"kernel": 3}}]
    described = [steps.describe_step(each) for each in steps.check_steps(given)]
    assert described == ["reverse", {"dilation": {"kernel": 5}}, {"bbox": {"kernel": 7}}, "opening"]
    assert steps.check_steps(described) == steps.check_steps(given)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"dilation": {"kernal": 3}}, "did you mean 'kernel'"),
        ({"dilation": {"kernel": 4}}, "dilation: the kernel .* odd"),
        ({"erosion": {"kernel": 3.0}}, "erosion: kernel: expected int"),
        ({"opening": {"times": 0}}, "1 or more"),
        ({"bbox": {"margin": -1}}, "margin .* from 0 to 8192"),
        ({"bbox": {"contrast": 0}}, "contrast"),
        ({"bbox": 3}, "expected a mapping"),
        ({"reverse": {"kernel": 3}}, "unknown key"),
        ({"bbox": {}, "reverse": {}}, "one name"),
        (3, "one name"),
    ],
)
def test_bad_parameters_are_named(step, message):
    with pytest.raises(UserError, match=message):
        steps.check_steps([step])


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (1, 1, 3)])
def test_every_step_takes_an_image_of_one_pixel(shape):
    for name in steps.STEPS:
        assert steps.apply_steps(np.full(shape, 7, np.uint8), [name]).size > 0
    assert steps.apply_steps(np.full(shape, 7, np.uint8), steps.STEPS).dtype == np.uint8


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_padding_makes_a_square_with_the_image_in_the_middle(channels):
    image = np.arange(1, 11, dtype=np.uint8).reshape(2, 5)
    image = np.broadcast_to(image.reshape(2, 5, *(1 for _ in channels)), (2, 5, *channels)).copy()
    square = steps.apply_steps(image, [{"pad": {"value": 200}}])
    assert square.shape == (5, 5, *channels) and square.dtype == np.uint8
    np.testing.assert_array_equal(square[1:3], image)  # one row above, two below
    assert (square[[0, 3, 4]] == 200).all()
    upright = steps.pad_to_square(np.ascontiguousarray(image.swapaxes(0, 1)))
    np.testing.assert_array_equal(upright[:, 1:3], image.swapaxes(0, 1))
    assert not upright[:, [0, 3, 4]].any()
    assert steps.pad_to_square(square) is square


def test_a_padded_picture_keeps_its_proportions_in_a_square_size():
    """A disc in a long picture stays as wide as it is high; without the step it does not."""
    rows, columns = np.mgrid[:60, :120]
    disc = np.where((rows - 30) ** 2 + (columns - 60) ** 2 < 20**2, 255, 0).astype(np.uint8)

    def extents(*chosen):
        found = np.argwhere(Preprocess(steps=chosen, size=(40, 40)).prepare(disc)[0] > 127)
        return tuple(np.ptp(found, axis=0) + 1)

    assert extents("pad") == (13, 13) and extents() == (26, 13)
    again = Preprocess.from_dict(Preprocess(steps=({"pad": {"value": 9}},), size=(40, 40)).to_dict())
    assert again.steps == (steps.Pad(9),) and again.prepare(disc)[0, 0, 0] == 9


def test_a_square_that_is_too_large_and_a_border_of_no_grey_are_refused():
    with pytest.raises(UserError, match="an image of 1x8193 cannot be padded to a square"):
        steps.pad_to_square(np.zeros((1, 8193), np.uint8))
    for value in (-1, 256, 10**30):
        with pytest.raises(UserError, match="value of a border must be in 0..255"):
            Preprocess(steps=({"pad": {"value": value}},))
