"""Grad-CAM against values by hand and against differences of the score."""

import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.inspection.gradcam import gradcam
from tests.engine.small import SIDE, small_net


def tiny():
    """A 1x1 convolution, the mean of its maps, and a linear layer: every number can be said by hand."""
    layers = {"conv": engine.Conv2D(1, 2, 1), "mean": engine.GlobalAvgPool2D(), "out": engine.Linear(2, 2)}
    net = engine.Sequential(layers, input_shape=(1, 2, 2))
    net.load_parameters(
        {
            "conv.weights": np.array([2.0, -1.0], np.float32).reshape(2, 1, 1, 1),
            "conv.bias": np.array([0.0, 1.0], np.float32),
            "out.weights": np.array([[3.0, 1.0], [-4.0, 8.0]], np.float32),
            "out.bias": np.zeros(2, np.float32),
        }
    )
    return net


def busy(seed=0):
    """Batch normalisation with statistics that mean something, dropout, a branch, a pool, and a softmax at the end."""
    graph = engine.Graph((2, 8, 8), seed=seed)
    first = graph.add(engine.Conv2D(2, 4, 3, padding=1), graph.input, name="first")
    norm = graph.add(engine.BatchNorm(4), first, name="norm")
    relu = graph.add(engine.ReLU(), norm, name="relu")
    pool = graph.add(engine.MaxPool2D(2), relu, name="pool")
    second = graph.add(engine.Conv2D(4, 4, 3, padding=1), pool, name="second")
    both = graph.add(engine.Add(), pool, second, name="both")
    drop = graph.add(engine.Dropout(0.5), graph.add(engine.Flatten(), both), name="drop")
    graph.output = graph.add(engine.Softmax(), graph.add(engine.Linear(64, 3), drop, name="scores"), name="softmax")
    rng = np.random.default_rng(1)
    graph.load_buffers({key: rng.uniform(0.2, 0.6, each.shape) for key, each in graph.buffers().items()})
    return graph


def test_by_hand():
    """Maps of [[1, 2], [0, -1]] are A1 = [[2, 4], [0, -2]] and A2 = [[0, -1], [1, 2]]; of class 0 the gradient by every
    pixel of A1 is 3 / 4, by those of A2 1 / 4; of class 1 they are -4 / 4 and 8 / 4."""
    x = np.array([[[[1.0, 2.0], [0.0, -1.0]]]], np.float32)
    found = gradcam(tiny(), x, classes=0)
    assert found.layer == "conv" and found.classes.tolist() == [0]
    np.testing.assert_allclose(found.weights, [[0.75, 0.25]], rtol=1e-6)
    np.testing.assert_allclose(found.maps, [[[1.5, 2.75], [0.25, 0.0]]], rtol=1e-6)
    other = gradcam(tiny(), x, classes=[1])
    np.testing.assert_allclose(other.weights, [[-1.0, 2.0]], rtol=1e-6)
    np.testing.assert_allclose(other.maps, [[[0.0, 0.0], [2.0, 6.0]]], rtol=1e-6)


def test_without_a_class_it_is_the_predicted_one():
    x = np.array([[[[1.0, 2.0], [0.0, -1.0]]], [[[-3.0, -2.0], [0.0, -1.0]]]], np.float32)
    found, said = gradcam(tiny(), x), tiny().predict(x).argmax(axis=1)
    assert found.classes.tolist() == said.tolist() == [0, 1]
    for sample in range(2):
        one = gradcam(tiny(), x[sample : sample + 1], classes=int(said[sample]))
        np.testing.assert_array_equal(found.maps[sample], one.maps[0])


