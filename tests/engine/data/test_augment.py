"""Random augmentations: what they do to pixels, that seed, epoch and sample decide them, and what they refuse."""

import hashlib
import json

import cnncore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import draws
from engine.data import augment
from engine.data.augment import WARP_VERSION, cosine_and_sine, redrawn, rotated_and_scaled, turned
from engine.data.augment_config import (
    AugmentConfig,
    ColourJitter,
    ContourCutout,
    Crop,
    CutMix,
    Cutout,
    RandomErasing,
    ResizedCrop,
    Rotation,
    Scaling,
    Shift,
)
from engine.data.dataset import Dataset
from engine.data.loader import Loader
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.reading.schema import read_mapping
from engine.recipe.config import read_config

SIDE = 20
KINDS = {
    "rotation": AugmentConfig(rotation=Rotation(30)),
    "scaling": AugmentConfig(scaling=Scaling(0.4)),
    "shift": AugmentConfig(shift=Shift(0.3)),
    "crop": AugmentConfig(crop=Crop(5)),
    "flip": AugmentConfig(flip=0.5),
    "vertical_flip": AugmentConfig(vertical_flip=0.5),
    "resized_crop": AugmentConfig(resized_crop=ResizedCrop()),
    "colour_jitter": AugmentConfig(colour_jitter=ColourJitter()),
    "random_erasing": AugmentConfig(random_erasing=RandomErasing()),
    "contour_cutout": AugmentConfig(contour_cutout=ContourCutout(0.2, probability=0.7)),
    "cutout": AugmentConfig(cutout=Cutout(0.4)),
    "all": AugmentConfig(
        rotation=Rotation(30),
        scaling=Scaling(0.4),
        resized_crop=ResizedCrop(0.5),
        shift=Shift(0.3, "wrap"),
        flip="alternate",
        vertical_flip=0.5,
        contour_cutout=ContourCutout(),
        cutout=Cutout(0.2, 2, 0.5, 99),
        random_erasing=RandomErasing(value=99),
    ),
}


def bars(count: int = 40, channels: int = 1) -> np.ndarray:
    """White bars on black, each image's bar a little different: uint8 (count, C, 20, 20)."""
    images = np.zeros((count, channels, SIDE, SIDE), np.uint8)
    for place, image in enumerate(images):
        image[:, 4:16, 5 + place % 5 : 9 + place % 5] = 100 + place
    return images


def loader(config: AugmentConfig, images: np.ndarray | None = None, batch: int = 8, **options) -> Loader:
    images = bars() if images is None else images
    data = Dataset("bars", images, np.zeros(len(images), np.int64), ("a", "b"), Preprocess(scale="none"))
    return Loader(data, batch, augment=config, **options)


def in_order(config: AugmentConfig, images: np.ndarray | None = None, epoch: int = 0, batch: int = 8, seed: int = 0):
    """The augmented images in the order of the set, as whole grey levels."""
    source = loader(config, images, batch, seed=seed)
    order = np.arange(len(source.dataset))
    return np.concatenate([source.batch(order, epoch, index)[0] for index in range(len(source))])


