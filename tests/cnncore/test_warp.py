"""warp_images: its definition in float64, a stored hash on every instruction set, OpenCV, maps, bad arguments."""

import hashlib

import cnncore
import cv2
import numpy as np
import pytest

ONE = cnncore.WARP_ONE
BORDERS = {
    "nearest": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
    "mirror": cv2.BORDER_REFLECT_101,
}
PADS = {"nearest": "edge", "constant": "constant", "reflect": "symmetric", "wrap": "wrap", "mirror": "reflect"}
SHAPES = [(1, 28, 28), (3, 32, 32), (2, 7, 150), (1, 1, 9), (1, 5, 1)]


def case(shape, n=6):
    """Images of Philox's words, and maps that turn, scale, shear and move: no number of it is a library's."""
    counters = np.zeros((8 * n + np.prod(shape), 4), np.uint32)
    counters[:, 0] = np.arange(len(counters))
    words = cnncore.philox_draws(counters, (1, 2))
    words = words.reshape(-1).astype(np.int64)
    images = (words[: 3 * np.prod(shape)] >> 24).astype(np.uint8).reshape(3, *shape)
    maps = (words[-6 * n :].reshape(n, 2, 3) - 2**31) // 4
    maps[:, [0, 1], [0, 1]] += ONE
    maps[..., 2] *= 8
    return images, np.arange(n) % 3, maps


def between(image, maps, fill, value):
    """One plane in float64, padded by NumPy and interpolated at the exact places."""
    height, width = image.shape
    room = 3 * max(height, width) + 40
    keywords = {"constant_values": value} if fill == "constant" else {}
    padded = np.pad(image.astype(float), room, mode=PADS[fill], **keywords)
    rows, columns = np.mgrid[:height, :width].astype(float)
    x = np.clip((maps[0, 0] * columns + maps[0, 1] * rows + maps[0, 2]) / ONE, -room, width + room - 2) + room
    y = np.clip((maps[1, 0] * columns + maps[1, 1] * rows + maps[1, 2]) / ONE, -room, height + room - 2) + room
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    x, y = x - left, y - top
    upper = padded[top, left] * (1 - x) + padded[top, left + 1] * x
    lower = padded[top + 1, left] * (1 - x) + padded[top + 1, left + 1] * x
    return upper * (1 - y) + lower * y


@pytest.mark.parametrize("fill", PADS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_grey_level_is_that_of_the_definition_in_float64(shape, fill):
    images, indices, maps = case(shape)
    got = cnncore.warp_images(images, indices, maps, fill=fill, fill_value=77)
    for sample, index in enumerate(indices):
        for channel in range(shape[0]):
            exact = between(images[index, channel], maps[sample].astype(float), fill, 77)
            assert np.abs(got[sample, channel] - exact).max() < 0.5 + 0.26  # rounding, and places to 2^-12 pixels


def test_the_bytes_are_the_same_on_every_machine():
    digest = hashlib.sha256()
    for shape in SHAPES:
        for fill in PADS:
            images, indices, maps = case(shape)
            wanted = cnncore.warp_images(images, indices, maps, fill=fill, fill_value=77, reference=True)
            before = cnncore.isa()
            try:
                for isa in cnncore.available_isas():
                    cnncore.set_isa(isa)
                    for threads in (1, 3):
                        got = cnncore.warp_images(images, indices, maps, fill=fill, fill_value=77, threads=threads)
                        assert got.dtype == np.uint8 and got.tobytes() == wanted.tobytes(), (isa, threads, shape, fill)
            finally:
                cnncore.set_isa(before)
            if fill != "mirror":  # which came later
                digest.update(wanted.tobytes())
    assert digest.hexdigest() == "640c8c93e1f81d44a2d96bcb4bcaa1be585a37650ecba93e3a67acc8377d135a"


@pytest.mark.parametrize("fill", PADS)
def test_opencv_is_near(fill):
    """It weighs by 5 bits before version 5: up to 1/64 pixel off along either axis, of edges of 120 grey levels."""
    images, _, _ = case((1, 28, 28))
    images = images // 4 + 100
    for degrees, factor in ((7.3, 1.0), (-23.0, 1.2), (140.0, 0.8)):
        turn = cv2.getRotationMatrix2D((13.5, 13.5), degrees, factor)
        maps = np.rint(cv2.invertAffineTransform(turn) * ONE).astype(np.int64)[None]
        got = cnncore.warp_images(images, np.array([1]), maps, fill=fill, fill_value=120)[0, 0]
        theirs = cv2.warpAffine(
            images[1, 0], turn, (28, 28), flags=cv2.INTER_LINEAR, borderMode=BORDERS[fill], borderValue=120
        )
        assert np.abs(got.astype(int) - theirs).max() <= 4


def test_a_map_of_whole_pixels_gives_pixels_and_none_is_written_over(tmp_path):
    images, _, _ = case((3, 6, 6))
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    quarter = np.array([[[0, 1, 0], [-1, 0, 5]], [[1, 0, 0], [0, 1, 0]], [[1, 0, 2], [0, 1, 0]]], np.int64) * ONE
    got = cnncore.warp_images(mapped, np.array([2, 0, 1]), quarter, fill_value=9)
    assert np.array_equal(got[0], np.rot90(images[2], -1, axes=(1, 2)))
    assert np.array_equal(got[1], images[0])
    assert np.array_equal(got[2, :, :, :4], images[1, :, :, 2:]) and (got[2, :, :, 4:] == 9).all()
    assert cnncore.warp_images(images, np.empty(0, np.int64), np.empty((0, 2, 3), np.int64)).shape == (0, 3, 6, 6)


IMAGES, STILL = np.zeros((3, 1, 4, 5), np.uint8), np.tile(np.array([[1, 0, 0], [0, 1, 0]], np.int64) * ONE, (2, 1, 1))
FAR, STEEP = STILL.copy(), STILL.copy()
FAR[1, 1, 2], STEEP[1, 0, 1] = 2**61 + 1, -(2**46) - 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": IMAGES.astype(np.float32)}, r"warp_images: images must be uint8 of shape \(N, C, H, W\)"),
        ({"images": IMAGES[..., ::2]}, "C-contiguous"),
        ({"images": np.zeros((3, 1, 2, 2**15 + 1), np.uint8)}, "at most 2\\^15 rows and columns.*32769"),
        ({"indices": np.array([0, 3])}, "indices run from 0 to 3, expected 0 to 2"),
        ({"coefficients": STILL[:1]}, r"coefficients must be int64 of shape \(2, 2, 3\)"),
        ({"coefficients": STILL.astype(float)}, "coefficients must be int64"),
        ({"coefficients": FAR}, "at most 2\\^46 and 2\\^61"),
        ({"coefficients": STEEP}, "at most 2\\^46 and 2\\^61"),
        ({"fill": "edge"}, "constant, nearest, reflect, wrap, mirror, got 'edge'"),
        ({"fill_value": -1}, "0 to 255, got -1"),
        ({"threads": 0}, "threads must be in 1"),
    ],
)
def test_what_does_not_fit_is_named(changed, message):
    arguments = {"images": IMAGES, "indices": np.array([0, 2]), "coefficients": STILL, **changed}
    with pytest.raises(ValueError, match=message):
        cnncore.warp_images(**arguments)
