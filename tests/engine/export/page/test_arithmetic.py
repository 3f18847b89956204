"""The page's layers in a browser beside the engine's own, layer by layer."""

import json

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
from engine.models import make_model
from tests.engine.export.page.conftest import decoded, encoded

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


def in_browser(page, net, x, names):
    """What the page's script gives for one input: the outputs of these layers, and the probabilities."""
    told, weights = description(net, kinds())
    told["weights"] = encoded(np.frombuffer(weights, np.uint8))
    texts = page.evaluate(
        """([network, input, names]) => {
            const net = opened(JSON.parse(network));
            const data = new Float32Array(bytesOf(input).buffer);
            const outputs = layerOutputs(net, { shape: net.input, data });
            return [...names.map((name) => textOf(outputs[name].data)), textOf(probabilities(net, outputs))];
        }""",
        [json.dumps(told), encoded(x), names],
    )
    return [decoded(text, np.float32) for text in texts]


def test_the_script_has_every_layer_and_no_other():
    assert kinds() == set(LAYERS)
    held = {type(layer).__name__ for layer in (*ON_MAPS, *ON_VECTORS)} | {"Add", "Multiply", "Concat"}
    assert held == set(LAYERS)


def test_every_layer_gives_what_the_engines_gives(core):
    net = shaken(every_layer())
    x = np.random.default_rng(1).normal(0, 2, SHAPE).astype(np.float32)
    expected = activations(net, x[None], algorithm="direct")
    # A member takes images of one channel or three: this network's four are for its layers alone.
    told = member(engine.Sequential([Flatten(), Linear(4, 2)], (1, 2, 2)))
    object.__setattr__(told, "net", net)
    names = list(net.layers)
    *found, _ = in_browser(core, told, x, names)
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
