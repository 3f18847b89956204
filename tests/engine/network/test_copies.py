"""Networks, sessions and trainers can be pickled and copied: the same bits, in memory of their own."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest

import engine
from engine.layers import Add, Conv2D, Flatten, Linear, ReLU
from engine.training.trainer import Trainer
from tests.engine.small import CLASSES, small_net

WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "deepcopy": copy.deepcopy,
}


def graph():
    net = engine.Graph(input_shape=(1, 6, 6), seed=3, initializer="glorot_uniform")
    first = net.add(Conv2D(1, 4, 3, padding=1), net.input)
    both = net.add(Add(), first, net.add(ReLU(), first))
    net.output = net.add(Linear(4 * 36, 3), net.add(Flatten(), both))
    return net


def loaded():
    net = small_net()
    return engine.network.load.from_config(net.to_config(), (net.parameters(), net.buffers()))


NETS = {"sequential": small_net, "graph": graph, "network": loaded}


def inputs(net, count=5):
    return np.random.default_rng(0).standard_normal((count, *net.input_shape)).astype(np.float32)


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
@pytest.mark.parametrize("kind", NETS)
def test_a_copy_says_the_same_bits_and_shares_no_memory(kind, way):
    net = NETS[kind]()
    net.class_names, net.preprocess = list(CLASSES), {"size": [6, 6]}
    x = inputs(net)
    before = net.predict(x)  # there is a program now, and a lock
    other = WAYS[way](net)
    assert type(other) is type(net) and other.to_config() == net.to_config()
    assert other.class_names == net.class_names and other.preprocess == net.preprocess
    assert other.predict(x).tobytes() == before.tobytes()
    assert other.store.data.ctypes.data % 64 == 0
    other.load_parameters({key: array + 1 for key, array in other.parameters().items()})
    other.class_names.append("more")
    assert net.predict(x).tobytes() == before.tobytes() and net.class_names == list(CLASSES)
    assert other.predict(x).tobytes() != before.tobytes()


def test_an_unfinished_graph_is_copied_too():
    net = engine.Graph(input_shape=(4,))
    name = net.add(Linear(4, 2), net.input)
    other = copy.deepcopy(net)
    other.output = name
    net.output = name
    assert other.predict(inputs(net)).tobytes() == net.predict(inputs(net)).tobytes()


def test_a_network_reaches_a_spawned_process():
    net = small_net()
    x = inputs(net)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(net.predict, (x,)).tobytes() == net.predict(x).tobytes()


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_a_trainer_goes_on_as_its_copy_does(way):
    net = small_net()
    x, y = inputs(net, 4), np.arange(4) % 2
    trainer = Trainer(net, engine.Adam(lr=0.01), batch_size=4, progress="none")
    trainer.step(x, y)
    other = WAYS[way](trainer)
    assert other.net.store is other.session.programs.store is not net.store
    losses = [trainer.step(x, y) for _ in range(3)]
    assert [other.step(x, y) for _ in range(3)] == losses
    assert other.net.store.data.tobytes() == net.store.data.tobytes()
