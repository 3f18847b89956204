"""Pooling: MaxPool, AveragePool, the global ones, and means over a map."""

from __future__ import annotations

import numpy as np

from engine.errors import UserError
from engine.importing.onnx.convolutions import pads, stated_pads, two, window
from engine.importing.onnx.document import Op
from engine.importing.onnx.reader import Reader
from engine.importing.onnx.values import Value
from engine.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D, whole_by_counted
from engine.layers.resampling import Pad2D

FLATTENING = ("Flatten", "Reshape", "Squeeze")


def max_pool(reader: Reader, op: Op) -> Value:
    value = reader.image(op)
    kernel, stride, dilation = window(op, value)
    around = pads(op, value, kernel, stride, dilation)
    ceil = _ceil(op)
    op.flag("storage_order", 0)  # of the indices, which are no output here
    if dilation != (1, 1):
        raise op.refused("has dilations, which the engine's pooling does not have")
    pool = _unpadded_behind(value, kernel, stride, around, ceil, MaxPool2D)
    if pool is None:
        if ceil or any(pad >= extent for pad, extent in zip(around, (kernel[0],) * 2 + (kernel[1],) * 2, strict=True)):
            raise op.refused(f"pads (top, bottom, left, right) = {around} that the engine's pooling does not have")
        # Edges that are repeated change no maximum: every window has a pixel of the edge in it.
        source = reader.add(op, Pad2D(around, "replicate"), [value], part="padded")
        value = value.like(source, reader.nodes[source].shape)
        pool = MaxPool2D(kernel, stride)
    return value.like(source := reader.add(op, pool, [value]), reader.nodes[source].shape)


def average_pool(reader: Reader, op: Op) -> Value:
    value = reader.image(op)
    kernel, stride, dilation = window(op, value)
    around = pads(op, value, kernel, stride, dilation)
    include, ceil = op.flag("count_include_pad", 0), _ceil(op)
    if dilation != (1, 1):
        raise op.refused("has dilations, which the engine's pooling does not have")
    top, bottom, left, right = around
    pool = None
    if not any(around):
        pool = _unpadded_behind(value, kernel, stride, around, ceil, AvgPool2D, count_include_pad=include)
    elif include and (top, left) == (bottom, right) and 2 * top <= kernel[0] and 2 * left <= kernel[1]:
        pool = AvgPool2D(kernel, stride, (top, left), ceil, count_include_pad=True)
    elif include and not ceil:
        source = reader.add(op, Pad2D(around), [value], part="padded")
        value = value.like(source, reader.nodes[source].shape)
        pool = AvgPool2D(kernel, stride)
    elif not include:
        pool = _unpadded_behind(value, kernel, stride, around, ceil, AvgPool2D, count_include_pad=False)
    if pool is None:
        raise op.refused(f"pads (top, bottom, left, right) = {around} that the engine's mean does not have")
    return value.like(source := reader.add(op, pool, [value]), reader.nodes[source].shape)


def overhanging_average(reader: Reader, op: Op) -> Value:
    """Zeros round a map, means, and a factor for each place: a mean whose windows hang over the edge."""
    value = reader.image(op)
    numbers, factors = reader.wholes(op, 1, "pads"), reader.floats(op, 2, "factors")
    kernel, stride = (two(op, value, op.wholes(name, ()), 1, name) for name in ("kernel_shape", "strides"))
    op.get("count_include_pad")  # of pads that there are none of
    plain = not any(stated_pads(op, value)) and not _ceil(op) and not op.text("auto_pad", "NOTSET").startswith("SAME")
    if (
        len(numbers) == 8
        and plain
        and min(*kernel, *stride) > 0
        and two(op, value, op.wholes("dilations", ()), 1, "dilations") == (1, 1)
    ):
        top, left, bottom, right = *numbers[2:4], *numbers[6:8]
        height, width = value.stored[1:]
        wanted = (
            _places(height, kernel[0], stride[0], top, bottom, ceil=False),
            _places(width, kernel[1], stride[1], left, right, ceil=False),
        )
        fits = min(numbers) >= 0 and not any(numbers[:2] + numbers[4:6]) and factors.shape == (1, 1, *wanted)
        for include in (True, False) if fits and 2 * top <= kernel[0] and 2 * left <= kernel[1] else ():
            pool = AvgPool2D(kernel, stride, (top, left), True, include)
            shape = pool.output_shape(value.stored)
            if shape[1:] == wanted and np.allclose(factors[0, 0], whole_by_counted(pool, height, width), 1e-5):
                return value.like(reader.add(op, pool, [value]), shape)
    raise op.refused("multiplies a mean by factors that differ from place to place")


