"""The page's preprocessing beside the engine's: the same bytes, and the same numbers."""

import json

import numpy as np
import pytest

from engine.data.preprocess import Preprocess
from engine.export.page.describe import preprocessing
from tests.engine.export.page.conftest import decoded, encoded

SIZES = ((28, 28), (56, 56), (112, 84), (29, 57), (100, 37), (9, 14), (28, 40), (27, 300), (97, 200), (280, 280))


def photo(height, width, seed=0):
    """Colours that change slowly, and noise: uint8 (height, width, 3)."""
    rng = np.random.default_rng([height, width, seed])
    y, x = np.mgrid[:height, :width]
    waves = 127 + 100 * np.sin(np.stack([y / 7 + x / 9, x / 5, y / 4 - x / 11], axis=2))
    return np.clip(waves + rng.normal(0, 40, (height, width, 3)), 0, 255).astype(np.uint8)


def sheet(height, width):
    """Dark strokes on paper, with specks."""
    rng = np.random.default_rng([height, width])
    image = rng.normal(215, 6, (height, width, 3))
    image[height // 4 : height * 3 // 4, width // 3 : width // 3 + max(3, width // 12)] = 40
    image[height // 3 : height // 3 + max(3, height // 12), width // 4 : width * 2 // 3] = 60
    image[2:4, 2:3] = 0
    return np.clip(image, 0, 255).astype(np.uint8)


def in_browser(page, image, preprocess):
    """The page's bytes (C, H, W) of an image (H, W, 3), and the numbers from them."""
    height, width = image.shape[:2]
    rgba = np.concatenate([image, np.full((height, width, 1), 255, np.uint8)], axis=2)
    seen, shape, values = page.evaluate(
        """([rgba, width, height, preprocess]) => {
            const told = JSON.parse(preprocess), seen = prepared(fromRGBA(bytesOf(rgba), width, height), told);
            return [textOf(seen.data), [seen.channels, seen.height, seen.width], textOf(normalised(seen, told))];
        }""",
        [encoded(rgba), width, height, json.dumps(preprocessing(preprocess))],
    )
    return decoded(seen, np.uint8).reshape(shape), decoded(values, np.float32).reshape(shape)


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_resizing_gives_opencvs_bytes(core, colour):
    for height, width in SIZES:
        image = photo(height, width)
        for size in ((28, 28), (32, 48), (7, 14)):
            preprocess = Preprocess(colour=colour, size=size)
            seen, values = in_browser(core, image, preprocess)
            wanted = preprocess.prepare(image)
            assert np.array_equal(seen, wanted), f"{height}x{width} to {size}: {(seen != wanted).sum()} bytes differ"
            assert np.array_equal(values, preprocess.normalise(wanted[None])[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"scale": "-1..1"},
        {"scale": "none"},
        {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.1)},
        {"mean": (0.5,)},
        {"per_image": True},
        {"per_image": True, "scale": "-1..1", "std": (2.0,)},
        {"standardise": "image"},
    ],
    ids=lambda settings: ",".join(settings),
)
def test_bytes_become_the_engines_numbers(core, settings):
    preprocess = Preprocess(colour=True, **settings)
    for image in (photo(12, 17), np.full((5, 6, 3), 9, np.uint8)):
        seen, values = in_browser(core, image, preprocess)
        wanted = preprocess.normalise(seen[None])[0]
        assert np.abs(values - wanted).max() <= 1e-6 * max(1, np.abs(wanted).max())


@pytest.mark.parametrize(
    "steps",
    [
        ["reverse"],
        ["pad"],
        [{"pad": {"value": 255}}, "reverse"],
        [{"dilation": {"kernel": 5}}],
        [{"erosion": {"times": 2}}],
        [{"opening": {"kernel": 3, "times": 2}}],
        ["bbox"],
        [{"bbox": {"kernel": 1, "margin": 0, "contrast": 80}}],
        ["bbox", "reverse", "dilation", "pad"],
    ],
    ids=str,
)
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_steps_give_the_engines_bytes(core, steps, colour):
    for image in (sheet(120, 90), sheet(200, 260), np.full((100, 95, 3), 200, np.uint8), photo(91, 40)):
        preprocess = Preprocess(colour=colour, steps=tuple(steps), size=(40, 32))
        seen, _ = in_browser(core, image, preprocess)
        assert np.array_equal(seen, preprocess.prepare(image))


def test_small_images_are_enlarged_within_a_level(core):
    """OpenCV's cubic interpolation of bytes rounds as its instruction set does: a pixel may be a level off."""
    for image in (sheet(40, 33), photo(28, 28), photo(9, 80)):
        preprocess = Preprocess(colour=True, steps=("dilation",))
        seen, _ = in_browser(core, image, preprocess)
        difference = np.abs(seen.astype(int) - preprocess.prepare(image))
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3
