"""Quantised networks: `engine.quantize.load` and a prediction, of .safetensors files whose hash is right.

What is accepted gives the codes of the NumPy twin, and the same file when it is saved and loaded.
"""

from __future__ import annotations

import numpy as np

import engine
from engine.data.preprocess import Preprocess
from engine.layers.topology import INPUT
from engine.network.checkpoint import QUANTIZED_KEY
from engine.quantize import reference
from engine.quantize.reading import load
from fuzz import checkpoint
from fuzz.promises import promised, scratch
from fuzz.values import Plain

FOLDER = scratch()
PATH, AGAIN = FOLDER / "a.safetensors", FOLDER / "again.safetensors"
SIDE = 6
MOST_OF_TWIN = 1 << 16  # numbers of a value that the twin, which is slow, is given


def corpus() -> dict[str, bytes]:
    """Networks with every kind of array, whole and with layers in float32 at the ends."""
    graph = engine.Graph((1, SIDE, SIDE), seed=1)
    first = graph.add(engine.Conv2D(1, 2, 3, padding=1), graph.input, name="a")
    other = graph.add(engine.Conv2D(2, 2, 1, groups=2), graph.add(engine.Tanh(), first, name="b"), name="c")
    added = graph.add(engine.Add(), first, other, name="d")
    joined = graph.add(engine.Concat(), graph.add(engine.AvgPool2D(3, 1, 1), added, name="e"), other, name="f")
    larger = graph.add(engine.ConvTranspose2D(4, 2, 2, stride=2), joined, name="g")
    pooled = graph.add(engine.GlobalAvgPool2D(), graph.add(engine.MaxPool2D(2), larger, name="h"), name="i")
    graph.output = graph.add(engine.Softmax(), graph.add(engine.Linear(2, 3), pooled, name="j"), name="k")
    graph.preprocess, graph.class_names = Preprocess(size=(SIDE, SIDE)).to_dict(), ["a", "b", "c"]
    images = np.random.default_rng(0).random((4, 1, SIDE, SIDE), np.float32)
    found = {}
    ends = {"scales": "free", "first": "float", "last": "float"}
    for name, arguments in {"whole": {}, "ends": ends}.items():
        engine.quantize(graph, images, **arguments).save(PATH)
        found[name] = PATH.read_bytes()
    return found


def run(data: bytes) -> None:
    PATH.write_bytes(data)
    with promised(data):
        net = load(PATH)
        net.save(AGAIN)
        again = load(AGAIN)
        assert again.body.encodings == net.body.encodings and again.notes == net.notes
        net.summary()
    with promised(data):
        net = load(PATH)
        x = np.random.default_rng(1).standard_normal((2, *net.input_shape), np.float32)
        logits = net.logits(x)
        assert net.predict(x).shape == (2, *net.output_shape)
        _, widest = net.body.topology.widest()
        if widest <= MOST_OF_TWIN and net.head is None:
            codes = reference.run(net.body, net.body.encodings[INPUT].codes(x))[net.body.topology.output]
            assert np.array_equal(net.body.output.numbers(codes), logits)


def mutate(data: bytes, most: int, seed: int, plain: Plain) -> bytes:
    return checkpoint.mutate(data, most, seed, plain, QUANTIZED_KEY)
