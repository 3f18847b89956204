"""Metrics over several views: the weights of the views, what is averaged, and what cannot be judged."""

import numpy as np
import pytest

from engine.data.dataset import Dataset
from engine.errors import UserError
from engine.inference.ensemble import as_probabilities
from engine.inference.evaluation import EvaluationViews
from engine.inference.views import parse_views
from tests.engine.small import small_dataset, small_net


def test_a_diagonal_is_two_moves_with_the_weight_of_the_unmoved_image_and_a_mirror_at_the_border():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 6), np.uint8)
    views = parse_views("flip,diagonal:2")
    assert [view.weight for view in views] == [2, 1, 1, 2, 1, 1]
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    up_left, down_right = padded[:, :, 4:, 4:], padded[:, :, :5, :6]
    wanted = [images, up_left, down_right]
    assert all(np.array_equal(view(images), each) for view, each in zip(views, wanted))
    mirrored = np.pad(images[..., ::-1], ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    assert np.array_equal(views[5](images), mirrored[:, :, :5, :6])


@pytest.mark.parametrize("mean", ["outputs", "probabilities"])
def test_the_mean_is_that_of_the_cifar_recipe(mean):
    """Half the image and its mirror, half the mean over both moves of the same (Jordan 2024)."""
    net, data = small_net(), small_dataset(300)
    section = EvaluationViews("diagonal:1,flip", mean)  # moved, then mirrored
    padded = np.pad(data.images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")

    def mirrored(images: np.ndarray) -> np.ndarray:
        both = [net.predict(np.ascontiguousarray(data.normalise(each))) for each in (images, images[..., ::-1])]
        if mean == "probabilities":
            both = [as_probabilities(net, each) for each in both]
        return 0.5 * both[0] + 0.5 * both[1]

    moved = [mirrored(np.ascontiguousarray(each)) for each in (padded[:, :, :-2, :-2], padded[:, :, 2:, 2:])]
    wanted = 0.5 * mirrored(data.images) + 0.25 * moved[0] + 0.25 * moved[1]
    scores = section.scores(net, data)
    np.testing.assert_allclose(scores, wanted, atol=2e-6)
    measured = section(net, data)
    assert list(measured) == list(EvaluationViews.NAMES)
    assert measured["accuracy_tta"] == np.mean(scores.argmax(axis=1) == data.labels)
    soft = Dataset("soft", data.images, np.eye(3, dtype=np.float32)[data.labels], data.class_names, data.preprocess)
    assert section(net, soft) == measured


def test_what_cannot_be_judged_is_refused():
    net, data = small_net(), small_dataset(4)
    with pytest.raises(UserError, match="unknown test-time augmentation 'flop'"):
        EvaluationViews("flop")
    with pytest.raises(UserError, match="expected diagonal:PIXELS, a positive whole number, got 'diagonal:x'"):
        EvaluationViews("diagonal:x")
    with pytest.raises(UserError, match="diagonal:10 moves images of 10x10 pixels out of sight"):
        EvaluationViews("diagonal:10").check(net)
    floats = Dataset("floats", data.images.astype(np.float32), data.labels)
    with pytest.raises(UserError, match="floats: views change uint8 images, these are float32"):
        EvaluationViews("flip")(net, floats)
