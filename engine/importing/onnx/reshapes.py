"""Operations that move elements or change the shape under which they are seen."""

from __future__ import annotations

import math

import numpy as np

from engine.importing.onnx.document import Op
from engine.importing.onnx.fold import BATCH
from engine.importing.onnx.reader import Reader
from engine.importing.onnx.values import Value, reshaped
from engine.layers.resampling import Pad2D, PadChannels, Upsample2D

MODES = {"constant": "zeros", "reflect": "reflect", "edge": "replicate"}


def flatten(reader: Reader, op: Op) -> Value:
    value = reader.data(op)
    axis, rank = op.whole("axis", 1), len(value.axes) + 1
    if axis not in (1, 1 - rank):
        raise op.refused(f"from axis {axis} on, but the engine flattens whole samples")
    return _seen_as(reader, op, value, (math.prod(value.shape),))


def reshape(reader: Reader, op: Op) -> Value:
    value = reader.data(op)
    target = list(reader.wholes(op, 1, "shape"))
    if op.flag("allowzero", 0) and 0 in target:
        raise op.refused(f"makes an empty array, of shape {tuple(target)}")
    shape = sample_shape(reader, op, value.shape, target)
    return _seen_as(reader, op, value, shape)


def sample_shape(reader: Reader, op: Op, shape: tuple[int, ...], target: list[int]) -> tuple[int, ...]:
    """What a Reshape to `target` makes of samples of a shape: the extents behind the batch; UserError where the first
    one is not the batch."""
    target = list(target)
    refusal = op.refused(f"makes shape {tuple('N' if each == BATCH else each for each in target)} of {('N', *shape)}")
    whole = (BATCH, *shape)
    for place, extent in enumerate(target):
        if extent == 0:
            if place >= len(whole):
                raise refusal
            target[place] = whole[place]
        elif extent != BATCH and extent < -1:
            raise refusal
    if not target or BATCH in target[1:] or target.count(-1) > 1:
        raise refusal
    rest, count = target[1:], math.prod(shape)
    if -1 in rest:
        known = math.prod(extent for extent in rest if extent != -1)
        if target[0] != BATCH and target[0] != reader.document.batch or known < 1 or count % known:
            raise refusal
        rest[rest.index(-1)] = count // known
    elif target[0] not in (-1, BATCH, reader.document.batch):
        raise refusal
    if math.prod(rest) != count:
        raise refusal
    return tuple(rest)


def _seen_as(reader: Reader, op: Op, value: Value, shape: tuple[int, ...]) -> Value:
    """The same elements in ONNX's order under another shape."""
    if shape == value.shape:
        return value
    seen = reshaped(value, shape)
    if seen is not None:
        return _as_vector(reader, op, seen)
    wide = [extent for extent in shape if extent > 1]
    if len(wide) == 1:  # one axis, and perhaps some of extent 1
        flat = reader.flat(op, value, part="")
        seen = reshaped(flat, shape)
        assert seen is not None
        return seen
    raise op.refused(f"makes shape {('N', *shape)} of {('N', *value.shape)}, which the engine does not have")


def _as_vector(reader: Reader, op: Op, seen: Value) -> Value:
    """A map that is seen as a vector (N, K) is one where its elements are no channels: layers go by the stored axes."""
    if len(seen.axes) == 1 and len(seen.stored) > 1 and seen.axes != (0,):
        return reader.flat(op, seen, part="")
    return seen


def transpose(reader: Reader, op: Op) -> Value:
    """Nothing is moved: the axes are remembered, and what is flattened later has its weights put in order."""
    value = reader.data(op)
    rank = len(value.axes) + 1
    order = op.wholes("perm", tuple(reversed(range(rank))))
    if sorted(order) != list(range(rank)) or order[0] != 0:
        raise op.refused(f"perm is {order}, which moves the batch")
    axes = tuple(value.axes[place - 1] for place in order[1:])
    return Value(value.source, value.stored, axes, value.order)


def squeeze(reader: Reader, op: Op) -> Value:
    value = reader.data(op)
    rank = len(value.axes) + 1
    axes = reader.wholes(op, 1, "axes") if op.has(1) else op.wholes("axes", ())
    gone = {axis % rank for axis in axes if -rank <= axis < rank}
    if not axes:
        gone = {place for place, extent in enumerate(value.shape, 1) if extent == 1}
    if 0 in gone or any(value.shape[place - 1] != 1 for place in gone) or len(gone) < len(set(axes)):
        raise op.refused(f"takes the axes {axes} of {('N', *value.shape)} away")
    shape = tuple(extent for place, extent in enumerate(value.shape, 1) if place not in gone)
    seen = reshaped(value, shape)
    assert seen is not None
    return _as_vector(reader, op, seen)


def unsqueeze(reader: Reader, op: Op) -> Value:
    value = reader.data(op)
    axes = reader.wholes(op, 1, "axes") if op.has(1) else op.wholes("axes", ())
    rank = len(value.axes) + 1 + len(axes)
    new = {axis % rank for axis in axes if -rank <= axis < rank}
    if 0 in new or len(new) != len(axes):
        raise op.refused(f"adds the axes {axes} to {('N', *value.shape)}")
    rest = iter(value.shape)
    seen = reshaped(value, tuple(1 if place in new else next(rest) for place in range(1, rank)))
    assert seen is not None
    return seen


