"""Preprocessing: one description, the same for training and for prediction."""

import json

import numpy as np
import pytest

from engine.data.dataset import Dataset, RawDataset, prepare
from engine.data.preprocess import Preprocess
from engine.errors import UserError

GREY = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)


def test_grey_and_colour_give_the_wished_channels():
    assert Preprocess(size=(8, 9)).prepare(COLOUR).shape == (1, 8, 9)
    assert Preprocess(colour=True, size=(8, 9)).prepare(GREY).shape == (3, 8, 9)
    assert np.array_equal(Preprocess(colour=True).prepare(COLOUR), COLOUR.transpose(2, 0, 1))


def test_a_grey_picture_stored_in_colour_gives_the_same_input():
    preprocess = Preprocess(colour=True, steps=("bbox", "reverse", "dilation"), size=(12, 12))
    stored_in_colour = np.repeat(GREY[:, :, None], 3, axis=2)
    assert np.array_equal(preprocess.prepare(GREY), preprocess.prepare(stored_in_colour))


@pytest.mark.parametrize(("scale", "low", "high"), [("0..1", 0, 1), ("-1..1", -1, 1), ("none", 0, 255)])
def test_scales(scale, low, high):
    values = Preprocess(scale=scale).normalise(np.array([0, 255], np.uint8).reshape(1, 1, 1, 2))
    assert values.dtype == np.float32
    assert values.ravel() == pytest.approx([low, high])


def test_mean_and_std_per_channel():
    preprocess = Preprocess(colour=True, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), np.uint8)
    mean, std = np.reshape([0.1, 0.2, 0.3], (3, 1, 1)), np.reshape([0.5, 1.0, 2.0], (3, 1, 1))
    assert np.allclose(preprocess.normalise(images), (images / 255 - mean) / std, atol=1e-6)


def test_normalise_is_one_product_and_one_sum_in_float32():
    preprocess = Preprocess(colour=True, scale="-1..1", mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 5, 9), np.uint8)
    scale, offset = preprocess.factors(images)
    wanted = images * scale[:, None, None] + offset[:, None, None]
    assert wanted.dtype == np.float32 and preprocess.normalise(images).tobytes() == wanted.tobytes()
    assert Preprocess(colour=True).normalise(images).tobytes() == (images * np.float32(1 / 255)).tobytes()


def test_per_image_scaling_stretches_each_image():
    images = np.array([[10, 60, 110], [0, 5, 255], [7, 7, 7]], np.uint8).reshape(3, 1, 1, 3)
    unit = Preprocess(per_image=True).normalise(images)[:, 0, 0]
    assert unit == pytest.approx(np.array([[0, 0.5, 1], [0, 5 / 255, 1], [0, 0, 0]]), abs=1e-6)
    both = Preprocess(per_image=True, scale="-1..1").normalise(images)[:, 0, 0]
    assert both == pytest.approx(2 * unit - 1, abs=1e-6)


def test_standardise_image_gives_each_image_mean_zero_and_std_one():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 6, 7), np.uint8)
    images[3] = 200
    for options in ({}, {"scale": "-1..1"}, {"per_image": True}):
        values = Preprocess(colour=True, standardise="image", **options).normalise(images)
        assert np.allclose(values.mean(axis=(1, 2, 3)), 0, atol=1e-5)
        assert np.allclose(values[:3].std(axis=(1, 2, 3)), 1, atol=1e-5)
        assert np.allclose(values[3], 0, atol=1e-4)


@pytest.mark.parametrize("per_image", [False, True])
def test_standardise_set_takes_mean_and_std_of_the_given_images(per_image):
    images = np.random.default_rng(0).integers(0, 200, (1500, 3, 4, 5), np.uint8)
    images[:, 2] = 9
    unfitted = Preprocess(colour=True, scale="-1..1", standardise="set", per_image=per_image)
    with pytest.raises(UserError, match="training images"):
        unfitted.normalise(images)
    fitted = unfitted.fitted(images)
    assert Preprocess.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted and fitted.standardise == "none"
    values = fitted.normalise(images)
    assert np.allclose(values.mean(axis=(0, 2, 3)), 0, atol=1e-4)
    if not per_image:
        assert fitted.std[2] == 1.0
        assert np.allclose(values[:, :2].std(axis=(0, 2, 3)), 1, atol=1e-4)
    assert fitted.fitted(images[:3]) is fitted


