"""What every layer gives, against networks that end at that layer."""

import numpy as np
import pytest

import engine
from engine.errors import UserError
from engine.inspection.activations import activations
from engine.layers.topology import checked_topology
from engine.models.numtadb import lenet
from tests.engine.small import SIDE, small_net


def branched():
    """A graph in which a value is read three times and the last layer is no vector."""
    graph = engine.Graph(input_shape=(2, 9, 7), seed=3)
    first = graph.add(engine.Conv2D(2, 5, 3, padding=1), graph.input, name="first")
    relu = graph.add(engine.ReLU(), first, name="relu")
    second = graph.add(engine.Conv2D(5, 5, 3, padding=1, bias=False), relu, name="a.b")
    total = graph.add(engine.Add(), relu, second, first, name="sum")
    both = graph.add(engine.Concat(), total, relu, name="both")
    graph.output = graph.add(engine.MaxPool2D(2, 2), both, name="pool")
    return graph


def of_layers(arrays, names):
    return {key: array for key, array in arrays.items() if key.rpartition(".")[0] in names}


def ending_at(net, name):
    """The network cut off behind a layer, built from its parts, with the same weights."""
    nodes = {node.name: node for node in net.topology.nodes}
    needed, pending = set(), [name]
    while pending:
        each = pending.pop()
        if each in nodes:
            needed.add(each)
            pending += nodes[each].inputs
    kept = [node for node in net.topology.nodes if node.name in needed]
    cut = engine.Network(checked_topology(net.input_shape, kept, name))
    cut.load_parameters(of_layers(net.parameters(), needed))
    cut.load_buffers(of_layers(net.buffers(), needed))
    return cut


@pytest.mark.parametrize("make", [small_net, lenet, branched])
def test_each_layer_gives_what_a_network_ending_there_gives(make):
    net = make()
    rng = np.random.default_rng(0)
    net.load_buffers({key: rng.uniform(0.5, 2, array.shape) for key, array in net.buffers().items()})
    x = rng.standard_normal((3, *net.input_shape)).astype(np.float32)
    before = net.predict(x)
    given = activations(net, x, algorithm="direct")
    assert list(given) == list(net.layers)
    for name, values in given.items():
        assert values.shape == (3, *net.topology.shape_of(name))
        np.testing.assert_allclose(values, ending_at(net, name).predict(x, algorithm="direct"), 1e-5, 1e-5)
    np.testing.assert_array_equal(net.predict(x), before)


def test_named_layers_only_and_in_their_order():
    net = small_net()
    x = np.random.default_rng(1).standard_normal((2, 1, SIDE, SIDE)).astype(np.float32)
    some = activations(net, x, ["3", "0"])
    assert list(some) == ["0", "3"]
    everything = activations(net, x)
    for name, values in some.items():
        np.testing.assert_allclose(values, everything[name], 1e-6, 1e-6)
    assert list(activations(net, x, ["5"])) == ["5"]


def test_a_layer_that_is_not_there():
    x = np.zeros((1, 1, SIDE, SIDE), np.float32)
    with pytest.raises(UserError, match=r"unknown layer 'frist'; did you mean 'first'"):
        activations(branched(), x, ["frist"])
