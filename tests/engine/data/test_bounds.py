"""Every size, kernel, margin and amount of preprocessing and augmentation has bounds: an error with its name beyond, an
image at them."""

import numpy as np
import pytest

from engine.data.augment import mixup
from engine.data.augment_config import MAX_ALPHA, AugmentConfig
from engine.data.digits import digits_on_sheets
from engine.data.images import MAX_SIDE
from engine.data.preprocess import Preprocess
from engine.data.steps import MAX_KERNEL, MAX_REACH, bounding_box, dilation, enlarge_small, erosion, opening, resize
from engine.errors import UserError
from engine.inference.views import parse_views
from engine.reading.schema import read_mapping

HUGE = (10**9, 2**31, 2**62, 2**63, 10**30)
IMAGE = np.full((12, 16), 255, np.uint8)
IMAGE[4:8, 5:9] = 0


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize(
    ("description", "name"),
    [
        (lambda huge: {"size": [huge, 28]}, "preprocess size"),
        (lambda huge: {"size": [28, huge]}, "preprocess size"),
        (lambda huge: {"size": [28, -huge]}, "preprocess size"),
        (lambda huge: {"steps": [{"dilation": {"kernel": huge + 1}}]}, "dilation: .*kernel"),
        (lambda huge: {"steps": [{"erosion": {"times": huge}}]}, "erosion: .*times"),
        (lambda huge: {"steps": [{"opening": {"kernel": huge + 1}}]}, "opening: .*kernel"),
        (lambda huge: {"steps": [{"opening": {"kernel": 1, "times": huge}}]}, "opening: .*times"),
        (lambda huge: {"steps": [{"bbox": {"kernel": huge + 1}}]}, "bbox: .*kernel"),
        (lambda huge: {"steps": [{"bbox": {"margin": huge}}]}, "bbox: .*margin"),
        (lambda huge: {"steps": [{"bbox": {"margin": -huge}}]}, "bbox: .*margin"),
        (lambda huge: {"steps": [{"bbox": {"contrast": huge}}]}, "bbox: .*contrast"),
        (lambda huge: {"mean": [float(huge) ** 2]}, "preprocess mean"),
        (lambda huge: {"std": [float(huge) ** 2]}, "preprocess std"),
        (lambda huge: {"std": [float(huge) ** -2]}, "preprocess std"),
    ],
)
def test_preprocessing_beyond_its_bounds_is_refused_by_name(description, name, huge):
    with pytest.raises(UserError, match=name):
        Preprocess.from_dict(description(huge))


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize(
    ("section", "name"),
    [
        (lambda huge: {"rotation": huge}, "rotation degrees"),
        (lambda huge: {"rotation": {"value": huge}}, "rotation value"),
        (lambda huge: {"scaling": huge}, "scaling amount"),
        (lambda huge: {"shift": huge}, "shift fraction"),
        (lambda huge: {"crop": huge}, "crop padding"),
        (lambda huge: {"cutout": huge}, "cutout size"),
        (lambda huge: {"cutout": {"count": huge}}, "cutout count"),
        (lambda huge: {"contour_cutout": {"count": huge}}, "contour_cutout count"),
        (lambda huge: {"flip": huge}, "flip"),
        (lambda huge: {"mixup": huge}, "mixup"),
    ],
)
def test_augmentation_beyond_its_bounds_is_refused_by_name(section, name, huge):
    with pytest.raises(UserError, match=name):
        read_mapping(AugmentConfig, section(huge), "augment")


@pytest.mark.parametrize("huge", HUGE)
def test_the_steps_themselves_have_the_same_bounds(huge):
    for step in (dilation, erosion, opening):
        with pytest.raises(UserError, match="kernel"):
            step(IMAGE, kernel=huge + 1)
        with pytest.raises(UserError, match="times"):
            step(IMAGE, times=huge)
    with pytest.raises(UserError, match="margin"):
        bounding_box(IMAGE, margin=huge)
    for sides in ((huge, 1), (1, huge), (-huge, 1)):
        with pytest.raises(UserError, match="cannot be resized"):
            resize(IMAGE, *sides)
    with pytest.raises(UserError, match="cannot be enlarged"):
        enlarge_small(IMAGE, factor=huge)
    with pytest.raises(UserError, match="sheet_sides"):
        digits_on_sheets(sheet_sides=(40, huge), count=1)
    with pytest.raises(UserError, match="alpha"):
        mixup(np.zeros((2, 1)), np.eye(2), float(huge), np.random.default_rng(0))
    for text in (
        f"shift:{huge}",
        f"rotate:{huge}",
        "shift:1" + "0" * 400,
        "rotate:1" + "0" * 400,
        "shift:" + "9" * 5000,
    ):
        with pytest.raises(UserError, match="test-time augmentation: expected") as caught:
            parse_views(text)
        assert len(str(caught.value)) < 300


def test_at_its_bounds_every_step_gives_an_image():
    assert resize(IMAGE, 1, MAX_SIDE).shape == (1, MAX_SIDE) and resize(IMAGE, MAX_SIDE, 1).shape == (MAX_SIDE, 1)
    steps = [
        {"dilation": {"kernel": MAX_KERNEL, "times": MAX_REACH // (MAX_KERNEL // 2)}},
        {"erosion": {"kernel": 3, "times": MAX_REACH}},
        {"opening": {"kernel": 1, "times": MAX_REACH}},
        {"bbox": {"kernel": MAX_KERNEL, "margin": MAX_SIDE, "contrast": 255}},
    ]
    for step in steps:
        prepared = Preprocess(steps=(step,), size=(20, MAX_SIDE), mean=(-1e12,), std=(1e-12,))
        assert prepared.prepare(IMAGE).shape == (1, 20, MAX_SIDE) and np.isfinite(prepared(IMAGE)).all()
    images, labels = mixup(
        np.ones((4, 1), np.float32), np.eye(4, dtype=np.float32), MAX_ALPHA, np.random.default_rng(0)
    )
    assert np.allclose(images, 1) and np.allclose(labels.sum(axis=1), 1)


@pytest.mark.parametrize("size", [(True, 5), (28.0, 28), ("28", "28"), (28,), ()])
def test_a_size_is_two_whole_numbers(size):
    with pytest.raises(UserError, match="preprocess size must be two whole numbers"):
        Preprocess(size=size)
