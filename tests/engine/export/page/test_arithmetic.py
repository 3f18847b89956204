"""The page's layers in a browser beside the engine's own, layer by layer."""

import json
from fractions import Fraction

import numpy as np
import pytest

import engine
from engine.export.page.describe import description
from engine.export.page.document import kinds
from engine.inference.ensemble import as_probabilities, member_of
from engine.inspection.activations import activations
from engine.layers import (
    ELU,
    GELU,
    LAYERS,
    Add,
    AvgPool2D,
    BatchNorm,
    Clip,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dropout,
    Dropout2D,
    Flatten,
    GlobalAvgPool2D,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    InstanceNorm,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2D,
    Multiply,
    Pad2D,
    PadChannels,
    PReLU,
    ReLU,
    ReLU6,
    Scale,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    StochasticDepth,
    Tanh,
    Upsample2D,
)
from engine.layers.topology import INPUT
from engine.models import make_model
from engine.quantize import reference
from tests.engine.export.page.conftest import decoded, encoded
from tests.engine.quantize.networks import NETWORKS, network, samples

SHAPE = (4, 9, 11)  # of the map that each layer here gets
ON_MAPS = (
    Conv2D(4, 6, 3),
    Conv2D(4, 6, (2, 3), stride=(2, 1), padding=(1, 0, 2, 1), bias=False),
    Conv2D(4, 6, 3, stride=2, padding="same"),
    Conv2D(4, 4, 3, padding=2, dilation=2, groups=2, padding_mode="reflect"),
    Conv2D(4, 8, 3, padding=1, groups=4, padding_mode="replicate"),
    ConvTranspose2D(4, 6, 3, stride=2, padding=1, output_padding=1),
    ConvTranspose2D(4, 4, (3, 2), stride=(1, 3), padding=(0, 1, 1, 0), groups=2, dilation=(2, 1), bias=False),
    MaxPool2D(2),
    MaxPool2D((3, 2), stride=2, padding=1, ceil_mode=True),
    AvgPool2D(3, stride=2, padding=1, ceil_mode=True),
    AvgPool2D(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    GlobalAvgPool2D(),
    Pad2D((1, 2, 0, 3)),
    Pad2D((1, 2, 2, 3), mode="reflect"),
    Pad2D(2, mode="replicate"),
    PadChannels(2),
    PadChannels(1, 3),
    Upsample2D((2, 3)),
    Upsample2D((2, 3), mode="bilinear"),
    Upsample2D(2, mode="bilinear", align_corners=True),
    BatchNorm(4),
    BatchNorm(4, eps=0.1, scale=False, shift=False),
    GroupNorm(2, 4),
    LayerNorm(4, scale=False),
    InstanceNorm(4, shift=False),
    Dropout(0.5),
    Dropout2D(0.5),
    StochasticDepth(0.5),
    Scale(factor=-0.7),
    Scale(channels=4),
    ReLU(),
    LeakyReLU(0.2),
    ELU(0.7),
    PReLU(),
    PReLU(4),
    GELU(),
    GELU(approximate="tanh"),
    SiLU(),
    Hardswish(),
    Hardsigmoid(),
    Softplus(),
    ReLU6(),
    Clip(-0.5, 1.5),
    Sigmoid(),
    Tanh(),
    Softmax(),
    Flatten(),
)
ON_VECTORS = (
    Linear(4, 5),
    Linear(4, 5, bias=False),
    LayerNorm(4),
    BatchNorm(4),
    PadChannels(1),
    PReLU(4),
    Softmax(),
    Sigmoid(),
)


def every_layer(joins=False):
    """A network whose output depends on all of these layers: each gets the same map, and a share of the head."""
    graph = engine.Graph(input_shape=SHAPE)
    vector = graph.add(GlobalAvgPool2D(), graph.input)
    ends = []
    for layers, source in ((ON_MAPS, graph.input), (ON_VECTORS, vector)):
        for layer in layers:
            end = graph.add(layer, source)
            ends.append(graph.add(Flatten(), end) if len(graph._nodes[-1].shape) == 3 else end)
    for layer, sources in (
        (Add(), (graph.input, graph.input, graph.input)),
        (Multiply(), (graph.input, vector)),
        (Multiply(), (vector, graph.input)),
        (Multiply(), (graph.input, graph.input)),
        (Concat(), (graph.input, graph.input)),
    ):
        ends.append(graph.add(Flatten(), graph.add(layer, *sources)))
    joined = graph.add(Concat(), *ends)
    (width,) = graph._nodes[-1].shape
    graph.output = graph.add(Linear(width, 3), joined)
    return graph


def shaken(net, seed=0):
    """The network with parameters and statistics that leave nothing at 0 or 1."""
    rng = np.random.default_rng(seed)
    net.load_parameters(
        {name: (array + rng.normal(0, 0.1, array.shape)).astype(np.float32) for name, array in net.parameters().items()}
    )
    net.load_buffers(
        {name: rng.uniform(0.3, 2, array.shape).astype(np.float32) for name, array in net.buffers().items()}
    )
    return net


def member(net):
    _, height, width = net.input_shape
    net.preprocess = {"colour": net.input_shape[0] == 3, "size": [height, width]}
    return member_of("net", net)


def in_browser(page, net, x, names, part="data"):
    """What the page's script gives for one input: the outputs of these layers, or their codes, and the
    probabilities."""
    told, weights = description(net, kinds())
    told["weights"] = encoded(np.frombuffer(weights, np.uint8))
    texts = page.evaluate(
        """([network, input, names, part]) => {
            const net = opened(JSON.parse(network));
            const data = new Float32Array(bytesOf(input).buffer);
            const outputs = layerOutputs(net, { shape: net.input, data });
            return [...names.map((name) => textOf(outputs[name][part])), textOf(probabilities(net, outputs))];
        }""",
        [json.dumps(told), encoded(x), names, part],
    )
    kinds_of = [np.uint8 if part == "codes" else np.float32] * len(names)
    return [decoded(text, kind) for text, kind in zip(texts, [*kinds_of, np.float32], strict=True)]


def bare(net):
    """A member of a network whose input is no picture: for its layers alone."""
    told = member(engine.Sequential([Flatten(), Linear(4, 2)], (1, 2, 2)))
    object.__setattr__(told, "net", net)
    return told


def test_the_script_has_every_layer_and_no_other():
    assert kinds() == set(LAYERS)
    held = {type(layer).__name__ for layer in (*ON_MAPS, *ON_VECTORS)} | {"Add", "Multiply", "Concat"}
    assert held == set(LAYERS)


def test_every_layer_gives_what_the_engines_gives(core):
    net = shaken(every_layer())
    x = np.random.default_rng(1).normal(0, 2, SHAPE).astype(np.float32)
    expected = activations(net, x[None], algorithm="direct")
    names = list(net.layers)
    *found, _ = in_browser(core, bare(net), x, names)
    for name, data in zip(names, found, strict=True):
        wanted = expected[name].ravel()
        scale = max(1.0, float(np.abs(wanted).max()))
        layer = net.layers[name]
        assert data.shape == wanted.shape and np.abs(data - wanted).max() <= 3e-6 * scale, f"{name}: {layer}"


@pytest.mark.parametrize("name", ["lenet", "vgg3", "resnet20", "mobilenet_v2"])
def test_named_networks_give_the_engines_probabilities(core, name):
    arguments = {"lenet": {"channels": 3}, "mobilenet_v2": {"width": 0.25}}.get(name, {})
    net = shaken(make_model(name, **arguments)) if name != "vgg3" else make_model(name)
    x = np.random.default_rng(2).normal(0, 1, net.input_shape).astype(np.float32)
    (found,) = in_browser(core, member(net), x, [])
    assert np.abs(found - as_probabilities(net, net.predict(x[None]))[0]).max() <= 1e-5


def test_answers_that_are_no_numbers_are_errors(core):
    net = engine.Sequential([Flatten(), Linear(4, 2)], (1, 2, 2))
    net.load_parameters({"1.weights": np.full((2, 4), 3e38, np.float32)}, strict=False)
    with pytest.raises(Exception, match="NaN or infinity"):
        in_browser(core, member(net), np.full((1, 2, 2), 9, np.float32), [])


# ---- integers ----


@pytest.mark.parametrize("scales", ["power_of_two", "free"])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "dense"])  # which takes no pictures
def test_integer_layers_have_the_bits_of_the_engine(core, name, scales):
    net = network(name)
    x = samples(net)
    check_codes(core, engine.quantize(net, x, scales=scales), x[0])