@pytest.mark.parametrize("kind", KINDS)
def test_seed_epoch_and_sample_decide_and_the_batch_does_not(kind):
    config, images = KINDS[kind], bars()
    images[:, :, 3, 3] = 50  # upside down it is another image
    first = in_order(config, images)
    assert np.array_equal(first, in_order(config, images))
    assert np.array_equal(first, in_order(config, images, batch=7))
    assert not np.array_equal(first, in_order(config, images, epoch=1))
    assert not np.array_equal(first, in_order(config, images, seed=1))
    assert not np.array_equal(first, in_order(AugmentConfig(), images))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_data_stay_as_they_are(kind, channels):
    images = bars(channels=channels)
    before = images.copy()
    changed = in_order(KINDS[kind], images)
    assert np.array_equal(images, before)
    assert changed.shape == images.shape and changed.dtype == np.float32
    for channel in range(1, channels if kind != "random_erasing" else 1):  # its colours are random
        assert np.array_equal(changed[:, channel], changed[:, 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_images_of_one_pixel_or_row_and_empty_ones(kind, shape):
    images = np.full((16, 3, *shape), 7, np.uint8)
    changed = in_order(KINDS[kind], images)
    assert changed.shape == images.shape
    if kind not in ("colour_jitter", "random_erasing"):
        assert np.isin(changed, (7, 0, 99)).all()


def test_an_epoch_with_augmentation_can_be_entered_anywhere():
    whole = list(loader(KINDS["all"], prefetch=0).epoch(3))
    part = list(loader(KINDS["all"], prefetch=3).epoch(3, 2))
    for (x, y), (wanted_x, wanted_y) in zip(part, whole[2:], strict=True):
        assert np.array_equal(x, wanted_x) and np.array_equal(y, wanted_y)


def test_one_augmentation_more_leaves_the_draws_of_the_others_alone():
    moved = in_order(AugmentConfig(shift=Shift(0.3)))
    both = in_order(AugmentConfig(shift=Shift(0.3), cutout=Cutout(0.2, value=50)))
    assert ((moved == both) | (both == 50)).all() and (both == 50).any()


def test_draws_are_pinned():
    """A change here would break the resume of every stored run."""
    words = draws.augmentation_words(7, 3, np.array([0, 5]), draws.SHIFT, 5)
    assert words.shape == (2, 5) and np.array_equal(
        words[1], draws.augmentation_words(7, 3, np.array([5]), draws.SHIFT, 5)[0]
    )
    assert words[0].tolist() == [1478921952, 2298704322, 1200597070, 2211205773, 3981722395]


PADS = [
    *(("nearest", "edge"), ("reflect", "symmetric"), ("mirror", "reflect")),
    *(("wrap", "wrap"), ("constant", "constant")),
]


def test_a_shift_is_a_share_of_the_side_and_fills_as_asked():
    ramp = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) % 251
    images = np.repeat(ramp.astype(np.uint8)[None, None], 64, axis=0)
    rows, columns = np.indices((SIDE, SIDE))
    seen = set()
    for fill, pad in PADS:
        for image in in_order(AugmentConfig(shift=Shift(0.2, fill)), images)[:, 0]:
            around = np.pad(images[0, 0], 4, mode=pad)
            fits = [
                (down, right)
                for down in range(-4, 5)
                for right in range(-4, 5)
                if np.array_equal(around[rows + 4 - down, columns + 4 - right], image)
            ]
            assert fits
            seen |= set(fits)
    assert {down for down, _ in seen} == {right for _, right in seen} == set(range(-4, 5))


def test_a_crop_moves_up_to_its_padding_over_black():
    images = np.full((200, 1, SIDE, SIDE), 9, np.uint8)
    changed = in_order(AugmentConfig(crop=Crop(3)), images)[:, 0]
    lost_rows = SIDE - (changed == 9).any(axis=2).sum(axis=1)
    assert set(lost_rows) == {0, 1, 2, 3} and set(np.unique(changed)) == {0, 9}


def test_flip_mirrors_its_share_of_the_images():
    images = bars(120).repeat(4, axis=0)[:400]
    images[:, :, 0, 0] = 9
    changed = in_order(AugmentConfig(flip=0.25), images)
    mirrored = (changed == images[..., ::-1]).all(axis=(1, 2, 3))
    assert ((changed == images).all(axis=(1, 2, 3)) | mirrored).all()
    assert 60 < mirrored.sum() < 140
    assert np.array_equal(in_order(AugmentConfig(flip=1.0), images), images[..., ::-1])


def test_an_alternating_flip_shows_both_views_in_every_two_epochs():
    images = bars(100)
    images[:, :, 0, 0] = 9
    config = AugmentConfig(flip="alternate")
    epochs = [in_order(config, images, epoch) for epoch in range(4)]
    mirrored = [(each == images[..., ::-1]).all(axis=(1, 2, 3)) for each in epochs]
    assert 30 < mirrored[0].sum() < 70
    assert np.array_equal(mirrored[1], ~mirrored[0])
    assert np.array_equal(epochs[0], epochs[2]) and np.array_equal(epochs[1], epochs[3])
    assert np.array_equal(epochs[1], epochs[0][..., ::-1])
    # The first epoch's coins are those of a flip of one half.
    assert np.array_equal(epochs[0], in_order(AugmentConfig(flip=0.5), images))
    assert not np.array_equal(epochs[0], in_order(config, images, seed=1))


def test_a_vertical_flip_turns_its_share_upside_down():
    images = bars(120).repeat(4, axis=0)[:400]
    images[:, :, 0, 0] = 9
    changed = in_order(AugmentConfig(vertical_flip=0.25), images)
    turned_over = (changed == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert ((changed == images).all(axis=(1, 2, 3)) | turned_over).all() and 60 < turned_over.sum() < 140
    both = in_order(AugmentConfig(flip=1.0, vertical_flip=1.0), images)
    assert np.array_equal(both, images[:, :, ::-1, ::-1])


def test_a_resized_crop_stretches_a_part_of_the_image():
    ramp = np.broadcast_to(np.arange(0, 200, 10, dtype=np.uint8), (300, 1, SIDE, SIDE)).copy()
    changed = in_order(AugmentConfig(resized_crop=ResizedCrop(0.2, 0.5, 1.0)), ramp)[:, 0, 10]
    steps = (changed[:, -1] - changed[:, 0]) / 190  # the share of the width that is left, but for a pixel's halves
    assert 0.38 < steps.min() < 0.5 and 0.6 < steps.max() < 0.75
    assert (np.diff(changed) >= 0).all()


def test_colour_jitter_takes_its_factors_from_the_words():
    images = np.random.default_rng(0).integers(0, 256, (30, 3, SIDE, SIDE), np.uint8)
    words = draws.augmentation_words(0, 2, np.arange(30), draws.COLOURS, 3)
    low, high = np.array([39322, 52429, 65536]), np.array([91750, 78643, 65536])  # 1 -+ 0.4, 0.2, 0 in 2^-16
    factors = low + np.floor(words * 2.0**-32 * (high - low + 1)).astype(np.int64)
    wanted = cnncore.recolour_images(images, np.arange(30), factors.astype(np.int32), reference=True)
    jitter = AugmentConfig(colour_jitter=ColourJitter(0.4, 0.2, 0))
    assert np.array_equal(in_order(jitter, images, epoch=2), wanted)


def test_random_erasing_paints_a_rectangle_of_one_colour_within():
    images = np.full((400, 3, SIDE, SIDE), 200, np.uint8)
    changed = in_order(AugmentConfig(random_erasing=RandomErasing(0.5, 0.1, 0.3)), images)
    erased = (changed != 200).any(axis=1)
    areas = erased.sum(axis=(1, 2))
    assert 140 < (areas > 0).sum() < 260 and areas.max() <= 1.2 * 0.3 * SIDE * SIDE
    for image, where in zip(changed, erased):
        rows, columns = np.nonzero(where)
        if len(rows):
            box = image[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert box[0].size == where.sum() and (np.ptp(box, axis=(1, 2)) == 0).all()
    grey = in_order(AugmentConfig(random_erasing=RandomErasing(1.0, value=7)), images)
    assert set(np.unique(grey)) == {7, 200} and (grey == 7).any(axis=(1, 2, 3)).all()


def test_contour_squares_follow_a_vertical_flip():
    config = AugmentConfig(vertical_flip=1.0, contour_cutout=ContourCutout(0.1, count=1, probability=1, value=77))
    images = bars()
    images[:, :, 10:] = 0
    plain = in_order(AugmentConfig(contour_cutout=config.contour_cutout), images)
    assert ((in_order(config, images) == 77).sum(axis=(2, 3)) > 0).all()
    rows = np.nonzero(in_order(config, images) == 77)[2]
    assert rows.min() >= 8 and np.nonzero(plain == 77)[2].max() <= 11


def test_rotation_turns_about_the_middle_within_its_range():
    images = np.zeros((60, 1, 41, 41), np.uint8)
    images[:, :, 20, 5:36] = 255  # a line to the left and right of the middle
    changed = in_order(AugmentConfig(rotation=Rotation(30, "constant")), images)[:, 0]
    assert (changed[:, 20, 20] > 200).all()
    rows, columns = np.nonzero(changed.max(axis=0))
    angles = np.degrees(np.arctan2(np.abs(rows - 20) - 1, np.maximum(np.abs(columns - 20), 1)))
    assert 25 < angles[np.hypot(rows - 20, columns - 20) > 8].max() < 34


def test_scaling_grows_and_shrinks_about_the_middle():
    images = np.zeros((60, 1, 41, 41), np.uint8)
    images[:, :, 10:31, 10:31] = 255
    sides = (in_order(AugmentConfig(scaling=Scaling(0.5, "constant")), images)[:, 0, 20] > 127).sum(axis=1)
    assert 10 <= sides.min() < 14 and 28 < sides.max() <= 32


def test_cutout_paints_squares_that_may_reach_over_the_border():
    images = np.full((300, 1, SIDE, SIDE), 200, np.uint8)
    areas = (in_order(AugmentConfig(cutout=Cutout(0.5, value=3)), images) == 3).sum(axis=(1, 2, 3))
    assert areas.max() == 100 and 25 <= areas.min() < 60
    some = (in_order(AugmentConfig(cutout=Cutout(0.5, probability=0.5)), images) == 0).any(axis=(1, 2, 3))
    assert 110 < some.sum() < 190
    several = in_order(AugmentConfig(cutout=Cutout(0.1, count=4)), images)
    assert (several == 0).sum(axis=(1, 2, 3)).max() == 16


def test_contour_cutout_cuts_the_ink_at_its_contour_whichever_side_is_dark():
    config = AugmentConfig(contour_cutout=ContourCutout(0.2, count=2, probability=1))
    images = bars()
    changed = in_order(config, images)
    lost = (changed != images).sum(axis=(1, 2, 3))
    assert (changed[changed != images] == 0).all()  # paper
    assert lost.min() > 0 and lost.max() <= 2 * 16
    dark = 255 - images
    assert np.array_equal(in_order(config, dark), 255 - changed)
    grey = in_order(AugmentConfig(contour_cutout=ContourCutout(0.2, probability=1, value=77)), images)
    assert (grey == 77).any(axis=(1, 2, 3)).all()


def test_contour_cutout_finds_the_contour_after_shift_and_flip():
    config = AugmentConfig(shift=Shift(0.2), flip=0.5, contour_cutout=ContourCutout(0.1, count=1, probability=1))
    moved = in_order(AugmentConfig(shift=Shift(0.2), flip=0.5))
    assert ((in_order(config) != moved).sum(axis=(1, 2, 3)) > 0).all()


def test_contour_cutout_leaves_an_empty_image():
    images = np.full((8, 3, SIDE, SIDE), 240, np.uint8)
    images[:, :, 3, 3] = 230
    assert np.array_equal(in_order(AugmentConfig(contour_cutout=ContourCutout(probability=1)), images), images)


def test_a_section_is_read_with_values_alone_and_described_again():
    given = {"shift": 0.2, "flip": 0.5, "cutout": {"size": 0.3, "count": 2}, "rotation": None, "mixup": 0.2}
    config = read_mapping(AugmentConfig, given, "augment")
    assert config == AugmentConfig(shift=Shift(0.2), flip=0.5, cutout=Cutout(0.3, 2), mixup=0.2)
    described = json.loads(json.dumps(config.describe()))
    assert read_mapping(AugmentConfig, described, "augment") == config
    newer = {"flip": "alternate", "crop": {"padding": 2, "fill": "mirror"}, "cutmix": 1, "random_erasing": 0.25}
    config = read_mapping(AugmentConfig, {**newer, "resized_crop": 0.5, "colour_jitter": {"contrast": 0.1}}, "augment")
    assert config.cutmix == CutMix(1.0) and config.random_erasing == RandomErasing(0.25)
    assert config.resized_crop == ResizedCrop(0.5) and config.flip == "alternate"
    assert read_mapping(AugmentConfig, json.loads(json.dumps(config.describe())), "augment") == config
    assert AugmentConfig().describe() == {"mixup": 0.0}  # as in the checkpoints of earlier versions


def test_a_whole_configuration_survives_its_own_dictionary():
    given = {"dataset": "digits5k", "model": {"name": "lenet"}, "augment": {"crop": 2, "contour_cutout": {}}}
    config = read_config(given)
    assert config.augment == AugmentConfig(crop=Crop(2), contour_cutout=ContourCutout())
    assert read_config(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"shft": 0.1}, "did you mean 'shift'"),
        ({"horizontal_flip": 0.5}, "unknown key 'horizontal_flip'; did you mean 'flip' or 'vertical_flip'"),
        ({"shift": 1.5}, "shift: shift fraction"),
        ({"shift": "far"}, "fraction: expected float"),
        ({"shift": {"fill": "nearst"}}, "fill: unknown value 'nearst'; did you mean 'nearest'"),
        ({"shift": {"value": 300}}, "0..255"),
        ({"flip": 2}, "probability"),
        ({"flip": "alternat"}, "0 to 1, or alternate, got 'alternat'"),
        ({"vertical_flip": -0.1}, "vertical_flip must be a probability"),
        ({"resized_crop": 0}, "smallest and largest are shares"),
        ({"resized_crop": {"smallest": 0.5, "largest": 0.4}}, "in this order"),
        ({"resized_crop": {"ratio": 0.5}}, "ratio must be from 1 to 10"),
        ({"colour_jitter": {"contrast": 2}}, "amounts must be from 0 to 1"),
        ({"colour_jitter": {"brightness": 0, "contrast": 0, "saturation": 0}}, "changes nothing"),
        ({"random_erasing": 2}, "probability"),
        ({"random_erasing": {"value": 256}}, "0..255"),
        ({"random_erasing": {"ratio": 20}}, "ratio"),
        ({"cutmix": 0}, "cutmix alpha"),
        ({"cutmix": {"probability": 2}}, "probability"),
        ({"cutmix": 1, "mixup": 0.2}, "give one of them"),
        ({"rotation": 0}, "degrees"),
        ({"rotation": {"degrees": 200}}, "degrees"),
        ({"scaling": 1}, "amount"),
        ({"crop": 0}, "padding"),
        ({"crop": 0.5}, "padding: expected int"),
        ({"cutout": 0}, "cutout size"),
        ({"cutout": {"count": 0}}, "cutout count"),
        ({"cutout": {"probability": -1}}, "probability"),
        ({"cutout": {"value": 256}}, "0..255"),
        ({"contour_cutout": {"size": float("nan")}}, "contour_cutout: size: expected a finite number"),
        ({"contour_cutout": {"value": -1}}, "0..255"),
        ({"mixup": -1}, "mixup"),
        ({"shift": 0.1, "crop": 4}, "shift and crop"),
        ({"rotation": 5, "scaling": {"fill": "wrap"}}, "one movement"),
    ],
)
def test_bad_values_are_named(section, message):
    with pytest.raises(UserError, match=message):
        read_mapping(AugmentConfig, section, "augment")


