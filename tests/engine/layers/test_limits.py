"""Whatever stands in a file as a layer's argument is refused in one sentence, or makes a layer that works."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import cnncore
import numpy as np
import pytest

import engine
from engine.errors import LONGEST, UserError
from engine.layers import LAYERS, make_layer
from engine.layers.topology import checked_input_shape
from engine.network.load import from_config
from engine.program.limits import MOST_ELEMENTS, bounds

DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]

NUMBERS = [0, 1, 2, 3, 4, 4096, 4097, 2**31 - 1, 2**31, 2**32, 2**38, 2**61, 2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**64]
VALUES: list[Any] = [
    *NUMBERS,
    *(-number for number in NUMBERS),
    10**400,
    10**5000,
    *(0.5, 1.5, 1e-50, 1e300, math.nan, math.inf, -math.inf, True, False, None),
    *("3", "same", "tanh", "", "no", b"3", {}, {"kernel": 3}, [], [3], [1, 2, 3], [1, 2, 3, 4, 5], [[1], 1], DEEP),
    *("reflect", "nearest"),
    *([1, 10**8], [10**8, 1], [2**62, 2**62], (0, 2**63), [1, 1, 2**61, 1], [1, True], [1.5, 1], ["1", 1]),
    *(int, len, np.int64(3), np.int64(2**40), np.array(3.5), np.array([1, 2])),
]

GIVEN: dict[str, dict[str, Any]] = {
    "Conv2D": {"in_channels": 4, "out_channels": 4, "kernel": 3},
    "ConvTranspose2D": {"in_channels": 4, "out_channels": 4, "kernel": 3},
    "Pad2D": {"padding": 1},
    "PadChannels": {"before": 2},
    "Upsample2D": {"scale": 2},
    "MaxPool2D": {"kernel": 2},
    "AvgPool2D": {"kernel": 2},
    "Linear": {"in_features": 4, "out_features": 2},
    "BatchNorm": {"channels": 4},
    "GroupNorm": {"groups": 2, "channels": 4},
    "LayerNorm": {"channels": 4},
    "InstanceNorm": {"channels": 4},
    "Dropout": {"rate": 0.5},
    "Dropout2D": {"rate": 0.5},
    "StochasticDepth": {"rate": 0.5},
}
ARGUMENTS = [(name, field.name) for name, layer in LAYERS.items() for field in dataclasses.fields(layer)]
SHAPES = ((4, 9, 8), (4, 1, 1), (4,))
SMALL = 10**6  # elements of a network that a test may run


@pytest.mark.filterwarnings("ignore:BatchNorm")
@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_an_argument_is_refused_or_the_layer_works(name: str, argument: str) -> None:
    refused = ran = 0
    for value in VALUES:
        try:
            layer = make_layer(name, {**GIVEN.get(name, {}), argument: value})
        except UserError as error:
            assert name in str(error) and argument.split("_")[0] in str(error) and len(str(error)) <= LONGEST
            refused += 1
            continue
        for shape in SHAPES:
            try:
                output = layer.output_shape(shape)
            except UserError as error:
                assert name in str(error)
                continue
            if math.prod(output) + sum(math.prod(spec.shape) for spec in layer.parameters()) > SMALL:
                continue
            net = engine.Sequential([layer], shape)
            assert np.isfinite(net.predict(np.ones((2, *shape), np.float32))).all()
            net.plan(2, training=True, loss=engine.MeanSquaredError())
            ran += 1
    assert refused and ran


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("argument", ["kind", "inputs", "elementwise", "op", "__class__", "slope_", 3, ()])
def test_what_is_no_argument_is_unknown(name: str, argument: Any) -> None:
    with pytest.raises(UserError, match=f"unknown argument of layer {name}"):
        make_layer(name, {**GIVEN.get(name, {}), argument: 1})


@pytest.mark.parametrize(
    ("layer", "arguments", "message"),
    [
        (
            "Conv2D",
            {"padding": 2**62},
            "Conv2D: padding must be a whole number of at most 4096, not 4611686018427387904",
        ),
        ("Conv2D", {"padding": [1, 10**8]}, "Conv2D: padding .* at most 4096, not 100000000"),
        ("Conv2D", {"dilation": 2**63}, "Conv2D: dilation .* at most 2147483647, not 9223372036854775808"),
        ("Conv2D", {"groups": 2**31}, "Conv2D: groups .* at most 2147483647"),
        ("Conv2D", {"bias": "no"}, "Conv2D: bias must be true or false, not 'no'"),
        ("AvgPool2D", {"kernel": 2**32, "padding": 2**31}, "AvgPool2D: kernel .* at most 2147483647, not 4294967296"),
        ("MaxPool2D", {"stride": 2**63}, "MaxPool2D: stride .* at most 2147483647"),
        ("Linear", {"out_features": 10**18}, "Linear: out_features .* at most 274877906944, not 1000000000000000000"),
        ("BatchNorm", {"channels": 2**31}, "BatchNorm: channels .* at most 2147483647"),
        ("BatchNorm", {"channels": 0}, "BatchNorm: channels .* at least 1, not 0"),
        ("Conv2D", {"in_channels": -4}, "Conv2D: in_channels .* at least 1, not -4"),
    ],
)
def test_a_limit_is_told_with_layer_and_argument(layer: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_layer(layer, {**GIVEN[layer], **arguments})


def test_the_limits_are_those_of_the_core() -> None:
    for name, argument, kind, field in (
        ("Conv2D", "padding", "conv2d", "pad_top"),
        ("Conv2D", "in_channels", "conv2d", "ic"),
        ("AvgPool2D", "stride", "pool2d", "stride_h"),
        ("Linear", "out_features", "linear", "n"),
        ("BatchNorm", "channels", "norm", "c"),
    ):
        most = int(cnncore.GEOMETRY_LIMITS[kind][field][1])
        assert bounds(kind, field)[1] == most
        given = {
            **GIVEN[name],
            **({"in_channels": most, "groups": 1} if argument == "in_channels" else {argument: most}),
        }
        make_layer(name, given)
        with pytest.raises(UserError, match=f"at most {most}, not {most + 1}"):
            make_layer(name, {**given, argument: most + 1})


def test_a_padded_map_is_bounded_as_in_the_core() -> None:
    """The same numbers are refused as by `cnn_program_create`."""
    side = 2**19 - 2
    engine.Conv2D(1, 1, 3, padding=0).output_shape((1, side, side // 4))
    with pytest.raises(UserError, match="conv2d_forward cannot be computed with h .*274877906944 elements"):
        engine.Conv2D(1, 1, 3, padding=4096).output_shape((1, side, side))


@pytest.mark.parametrize(
    "shape", [(2**63,), (2**38 + 1,), (1, 2**31, 1), (2**20, 2**20, 2), (0,), (3, -1, 3), ("3",), "3"]
)
def test_input_shapes_are_bounded(shape: Any) -> None:
    with pytest.raises(UserError, match="shape"):
        checked_input_shape(shape)
    with pytest.raises(UserError, match="shape"):
        engine.Graph(shape)


def test_weights_and_outputs_are_bounded() -> None:
    with pytest.raises(UserError, match=f"layer '0': weights of shape .* no array can have more than {MOST_ELEMENTS}"):
        engine.Sequential([engine.Linear(2**30, 2**30)], (2**30,))
    with pytest.raises(UserError, match="layer 'x': its output of shape"):
        graph = engine.Graph((2**10, 2**14, 2**13))
        graph.add(engine.Concat(), graph.input, graph.input, graph.input, name="x")
    nodes = [{"name": "0", "layer": "Concat", "inputs": ["input"] * 2}]
    nodes += [{"name": str(n), "layer": "Concat", "inputs": [str(n - 1)] * 2} for n in range(1, 99)]
    with pytest.raises(UserError, match="layer '29'.*its output has shape"):
        from_config({"input_shape": [2, 1, 1], "nodes": nodes, "output": "98"})


def test_a_long_chain_is_no_deep_one() -> None:
    net = engine.Sequential([engine.Flatten(), *[engine.ReLU()] * 3000, engine.Linear(12, 2)], (3, 2, 2))
    assert net.predict(np.ones((1, 3, 2, 2), np.float32)).shape == (1, 2)