def test_keys_of_later_versions_stay_out_of_a_description_that_does_without():
    plain = Preprocess(steps=("reverse", {"dilation": {"kernel": 3}}))
    assert set(plain.to_dict()) == {"colour", "steps", "size", "scale", "mean", "std"}
    assert plain.to_dict()["steps"] == ["reverse", "dilation"]
    assert {"per_image", "standardise"} <= set(Preprocess(per_image=True, standardise="image").to_dict())
    assert Preprocess.from_dict(Preprocess(steps=({"bbox": {"margin": 1}},)).to_dict()).steps[0].margin == 1


@pytest.mark.parametrize(
    "options",
    [
        {"mean": (0.1,), "std": (0.3,)},
        {"per_image": True},
        {"standardise": "image"},
    ],
)
def test_a_sample_does_not_depend_on_its_batch(options):
    preprocess = Preprocess(steps=("reverse",), size=(7, 5), scale="-1..1", **options)
    raw = RawDataset("raw", [GREY, COLOUR, GREY[::-1].copy()], np.zeros(3, np.int64), ("a",))
    dataset = prepare(raw, preprocess, threads=2)
    batch = dataset.normalise(dataset.images)
    for place, image in enumerate(raw.images):
        assert np.array_equal(batch[place], preprocess(image))


def test_description_survives_json():
    preprocess = Preprocess(colour=True, steps=("bbox", "reverse"), size=(8, 9), scale="-1..1", mean=(0.1,), std=(0.2,))
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess
    assert Preprocess.from_dict(json.loads(json.dumps(Preprocess().to_dict()))) == Preprocess()


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"colours": True}, "did you mean 'colour'"),
        ({"steps": ["revers"]}, "did you mean 'reverse'"),
        ({"size": [28]}, "expected 2 values"),
        ({"size": [0, 28]}, "two whole numbers .H, W. from 1 to 8192"),
        ({"scale": "0..2"}, "did you mean '0..1'"),
        ({"std": [0.0]}, "positive"),
        ({"mean": [0.1, 0.2]}, "per channel"),
        ({"mean": ["x"]}, "expected float"),
        ({"steps": 3}, "expected a list"),
        ({"steps": [{"dilation": {"kernel": 2}}]}, "preprocess: dilation: the kernel"),
        ({"standardise": "sets"}, "did you mean 'set'"),
        ({"standardise": "set", "mean": [0.5]}, "finds mean and std itself"),
    ],
)
def test_bad_descriptions_are_named(description, message):
    with pytest.raises(UserError, match=message):
        Preprocess.from_dict(description)


def test_other_channel_counts_are_refused():
    assert Preprocess().prepare(GREY[:, :, None]).shape == (1, 20, 30)
    for channels in (2, 4):
        with pytest.raises(UserError, match="one channel or three"):
            Preprocess().prepare(np.zeros((4, 5, channels), np.uint8))


def test_images_of_different_size_need_a_size():
    raw = RawDataset("mixed", [GREY, GREY[:10]], np.zeros(2, np.int64), ("a",))
    with pytest.raises(UserError, match="differ in size"):
        prepare(raw, Preprocess())


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3, 4), np.uint8), np.zeros(2, np.int64), "must be uint8 or float32"),
        (np.zeros((2, 1, 3, 4), np.float64), np.zeros(2, np.int64), "must be uint8 or float32"),
        (np.zeros((2, 1, 3, 4), np.uint8), np.zeros(3, np.int64), "2 images but 3 labels"),
        (np.zeros((2, 1, 3, 4), np.uint8), np.array([0, 2], np.int64), "labels run from 0 to 2"),
        (np.zeros((2, 1, 3, 4), np.uint8), np.zeros(2, np.float64), "labels must be whole numbers"),
        (np.zeros((0, 1, 3, 4), np.uint8), np.zeros(0, np.int64), "empty"),
    ],
)
def test_bad_data_sets_are_named(images, labels, message):
    with pytest.raises(UserError, match=message):
        Dataset("bad", images, labels, ("a", "b"))