def test_floats_are_not_augmented():
    images = np.zeros((4, 1, 5, 5), np.float32)
    with pytest.raises(UserError, match="uint8"):
        loader(AugmentConfig(flip=0.5), images, 2)
    assert len(list(loader(AugmentConfig(mixup=0.2), images, 2).epoch(0))) == 2


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


def test_cosine_and_sine_are_exact_at_quarters_and_near_elsewhere():
    quarters = np.array([-180.0, -90, 0, 90, 180, 270])
    cosine, sine = cosine_and_sine(quarters)
    assert cosine.tolist() == [-1, 0, 1, 0, -1, 0] and sine.tolist() == [0, -1, 0, 1, 0, -1]
    degrees = np.linspace(-180, 180, 10_001)
    cosine, sine = cosine_and_sine(degrees)
    assert np.abs(cosine - np.cos(np.radians(degrees))).max() < 5e-16
    assert np.abs(sine - np.sin(np.radians(degrees))).max() < 5e-16


def test_a_quarter_turn_moves_pixels_and_nothing_else():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 9), np.uint8)
    for quarters in range(-2, 3):
        got = turned(images, np.arange(2), np.full(2, 90.0 * quarters), np.ones(2), "constant")
        assert np.array_equal(got, np.rot90(images, quarters, axes=(2, 3)))


