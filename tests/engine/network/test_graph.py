"""Writing networks: Sequential, Graph, and their description as data."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from engine.errors import UserError
from engine.layers import Add, BatchNorm, Concat, Conv2D, Dropout, Flatten, Linear, MaxPool2D, ReLU, Softmax
from engine.network.graph import Graph, Network, Sequential
from engine.network.load import from_config


def residual() -> Graph:
    graph = Graph((3, 9, 9), seed=3, initializer={"conv": "he_uniform"})
    stem = graph.add(Conv2D(3, 8, 3, padding="same"), graph.input, name="stem")
    branch = graph.add(ReLU(), graph.add(BatchNorm(8), stem), name="branch")
    both = graph.add(Concat(), graph.add(Add(), stem, branch), stem, name="both")
    flat = graph.add(Flatten(), graph.add(MaxPool2D(2), both))
    graph.output = graph.add(Softmax(), graph.add(Linear(256, 4), flat, name="head"))
    return graph


def test_names_shapes_and_layers() -> None:
    net = Sequential([Conv2D(3, 4, 3), ReLU(), Flatten(), Linear(196, 2)], input_shape=(3, 9, 9))
    assert list(net.layers) == ["0", "1", "2", "3"]
    assert (net.input_shape, net.output_shape) == ((3, 9, 9), (2,))
    named = Sequential({"conv": Conv2D(3, 4, 3), "relu": ReLU()}, input_shape=(3, 9, 9))
    assert list(named.parameters()) == ["conv.weights", "conv.bias"]
    assert list(residual().layers) == ["stem", "1", "branch", "3", "both", "5", "6", "head", "8"]


@pytest.mark.parametrize("make", [residual, lambda: Sequential([Dropout(0.5), Flatten(), Linear(12, 3)], (3, 2, 2))])
def test_a_description_gives_the_same_network(make: Any) -> None:
    net = make()
    config = json.loads(json.dumps(net.to_config()))
    again = from_config(config)
    assert again.topology == net.topology and again.to_config() == net.to_config()
    x = np.random.default_rng(0).normal(size=(2, *net.input_shape)).astype(np.float32)
    assert np.array_equal(again.predict(x), net.predict(x))


def test_an_unfinished_graph_says_so() -> None:
    graph = Graph((3, 9, 9))
    graph.add(Conv2D(3, 4, 3), graph.input)
    for use in (graph.summary, lambda: graph.predict(np.zeros((1, 3, 9, 9), np.float32)), graph.parameters):
        with pytest.raises(UserError, match=r"no output yet: set graph\.output"):
            use()


def build(*steps: Any) -> Network:
    graph = Graph((3, 9, 9))
    for layer, inputs, name in steps:
        graph.add(layer, *inputs, name=name)
    graph.output = steps[-1][2]
    return graph


WRONG_GRAPHS: list[tuple[Any, str]] = [
    (lambda: build((Conv2D(3, 4, 3), ["nowhere"], "a")), "layer 'a' reads 'nowhere', which is not a layer"),
    (lambda: build((ReLU(), ["input"], "a"), (ReLU(), ["input"], "a")), "'a' is given to two layers"),
    (lambda: build((ReLU(), ["input"], "input")), "word other than 'input'"),
    (lambda: build((ReLU(), ["input"], "a b")), "word other than"),
    (lambda: build((ReLU(), ["input"], "a"), (ReLU(), ["input"], "b")), "layer 'a' does not lead to the output 'b'"),
    (lambda: build((Add(), ["input"], "a")), "Add takes 2 inputs or more, but got 1"),
    (lambda: build((ReLU(), ["input", "input"], "a")), "ReLU takes 1 input, but got 2"),
    (lambda: build((Conv2D(3, 4, 11), ["input"], "a")), "layer 'a': .* 11x11 kernel .* padded image, 9x9"),
    (lambda: build(("ReLU", ["input"], "a")), "'a' is not a layer of engine.layers: 'ReLU'"),
    (lambda: Sequential([], input_shape=(3, 9, 9)), "at least one layer"),
    (lambda: Sequential([ReLU()], input_shape=(3, 9)), "input_shape must be"),
    (lambda: Sequential([ReLU()], input_shape=(3, 9, 0)), "every extent must be a whole number of at least 1"),
    (lambda: Sequential([Conv2D(3, 4, 3), Linear(196, 2)], (3, 9, 9)), r"layer '1': .* put Flatten\(\) before it"),
]


@pytest.mark.parametrize(("make", "message"), WRONG_GRAPHS, ids=range(len(WRONG_GRAPHS)))
def test_graphs_that_are_wrong(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_a_finished_graph_does_not_change() -> None:
    graph = residual()
    with pytest.raises(UserError, match="output already"):
        graph.add(ReLU(), "8")
    with pytest.raises(UserError, match="output already"):
        graph.output = "head"


def edited(**changes: Any) -> dict[str, Any]:
    """A description with changes: keys of the whole, or of its first node."""
    config = copy.deepcopy(residual().to_config())
    for key, value in changes.items():
        target = config if key in config else config["nodes"][0]
        target[key] = value
    return config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "'input_shape' is missing"),
        ({}, "'input_shape' is missing"),
        (edited(nodes={}), "'nodes' is missing or not a list"),
        (edited(nodes=["x"]), "'x' is not a layer with its inputs"),
        (edited(nodes=[]), "not a layer of the network"),
        (edited(output="x"), "'x' is not a layer of the network"),
        (edited(output="input"), "'input' is not a layer of the network"),
        (edited(input_shape=[3, "9", 9]), "extent"),
        (edited(layer="Conv3D"), "unknown layer 'Conv3D'"),
        (edited(layer=["Conv2D"]), "unknown layer"),
        (edited(arguments={"in": 3}), "unknown argument of layer Conv2D: 'in'"),
        (edited(arguments=None), "mapping"),
        (edited(inputs=["both"]), "reads 'both', which is not a layer before it"),
        (edited(inputs=[{}]), "not a layer before it"),
        (edited(name=3), "must be a word"),
        (edited(name="branch"), "'branch' is given to two layers|not a layer before"),
        (edited(seed="one"), "seed"),
        (edited(initializer="best"), "unknown initializer 'best'"),
        (edited(initializer=3), "unknown initializer"),
    ],
)
def test_descriptions_that_are_wrong(config: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_config(config)
