"""Sums, differences, products and quotients: of two values, or of a value and a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.importing.onnx.document import Op
from engine.importing.onnx.norms import with_factors
from engine.importing.onnx.reader import Reader
from engine.importing.onnx.values import Value
from engine.layers.convolution import Conv2D, ConvTranspose2D
from engine.layers.linear import Linear
from engine.layers.product import Multiply, Scale
from engine.layers.structure import Add, Concat

Constant = NDArray[np.float32] | float


def add(reader: Reader, op: Op) -> Value:
    constant = _split(reader, op)
    if constant is not None:
        return shifted(reader, op, *constant)
    return total(reader, op, [reader.data(op, index) for index in range(len(op.inputs))])


def sub(reader: Reader, op: Op) -> Value:
    constant = _split(reader, op)
    if constant is not None:
        place, number = constant
        if place == 0:
            return shifted(reader, op, place, -number)
        source = reader.add(op, Scale(-1.0), [reader.data(op, 1)], part="negated")
        return shifted(reader, op, 1, number, reader.data(op, 1).like(source))
    first, second = reader.data(op, 0), reader.data(op, 1)
    negated = second.like(reader.add(op, Scale(-1.0), [second], part="negated"))
    return total(reader, op, [first, negated])


def total(reader: Reader, op: Op, terms: Sequence[Value]) -> Value:
    if len(terms) == 1:
        return terms[0]
    terms = reader.alike(op, terms)
    for term in terms[1:]:
        if not terms[0].same_view(term):
            raise op.refused(
                f"adds values of shapes {terms[0].shape} and {term.shape}"
                + (
                    ", whose axes or elements the engine holds in different orders"
                    if terms[0].shape == term.shape
                    else ""
                )
            )
    return terms[0].like(reader.add(op, Add(), terms))


def mul(reader: Reader, op: Op) -> Value:
    constant = _split(reader, op)
    if constant is not None:
        return scaled(reader, op, *constant)
    first, second = reader.alike(op, [reader.data(op, 0), reader.data(op, 1)])
    if first.same_view(second):
        return first.like(reader.add(op, Multiply(), [first, second]))
    larger, smaller = (first, second) if first.stored[1:] and np.prod(first.stored[1:]) > 1 else (second, first)
    whole_channels = smaller.wide in ((), (0,)) and smaller.order is None and smaller.stored[0] == larger.stored[0]
    if not whole_channels or len(larger.stored) != 3 or len(smaller.axes) != len(larger.axes):
        raise op.refused(f"multiplies values of shapes {first.shape} and {second.shape}")
    if smaller.wide and smaller.axes.index(0) != larger.axes.index(0):
        raise op.refused(
            f"multiplies values of shapes {first.shape} and {second.shape}, along other axes than the channels"
        )
    return larger.like(reader.add(op, Multiply(), [first, second]))


def div(reader: Reader, op: Op) -> Value:
    constant = _split(reader, op)
    if constant is None:
        raise op.refused("divides by what is computed, which the engine does not have")
    place, number = constant
    if place != 0:
        raise op.refused("divides a constant by what is computed, which the engine does not have")
    if np.any(np.equal(number, 0)):
        raise op.refused("divides by 0")
    return scaled(reader, op, place, 1 / number if isinstance(number, float) else np.float32(1) / number)


def neg(reader: Reader, op: Op) -> Value:
    value = reader.data(op)
    return value.like(reader.add(op, Scale(-1.0), [value]))


def concat(reader: Reader, op: Op) -> Value:
    values = reader.alike(op, [reader.data(op, index) for index in range(len(op.inputs))])
    axis, rank = op.whole("axis", 1), len(values[0].axes) + 1
    if len(values) == 1:
        return values[0]
    if not -rank <= axis < rank or axis % rank == 0 or values[0].axes[axis % rank - 1] != 0:
        raise op.refused(f"along axis {axis}, but the engine joins channels only")
    for value in values:
        if value.axes != values[0].axes or value.order is not None or len(value.stored) != len(values[0].stored):
            raise op.refused("joins values whose axes or elements the engine holds in different orders")
    source = reader.add(op, Concat(), values)
    return values[0].like(source, reader.nodes[source].shape)


def scaled(reader: Reader, op: Op, place: int, constant: Constant) -> Value:
    """Times a constant: the weights of a normalisation that lacks them, or a Scale."""
    value = reader.data(op, place)
    before = reader.changeable(op, place)
    if before is not None and not isinstance(constant, float) and constant.ndim:
        layer = with_factors(before.layer, weights=True)
        if layer is not None:
            reader.replace(before.name, layer, {"weights": constant})
            return value
    if isinstance(constant, float) or not constant.ndim:
        return value.like(reader.add(op, Scale(float(constant)), [value]))
    return value.like(reader.add(op, Scale(channels=len(constant)), [value], {"weights": constant}))


def shifted(reader: Reader, op: Op, place: int, constant: Constant, value: Value | None = None) -> Value:
    """Plus a constant: the bias of the layer before, where it can have one, or of a convolution that copies its map."""
    before = reader.changeable(op, place) if value is None else None
    value = reader.data(op, place) if value is None else value
    if not np.any(constant):
        return value
    vector = np.broadcast_to(np.asarray(constant, np.float32), value.stored[:1])
    if before is not None and isinstance(before.layer, (Conv2D, ConvTranspose2D, Linear)):
        had = reader.arrays.get(f"{before.name}.bias")
        reader.replace(before.name, replace(before.layer, bias=True), {"bias": vector if had is None else had + vector})
        return value
    if before is not None and (layer := with_factors(before.layer, weights=False)) is not None:
        reader.replace(before.name, layer, {"bias": vector})
        return value
    if len(value.stored) != 3:
        raise op.refused("adds a constant to a vector that no Linear gives, which the engine does not have")
    channels = value.stored[0]
    arrays = {"weights": np.ones((channels, 1, 1, 1), np.float32), "bias": vector}
    return value.like(reader.add(op, Conv2D(channels, channels, 1, groups=channels), [value], arrays))


def _split(reader: Reader, op: Op) -> tuple[int, Constant] | None:
    """Of two operands of which one is a constant: the place of the other, and the constant by stored channels."""
    if len(op.inputs) != 2:
        return None
    places = [index for index in (0, 1) if reader.is_constant(op, index)]
    if not places:
        return None
    place = 1 - places[0]
    constant, value = reader.floats(op, places[0], "constant"), reader.data(op, place)
    if reader.opset < 7:
        constant = _old_broadcast(op, constant, len(value.axes) + 1)
    try:
        return place, value.channels(constant)
    except UserError as error:
        raise error if str(error).startswith(str(op)) else op.refused(error) from None


def _old_broadcast(op: Op, constant: NDArray[np.float32], rank: int) -> NDArray[np.float32]:
    """Before opset 7 an attribute says from which axis on a constant is meant."""
    axis = op.whole("axis", rank - constant.ndim)
    if not op.flag("broadcast", 0) and constant.ndim != rank:
        raise op.refused(f"joins a value of {rank} axes and a constant of shape {constant.shape} without broadcast")
    if not 0 <= axis % rank <= rank - constant.ndim:
        raise op.refused(f"axis is {axis}, but there are {rank} and the constant has shape {constant.shape}")
    return constant.reshape(*constant.shape, *(1,) * (rank - constant.ndim - axis % rank))