def test_a_factor_of_nothing_and_sides_too_long():
    images = np.full((1, 1, 4, 5), 7, np.uint8)
    assert (turned(images, np.zeros(1, np.int64), np.ones(1), np.array([1e-9]), "nearest") == 7).all()
    with pytest.raises(UserError, match="at most 32768 pixels a side, got 1x32769"):
        turned(np.zeros((1, 1, 1, 32769), np.uint8), np.zeros(1, np.int64), np.ones(1), np.ones(1), "wrap")


@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_rotated_and_scaled_images_are_the_same_on_every_machine(isa):
    """Whoever changes these bytes raises WARP_VERSION, so that runs with them are other runs."""
    before, config = cnncore.isa(), AugmentConfig(rotation=Rotation(30), scaling=Scaling(0.4))
    try:
        cnncore.set_isa(isa)
        images = rotated_and_scaled(bars(channels=2), np.arange(40), config, 3, 1, np.arange(40))
    finally:
        cnncore.set_isa(before)
    assert (WARP_VERSION, hashlib.sha256(images.tobytes()).hexdigest()[:16]) == (1, "2a199c00fdafe9c5")


@pytest.mark.parametrize("isa", cnncore.available_isas())
def test_crops_and_colours_are_the_same_on_every_machine(isa):
    """As above: these bytes are of WARP_VERSION too."""
    before = cnncore.isa()
    config = AugmentConfig(resized_crop=ResizedCrop(0.1), colour_jitter=ColourJitter())
    images = np.random.default_rng(5).integers(0, 256, (40, 3, SIDE, SIDE), np.uint8)
    try:
        cnncore.set_isa(isa)
        images, _ = redrawn(images, np.arange(40), config, 3, 1, np.arange(40))
    finally:
        cnncore.set_isa(before)
    assert (WARP_VERSION, hashlib.sha256(images.tobytes()).hexdigest()[:16]) == (1, "908a7c7d91249c33")


def test_opencv_has_no_part_in_rotation_and_scaling(monkeypatch):
    def absent():
        raise AssertionError("OpenCV is asked")

    for user in ("images", "steps", "augmenting.contours"):
        monkeypatch.setattr(f"engine.data.{user}.load_cv2", absent)
    assert in_order(AugmentConfig(rotation=Rotation(30), scaling=Scaling(0.4))).any()