def pad(reader: Reader, op: Op) -> Value:
    value = reader.data(op)
    mode = op.text("mode", "constant")
    if mode not in MODES:
        raise op.refused(f"mode is {mode[:40]!r}, but the engine has {', '.join(MODES)}")
    rank = len(value.axes) + 1
    if reader.opset < 11:
        numbers, constant = op.wholes("pads", ()), op.number("value", 0.0)
    else:
        numbers = reader.wholes(op, 1, "pads")
        given = reader.optional(op, 2, "value")
        constant = 0.0 if given is None else float(given.reshape(-1)[0]) if given.size == 1 else math.nan
    places = list(range(rank))
    if op.has(3):
        axes = reader.wholes(op, 3, "axes")
        if not all(-rank <= axis < rank for axis in axes):
            raise op.refused(f"pads the axes {axes} of {('N', *value.shape)}")
        places = [axis % rank for axis in axes]
    if len(numbers) != 2 * len(places) or len(set(places)) != len(places):
        raise op.refused(f"has {len(numbers)} pads, expected {2 * len(places)}")
    if min(numbers, default=0) < 0:
        raise op.refused("has negative pads, which the engine does not have")
    if mode == "constant" and constant != 0 and any(numbers):
        raise op.refused(f"pads with {constant:g}, but the engine does with 0 only")
    around = {place: (numbers[index], numbers[index + len(places)]) for index, place in enumerate(places)}
    if any(around.pop(0, ())):
        raise op.refused("pads the batch")
    stored = {value.axes[place - 1]: both for place, both in around.items() if any(both)}
    return _padded(reader, op, value, stored, mode)


def _padded(reader: Reader, op: Op, value: Value, stored: dict[int | None, tuple[int, int]], mode: str) -> Value:
    if not stored:
        return value
    if None in stored or value.order is not None:
        raise op.refused("pads an axis of extent 1 that the engine does not hold, or elements in another order")
    if 0 in stored and (mode != "constant" or len(stored) > 1):
        raise op.refused("pads channels in a way that the engine does not have")
    if 0 in stored:
        source = reader.add(op, PadChannels(*stored[0]), [value])
    else:
        layer = Pad2D((*stored.get(1, (0, 0)), *stored.get(2, (0, 0))), MODES[mode])
        source = reader.add(op, layer, [value])
    return value.like(source, reader.nodes[source].shape)


def resize(reader: Reader, op: Op) -> Value:
    """By whole factors: every pixel as a block, or linear between the centres of pixels."""
    value = reader.image(op)
    old = op.kind == "Upsample"
    mode = op.text("mode", "nearest")
    place = op.text("coordinate_transformation_mode", "asymmetric" if old or reader.opset < 11 else "half_pixel")
    nearest = op.text("nearest_mode", "floor" if old or reader.opset < 11 else "round_prefer_floor")
    further = op.flag("antialias", 0), op.flag("exclude_outside", 0)
    policy = op.text("keep_aspect_ratio_policy", "stretch")
    for name in ("cubic_coeff_a", "extrapolation_value"):
        op.get(name)
    if op.get("axes") is not None or policy != "stretch" or any(further):
        raise op.refused(
            "has axes, antialias, exclude_outside or a policy of proportions, which the engine does not have"
        )
    factors = _factors(reader, op, value, old)
    if factors == (1, 1):
        return value
    align = place == "align_corners"
    if mode == "linear" and place in ("half_pixel", "align_corners", "pytorch_half_pixel"):
        layer = Upsample2D(factors, "bilinear", align)
    elif mode == "nearest" and (place, nearest) in (
        ("asymmetric", "floor"),
        *(("half_pixel", rounding) for rounding in ("round_prefer_floor", "round_prefer_ceil")),
    ):
        layer = Upsample2D(factors)
    else:
        raise op.refused(f"mode {mode[:20]} with {place[:40]} and {nearest[:40]}, which the engine does not have")
    return value.like(source := reader.add(op, layer, [value]), reader.nodes[source].shape)


def _factors(reader: Reader, op: Op, value: Value, old: bool) -> tuple[int, int]:
    places, shape = len(value.axes) + 1, (1, *value.shape)
    index = 1 if old or reader.opset < 11 else 2
    stated = op.get("scales") if old else None  # before opset 9
    scales = np.asarray(stated, np.float32) if stated is not None else reader.optional(op, index, "scales")
    if scales is not None and scales.size:
        with np.errstate(invalid="ignore"):
            factors = [float(each) for each in np.asarray(scales, np.float64).reshape(-1)]
    elif op.has(3):
        sizes = reader.wholes(op, 3, "sizes")
        if len(sizes) != places:
            raise op.refused(f"has {len(sizes)} sizes, expected {places}")
        if sizes[0] not in (BATCH, reader.document.batch):
            raise op.refused(f"makes {sizes[0]} samples, whatever the batch")
        factors = [1.0, *(size / extent for size, extent in zip(sizes[1:], shape[1:], strict=True))]
    else:
        raise op.refused("has neither scales nor sizes")
    if len(factors) != places or any(
        factor != int(factor) or factor < 1 for factor in factors if math.isfinite(factor)
    ):
        raise op.refused(f"scales by {factors}, but the engine does by whole numbers")
    if not all(map(math.isfinite, factors)) or factors[0] != 1 or factors[1] != 1:
        raise op.refused(f"scales by {factors}, but the engine does for height and width only")
    height, width = (int(factors[2]), int(factors[3])) if places == 4 else (1, int(factors[-1]))
    return height, width