@pytest.mark.parametrize("layer", ["first", "second"])
def test_weights_are_differences_of_the_score_in_inference(layer):
    """A convolution's bias adds to all pixels of its map: the difference of the score by it is their sum."""
    net = busy()
    x = np.random.default_rng(2).normal(size=(3, 2, 8, 8)).astype(np.float32)
    found = gradcam(net, x, layer, classes=[0, 1, 2])
    height, width = net.topology.shape_of(layer)[1:]
    bias, step = net.parameters()[f"{layer}.bias"], 1e-2

    def scores(moved):
        net.load_parameters({f"{layer}.bias": moved}, strict=False)
        return np.log(net.predict(x).astype(np.float64))  # a softmax's, up to what all classes share

    for channel in range(4):
        unit = np.eye(4, dtype=np.float32)[channel] * np.float32(step)
        slope = (scores(bias + unit) - scores(bias - unit)) / (2 * step)
        # Differences between classes are those of the scores before the softmax.
        for one in range(3):
            every = gradcam_of_all(net, bias, layer, x)
            told = (every[one] - every[one].mean(axis=1, keepdims=True))[channel] * height * width
            np.testing.assert_allclose(told, slope[one] - slope[one].mean(), atol=5e-3)
    np.testing.assert_array_equal(found.weights, [gradcam_of_all(net, bias, layer, x)[n][:, n] for n in range(3)])


def gradcam_of_all(net, bias, layer, x):
    """Weights of the channels for every class: of each image (channels, classes)."""
    net.load_parameters({f"{layer}.bias": bias}, strict=False)
    each = [gradcam(net, x, layer, classes=number).weights for number in range(3)]
    return [np.stack([every[sample] for every in each], axis=1) for sample in range(len(x))]


def test_the_network_stays_as_it_is():
    net = busy()
    before, statistics = net.parameters(), net.buffers()
    gradcam(net, np.ones((1, 2, 8, 8), np.float32), "both")
    assert all(np.array_equal(array, before[key]) for key, array in net.parameters().items())
    assert all(np.array_equal(array, statistics[key]) for key, array in net.buffers().items())


def test_what_cannot_be_is_refused():
    x = np.zeros((1, 1, SIDE, SIDE), np.float32)
    with pytest.raises(UserError, match="whose output is a map, but that of '9' has shape"):
        gradcam(deep(), x, "9")
    with pytest.raises(UserError, match="unknown layer 'nothing'"):
        gradcam(small_net(), x, "nothing")
    with pytest.raises(UserError, match="class must be"):
        gradcam(small_net(), x, classes=99)
    with pytest.raises(UserError, match="2 classes for 1 images"):
        gradcam(small_net(), x, classes=[0, 1])
    flat = engine.Sequential([engine.Flatten(), engine.Linear(SIDE * SIDE, 2)], input_shape=(1, SIDE, SIDE))
    with pytest.raises(UserError, match="the network has no convolution"):
        gradcam(flat, x)
    maps = engine.Sequential([engine.Conv2D(1, 2, 3, padding=1)], input_shape=(1, SIDE, SIDE))
    with pytest.raises(UserError, match="needs a classifier"):
        gradcam(maps, x)


def deep():
    layers = [engine.Conv2D(1, 2, 3, padding=1)] + [engine.ReLU()] * 7 + [engine.Flatten()]
    return engine.Sequential([*layers, engine.Linear(2 * SIDE * SIDE, 2)], input_shape=(1, SIDE, SIDE))


def test_gradients_with_layers_frozen_are_those_without():
    """The program of gradients itself: what is frozen has none, and the rest has what it has anyway."""
    net, rng = deep(), np.random.default_rng(3)
    x, y = rng.normal(size=(4, 1, SIDE, SIDE)).astype(np.float32), np.array([0, 1, 1, 0])
    value, free = net.loss_and_gradients(x, y, engine.CrossEntropy())
    for frozen in (["0"], ["9"]):
        again, held = net.execution.loss_and_gradients(x, y, engine.CrossEntropy(), freeze=frozen)
        assert again == value and held.keys() == {key for key in free if key.split(".")[0] not in frozen}
        assert all(np.array_equal(array, free[key]) and array.any() for key, array in held.items())