def global_average(reader: Reader, op: Op) -> Value:
    return _global_mean(reader, op, reader.image(op), keeps=True)


def global_max(reader: Reader, op: Op) -> Value:
    value = reader.image(op)
    _, height, width = value.stored
    source = reader.add(op, _made(op, MaxPool2D, (height, width)), [value])
    return value.like(source, reader.nodes[source].shape)


def reduce_mean(reader: Reader, op: Op) -> Value:
    value = reader.data(op)
    rank = len(value.axes) + 1
    axes = reader.wholes(op, 1, "axes") if op.has(1) else op.wholes("axes", ())
    keeps = op.flag("keepdims", 1)
    if not axes and op.flag("noop_with_empty_axes", 0):
        return value
    op.get("noop_with_empty_axes")
    over = sorted(axis % rank for axis in (axes or range(rank)) if -rank <= axis < rank)
    stored = [value.axes[axis - 1] for axis in over if axis > 0]
    wide = [axis for axis in value.wide if axis in stored]
    if 0 in over or len(over) != len(set(over)) or len(value.stored) != 3 or value.order is not None:
        raise op.refused(f"a mean over the axes {axes}, which the engine has over height and width of a map only")
    if set(wide) != {axis for axis in (1, 2) if value.stored[axis] > 1}:
        raise op.refused(f"a mean over the axes {axes}, which the engine has over height and width of a map only")
    return _global_mean(reader, op, value, keeps, over)


def _global_mean(reader: Reader, op: Op, value: Value, keeps: bool, over: list[int] | None = None) -> Value:
    """The mean of every channel: a vector where only vectors are made of it, otherwise a map of one pixel."""
    gone = over or list(range(2, len(value.axes) + 1))
    axes = tuple(axis for place, axis in enumerate(value.axes, 1) if place not in gone)
    if keeps:
        axes = tuple(None if place in gone else axis for place, axis in enumerate(value.axes, 1))
    readers = [each for each in reader.document.ops if op.outputs[0] in each.inputs]
    is_output = op.outputs[0] == reader.document.output
    if not keeps or (not is_output and readers and all(each.kind in FLATTENING for each in readers)):
        # A vector has none of the other axes: those that are left are of extent 1.
        kept = tuple(axis if axis == 0 else None for axis in axes)
        return Value(reader.add(op, GlobalAvgPool2D(), [value]), value.stored[:1], kept)
    _, height, width = value.stored
    source = reader.add(op, _made(op, AvgPool2D, (height, width)), [value])
    places = (0, 1, 2) if len(axes) == 3 and value.straight else axes
    return Value(source, reader.nodes[source].shape, places)


def _made(op: Op, kind: type[MaxPool2D] | type[AvgPool2D], kernel: tuple[int, int]) -> MaxPool2D | AvgPool2D:
    try:
        return kind(kernel)
    except UserError as error:
        raise op.refused(error) from None


def _ceil(op: Op) -> bool:
    return op.flag("ceil_mode", 0)


def _unpadded_behind(
    value: Value,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    around: tuple[int, int, int, int],
    ceil: bool,
    kind: type[MaxPool2D] | type[AvgPool2D],
    **further: bool,
) -> MaxPool2D | AvgPool2D | None:
    """A pool whose windows begin where they should and are as many, where the engine has one: what lies behind the map
    counts for nothing, however much of it there is."""
    top, bottom, left, right = around
    if 2 * top > kernel[0] or 2 * left > kernel[1] or min(*kernel, *stride) < 1:
        return None
    wanted = [
        _places(extent, k, s, before, behind, ceil)
        for extent, k, s, before, behind in zip(
            value.stored[1:], kernel, stride, (top, left), (bottom, right), strict=True
        )
    ]
    for mode in (False, True):
        pool = kind(kernel, stride, (top, left), mode, **further)
        try:
            if list(pool.output_shape(value.stored)[1:]) == wanted:
                return pool
        except UserError:
            return None
    return None


def _places(extent: int, kernel: int, stride: int, before: int, behind: int, ceil: bool) -> int:
    """Windows along an axis; one that would begin behind the map and its leading pads is none."""
    span = extent + before + behind - kernel
    count = (-(-span // stride) if ceil else span // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= extent + before else count