@pytest.mark.parametrize("arguments", [{"first": "float"}, {"last": "float"}, {"weight_bits": 7, "scales": "free"}])
def test_layers_in_float32_stand_before_and_behind_integers(core, arguments):
    net = make_model("resnet20")
    x = samples(net, 4)
    quantized = engine.quantize(net, x, **arguments)
    found = check_codes(core, quantized, x[0], exact="first" not in arguments)
    assert np.abs(found - as_probabilities(quantized, quantized.predict(x[:1]))[0]).max() <= 1e-5


def check_codes(page, quantized, x, exact=True):
    """The codes of every integer layer, in the browser and by the definition; the probabilities. A layer in float32
    before them may put a number on the other side of a half."""
    body = quantized.body
    names = [node.name for node in body.topology.nodes]
    *found, scores = in_browser(page, bare(quantized), x, [*names], "codes")
    given = x[None] if quantized.head is None else quantized.head.predict(x[None])
    expected = reference.run(body, body.encodings[INPUT].codes(given))
    for name, codes in zip(names, found, strict=True):
        wanted = expected[name].ravel()
        assert codes.shape == wanted.shape, name
        assert np.array_equal(codes, wanted) if exact else np.mean(codes != wanted) < 0.05, f"{name}: {body}"
    return scores


def test_factors_that_leave_53_bits_are_exact(core):
    """Against whole numbers of any size."""
    rng = np.random.default_rng(5)
    sums = [int(each) for each in rng.integers(-(2**31) + 1, 2**31, 400)]
    factors = [int(each) for each in rng.integers(1, 2**31, 400)]
    shifts = [int(each) for each in rng.integers(0, 63, 400)]
    cases = [*zip(sums, factors, shifts), (-3, 2**30, 31), (3, 2**30, 31), (2**31 - 1, 2**31 - 1, 62), (-5, 1, 1)]
    found = core.evaluate("(cases) => cases.map((each) => requantised(...each))", cases)
    for (number, factor, shift), value in zip(cases, found, strict=True):
        assert float(value) == float(round(Fraction(number * factor, 1 << shift))), (number, factor, shift)
