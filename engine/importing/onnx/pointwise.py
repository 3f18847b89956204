"""Activations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from engine import layers
from engine.errors import UserError
from engine.importing.onnx.document import Op
from engine.importing.onnx.reader import Reader
from engine.importing.onnx.values import Value
from engine.layers import Layer

FLOAT = 1  # float32, among ONNX's types
MOST = float(np.finfo(np.float32).max)


def unary(make: Callable[[Op], Layer]) -> Callable[[Reader, Op], Value]:
    """Reads an operation that is one layer, which works on every element alone."""

    def read(reader: Reader, op: Op) -> Value:
        return chain(reader, op, reader.data(op), make(op))

    return read


def chain(reader: Reader, op: Op, value: Value, *steps: Layer) -> Value:
    """Layers one after the other, the last of which has the node's name."""
    for index, layer in enumerate(steps):
        value = value.like(reader.add(op, layer, [value], part="" if index == len(steps) - 1 else f"step{index}"))
    return value


def unchanged(reader: Reader, op: Op) -> Value:
    return reader.data(op)


def cast(reader: Reader, op: Op) -> Value:
    """All that is computed is float32 already."""
    op.get("saturate")
    if op.whole("to", 0) != FLOAT:
        raise op.refused("changes the type of numbers, but the engine computes in float32")
    return reader.data(op)


def hard_sigmoid(reader: Reader, op: Op) -> Value:
    """min(max(alpha * x + beta, 0), 1): ours, with alpha = 1/6, of 6 * alpha * x, where beta is 1/2."""
    alpha, beta = op.number("alpha", 0.2), op.number("beta", 0.5)
    if beta != 0.5:
        raise op.refused(f"beta is {beta:g}, but the engine has 0.5 only")
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6):
        return chain(reader, op, reader.data(op), layers.Hardsigmoid())
    return chain(reader, op, reader.data(op), layers.Scale(6 * alpha), layers.Hardsigmoid())


def celu(reader: Reader, op: Op) -> Value:
    """alpha * ELU(x / alpha), with ELU's own alpha 1."""
    alpha = op.number("alpha", 1.0)
    if alpha == 0:
        raise op.refused("alpha is 0")
    if alpha == 1:
        return chain(reader, op, reader.data(op), layers.ELU())
    if alpha < 0:
        raise op.refused(f"alpha is {alpha:g}, expected a positive number")
    return chain(reader, op, reader.data(op), layers.Scale(1 / alpha), layers.ELU(), layers.Scale(alpha))


def selu(reader: Reader, op: Op) -> Value:
    alpha, gamma = op.number("alpha", 1.67326319217681884765625), op.number("gamma", 1.05070102214813232421875)
    return chain(reader, op, reader.data(op), layers.ELU(alpha), layers.Scale(gamma))


def gelu(op: Op) -> Layer:
    return layers.GELU(op.text("approximate", "none"))


def gated(reader: Reader, op: Op, value: Value, *gate: Layer) -> Value:
    """The value times what layers make of it."""
    other = value
    for index, layer in enumerate(gate):
        other = value.like(reader.add(op, layer, [other], part=f"gate{index}"))
    return value.like(reader.add(op, layers.Multiply(), [value, other]))


def mish(reader: Reader, op: Op) -> Value:
    return gated(reader, op, reader.data(op), layers.Softplus(), layers.Tanh())


def swish(reader: Reader, op: Op) -> Value:
    alpha, value = op.number("alpha", 1.0), reader.data(op)
    if alpha == 1:
        return chain(reader, op, value, layers.SiLU())
    return gated(reader, op, value, layers.Scale(alpha), layers.Sigmoid())


def prelu(reader: Reader, op: Op) -> Value:
    value, given = reader.data(op), reader.floats(op, 1, "slope")
    if reader.opset < 7 and given.ndim == 1:  # one for each channel
        given = given.reshape(-1, *(1,) * (len(value.axes) - 1))
    try:
        slope = value.channels(given)
    except UserError as error:
        raise op.refused(error) from None
    weights = np.atleast_1d(np.asarray(slope, np.float32))
    return value.like(reader.add(op, layers.PReLU(weights.size), [value], {"weights": weights}))


def clip(reader: Reader, op: Op) -> Value:
    """Bounds are attributes before opset 11."""
    if reader.opset < 11:
        return clipped(reader, op, op.number("min", -MOST), op.number("max", MOST))
    bounds = [reader.optional(op, index, what) for index, what in ((1, "least value"), (2, "largest value"))]
    for bound in bounds:
        if bound is not None and bound.size != 1:
            raise op.refused(f"a bound has shape {bound.shape}, expected one number")
    low, high = (None if bound is None else float(bound.reshape(-1)[0]) for bound in bounds)
    return clipped(reader, op, -MOST if low is None else low, MOST if high is None else high)


def clipped(reader: Reader, op: Op, low: float, high: float) -> Value:
    low, high = (float(str(np.float32(min(max(bound, -MOST), MOST)))) for bound in (low, high))
    value = reader.data(op)
    if (low, high) == (0, 6):
        return chain(reader, op, value, layers.ReLU6())
    if low == 0 and high >= MOST:
        return chain(reader, op, value, layers.ReLU())
    if low <= -MOST and high >= MOST:
        return value
    return chain(reader, op, value, layers.Clip(low, high))


def bound(reader: Reader, op: Op) -> Value:
    """Max or Min with a number."""
    if len(op.inputs) == 1:
        return reader.data(op)
    place = next((index for index in range(len(op.inputs)) if reader.is_constant(op, index)), None)
    if place is None or len(op.inputs) != 2:
        raise op.refused("of values that are both computed, which the engine does not have")
    number = reader.floats(op, place, "bound")
    if number.size != 1 or number.ndim > len(reader.data(op, 1 - place).axes) + 1:
        raise op.refused(f"its bound has shape {number.shape}, expected one number")
    op.inputs = (op.inputs[1 - place],)
    edge = float(number.reshape(-1)[0])
    return clipped(reader, op, *((edge, MOST) if op.kind == "Max" else (-MOST, edge)))


def softmax(reader: Reader, op: Op) -> Value:
    """Over the channels. Before opset 13 it was over all axes from `axis` on, which engines read differently."""
    value = reader.data(op)
    rank = len(value.axes) + 1
    axis = op.whole("axis", -1 if reader.opset >= 13 else 1)
    if not -rank <= axis < rank or axis % rank == 0:
        raise op.refused(f"over axis {axis}, which is not that of the channels")
    over = value.axes[axis % rank - 1]
    wide = [each for each in value.wide if each != over]
    if over != 0 or (reader.opset < 13 and wide):
        raise op.refused(f"over axis {axis} of {('N', *value.shape)}, but the engine has it over the channels")
    return chain(reader, op, value, layers.Softmax())


def dropout(reader: Reader, op: Op) -> Value:
    """Kept, so that the network can be trained on."""
    op.get("seed")
    op.get("is_test")  # before opset 7
    if reader.opset < 12:
        ratio = op.number("ratio", 0.5)
    else:
        given = reader.optional(op, 1, "ratio")
        ratio = 0.5 if given is None else float(str(np.float32(given.reshape(-1)[0]))) if given.size == 1 else -1.0
        mode = reader.optional(op, 2, "training mode")
        if mode is not None and mode.any():
            raise op.refused("is in training mode: the file is not of a network that predicts")
    value = reader.data(op)
    if ratio in (0.0, 1.0):
        return value
    return value.like(reader.add(op, layers.Dropout(ratio), [value]))
