"""The integer part of a quantised network as data: a graph of layers, how each value is encoded, integer arrays.

The graph is an ordinary topology. Which of its layers hold which arrays, by "LAYER.ARRAY":

    Conv2D, Linear, ConvTranspose2D   weights int8, bias int32; multipliers, shifts int32, one for each output channel
    Add (of two)                      multipliers int32 (2,), shifts int32 (1,)
    AvgPool2D, GlobalAvgPool2D        multipliers int32 (1,), shifts int32 (1,)
    activations and Scale             table uint8 (256,): the code that every code becomes
    all others                        none: they pass codes on, and what they read and give has one encoding
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arguments import pair
from engine.errors import UserError, listed, shown
from engine.layers import (
    Add,
    AvgPool2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    Linear,
    MaxPool2D,
    Pad2D,
    PadChannels,
    Scale,
    Upsample2D,
    layer_name,
)
from engine.layers.topology import INPUT, Node, Topology
from engine.program.shapes import Shape
from engine.quantize.arithmetic import (
    FUNCTIONS,
    HIGHEST,
    LOWEST,
    MOST_SHIFT,
    MOST_SHIFT_ALONE,
    MOST_WEIGHT,
    Encoding,
    Integers,
    check_sums,
    largest_sums,
)

Arrays = dict[str, NDArray[Any]]

PASSING = (MaxPool2D, Flatten, Concat, Upsample2D, Pad2D, PadChannels)
"""The layers that give codes that they were given, or the zero point."""

WEIGHTED = (Conv2D, Linear, ConvTranspose2D)
AVERAGING = (AvgPool2D, GlobalAvgPool2D)
CLAMPED = (*WEIGHTED, Add)
"""The layers that an activation may have been fused into: their codes stay between a lowest and a highest."""

MOST_COUNT = 1 << 16  # elements that an average is of: the core takes no more


@dataclass(frozen=True)
class Clamp:
    """The lowest and the highest code that a layer gives."""

    low: int = LOWEST
    high: int = HIGHEST


@dataclass(frozen=True)
class Body:
    """The integer part. `encodings` has the input, under INPUT, and what every layer gives; `clamps` those layers whose
    codes are bounded. `check_body` holds one from a file to what the arithmetic needs."""

    topology: Topology
    encodings: Mapping[str, Encoding]
    clamps: Mapping[str, Clamp]
    arrays: Mapping[str, NDArray[Any]]

    def array(self, name: str, part: str) -> NDArray[Any]:
        return self.arrays[f"{name}.{part}"]

    def clamp(self, name: str) -> Clamp:
        return self.clamps.get(name, Clamp())

    @property
    def output(self) -> Encoding:
        return self.encodings[self.topology.output]

    def shapes(self, node: Node) -> tuple[Shape, ...]:
        """Of what a layer reads, per sample."""
        return tuple(self.topology.shape_of(name) for name in node.inputs)


def is_tabled(layer: Layer) -> bool:
    """Whether a layer works on every element alone, so that a table of 256 codes says all of it."""
    return type(layer) in FUNCTIONS and not (isinstance(layer, Scale) and layer.channels is not None)


def refusal(layer: Layer) -> str | None:
    """Why a layer cannot stand in the integer part; None where it can."""
    if isinstance(layer, (Conv2D, Pad2D)) and _padding_mode(layer) != "zeros":
        return f"its padding is {_padding_mode(layer)!r}, and only zeros have a code of their own"
    if isinstance(layer, ConvTranspose2D):
        whole = pair(layer.kernel) == pair(layer.stride)
        plain = not any(layer.pads(0, 0)) and not any(pair(layer.output_padding)) and layer.groups == 1
        if not whole or not plain or pair(layer.dilation) != (1, 1):
            return "only a transposed convolution whose kernel is its stride, without padding and groups, is supported"
    if isinstance(layer, Upsample2D) and layer.mode != "nearest":
        return "only upsampling to the nearest pixel passes codes on"
    if isinstance(layer, (*PASSING, *WEIGHTED, *AVERAGING, Add)) or is_tabled(layer):
        return None
    return "there is no arithmetic of integers for it here"


def _padding_mode(layer: Conv2D | Pad2D) -> str:
    return layer.padding_mode if isinstance(layer, Conv2D) else layer.mode


def expected_arrays(node: Node) -> dict[str, tuple[type[Any], Shape]]:
    """Part → dtype and shape of the arrays that a layer holds."""
    layer = node.layer
    if isinstance(layer, WEIGHTED):
        specs = {spec.name: spec.shape for spec in layer.parameters()}
        count = layer.out_features if isinstance(layer, Linear) else layer.out_channels
        vector = (np.int32, (count,))
        return {"weights": (np.int8, specs["weights"]), "bias": vector, "multipliers": vector, "shifts": vector}
    if isinstance(layer, (Add, *AVERAGING)):
        return {"multipliers": (np.int32, (len(node.inputs),)), "shifts": (np.int32, (1,))}
    return {"table": (np.uint8, (HIGHEST + 1,))} if is_tabled(layer) else {}


def channel_rows(layer: Layer, weights: NDArray[Any]) -> NDArray[Any]:
    """The weights that make one output, a row for each output channel; of a transposed convolution, whose kernel is its
    stride, a row for each channel and place, as every output has one place of the kernel."""
    if isinstance(layer, ConvTranspose2D):
        return weights.transpose(2, 3, 1, 0).reshape(-1, weights.shape[0])
    return weights.reshape(len(weights), -1)


def repeated(layer: Layer, vector: NDArray[Any]) -> NDArray[Any]:
    """A vector of output channels, with an element for each of `channel_rows`."""
    return np.tile(vector, math.prod(pair(layer.kernel))) if isinstance(layer, ConvTranspose2D) else vector


def node_sums(node: Node, arrays: Mapping[str, NDArray[Any]]) -> Integers:
    """`largest_sums` of a layer with weights, for each of its `channel_rows`."""
    layer = node.layer
    weights, *vectors = (arrays[f"{node.name}.{part}"] for part in ("weights", "bias", "multipliers", "shifts"))
    return largest_sums(channel_rows(layer, weights), *(repeated(layer, vector) for vector in vectors))


def check_body(body: Body) -> None:
    """UserError for whatever would break the arithmetic: a layer without one, arrays that are missing, too many or of
    another shape, numbers that leave their range, sums that could leave an int32."""
    topology = body.topology
    names = [INPUT, *(node.name for node in topology.nodes)]
    _check_names("encodings", body.encodings, names)
    for name in names:
        _check_encoding(name, body.encodings[name])
    expected: dict[str, tuple[type[Any], Shape]] = {}
    for node in topology.nodes:
        why = refusal(node.layer)
        if why is not None:
            raise UserError(f"layer {node.name!r}: {layer_name(node.layer)} cannot be quantised: {why}")
        expected |= {f"{node.name}.{part}": each for part, each in expected_arrays(node).items()}
    _check_names("arrays", body.arrays, expected)
    for key, (dtype, shape) in expected.items():
        array = body.arrays[key]
        if array.dtype != dtype or array.shape != shape:
            wanted = f"{np.dtype(dtype).name} {shape}"
            raise UserError(f"{key} is {array.dtype} {array.shape}, expected {wanted}")
    clamped = [node.name for node in topology.nodes if isinstance(node.layer, CLAMPED)]
    unknown = [name for name in body.clamps if name not in clamped]
    if unknown:
        raise UserError(f"a lowest and highest code for {shown(unknown[0])}, which is no layer that has them")
    for node in topology.nodes:
        _check_node(body, node)


def _check_names(what: str, given: Mapping[str, Any], expected: Any) -> None:
    missing = [name for name in expected if name not in given]
    extra = [name for name in given if name not in expected]
    if missing:
        raise UserError(f"{what}: {listed(missing)} missing")
    if extra:
        raise UserError(f"{what}: {listed(extra)} not of this network")


def _check_encoding(name: str, encoding: Encoding) -> None:
    scale, zero = encoding.scale, encoding.zero
    if not 2.0**-100 <= scale <= 2.0**100 or float(np.float32(scale)) != scale:
        raise UserError(f"the scale of {name!r} must be a float32 from 2^-100 to 2^100, not {scale!r}")
    if zero % 2 or not LOWEST <= zero < HIGHEST:
        raise UserError(f"the zero point of {name!r} must be even, 0 to 254, not {zero}")


def _check_node(body: Body, node: Node) -> None:
    layer, clamp = node.layer, body.clamp(node.name)
    if not LOWEST <= clamp.low <= clamp.high <= HIGHEST:
        raise UserError(f"layer {node.name!r}: codes from {clamp.low} to {clamp.high}, expected some of 0 to 255")
    if isinstance(layer, PASSING):
        for name in node.inputs:
            if body.encodings[name] != body.encodings[node.name]:
                raise UserError(
                    f"layer {node.name!r} passes the codes of {name!r} on, so both need one scale and zero point"
                )
    if isinstance(layer, (*WEIGHTED, *AVERAGING, Add)):
        _check_factors(node.name, body.array(node.name, "multipliers"), body.array(node.name, "shifts"))
    if isinstance(layer, WEIGHTED):
        weights = body.array(node.name, "weights")
        if weights.size and weights.min() < -MOST_WEIGHT[8]:
            raise UserError(f"layer {node.name!r}: weights must be -127 to 127, one is {weights.min()}")
        check_sums(node.name, node_sums(node, body.arrays))
    if isinstance(layer, AVERAGING):
        count = math.prod(_window(layer, body.shapes(node)[0]))
        if count > MOST_COUNT:
            raise UserError(f"layer {node.name!r}: a mean of {count} elements, and {MOST_COUNT} are the most")
        if count << int(body.array(node.name, "shifts")[0]) >= 1 << MOST_SHIFT:
            raise UserError(f"layer {node.name!r}: its shift is too large for a mean of {count} elements")
    if isinstance(layer, Add):
        if len(node.inputs) != 2:
            raise UserError(f"layer {node.name!r}: a sum of integers has two inputs, not {len(node.inputs)}")
        factors, shift = body.array(node.name, "multipliers"), int(body.array(node.name, "shifts")[0])
        largest = HIGHEST * int(factors.sum(dtype=np.int64)) + (1 << max(shift - 1, 0))
        if largest >= 1 << 31:
            raise UserError(f"layer {node.name!r}: its sum could reach {largest}, which no int32 holds")


def _window(layer: Layer, shape: Shape) -> Shape:
    return pair(layer.kernel) if isinstance(layer, AvgPool2D) else shape[1:]


def _check_factors(name: str, multipliers: NDArray[Any], shifts: NDArray[Any]) -> None:
    if multipliers.min() < 1:
        raise UserError(f"layer {name!r}: a multiplier of {multipliers.min()}, expected one from 1 on")
    most = np.where(multipliers == 1, MOST_SHIFT_ALONE, MOST_SHIFT) if multipliers.shape == shifts.shape else MOST_SHIFT
    if ((shifts < 0) | (shifts > most)).any():
        wrong = shifts[(shifts < 0) | (shifts > most)][0]
        raise UserError(
            f"layer {name!r}: a shift of {wrong}; it may be 0 to {MOST_SHIFT}, for a multiplier of 1 to "
            f"{MOST_SHIFT_ALONE}"
        )
