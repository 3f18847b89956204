"""Normalisations: of a batch, of a sample, of groups of its channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.importing.onnx.document import Op
from engine.importing.onnx.reader import Reader
from engine.importing.onnx.reshapes import sample_shape
from engine.importing.onnx.values import Value
from engine.layers.normalization import BatchNorm, GroupNorm, InstanceNorm, LayerNorm

Vector = NDArray[np.float32]


def batch_norm(reader: Reader, op: Op) -> Value:
    """Kept as it is, so that it can be trained on; ONNX's momentum is the weight of the old statistics."""
    value = reader.data(op)
    eps, momentum = op.number("epsilon", 1e-5), op.number("momentum", 0.9)
    training, spatial = op.flag("training_mode", 0), op.flag("spatial", 1)
    if reader.opset < 7:
        op.get("consumed_inputs")
        training = not op.flag("is_test", 0)
    if training or any(op.outputs[1:]):
        raise op.refused("is in training mode: the file is not of a network that predicts")
    if not spatial:
        raise op.refused("spatial is 0: statistics for every place, which the engine does not have")
    if not value.axes or value.axes[0] != 0:
        raise op.refused(f"normalises axis 1 of {('N', *value.shape)}, which is not that of the channels")
    names = "weights", "bias", "running_mean", "running_var"
    arrays = {name: _vector(reader, op, value, index, name) for index, name in enumerate(names, 1)}
    if (arrays["running_var"] < 0).any():
        raise op.refused("has a negative running variance")
    layer = BatchNorm(value.stored[0], eps, float(f"{min(max(1 - momentum, 0.0), 1.0):.6g}"))
    return value.like(reader.add(op, layer, [value], arrays))


def instance_norm(reader: Reader, op: Op) -> Value:
    value = reader.image(op)
    arrays = {name: _vector(reader, op, value, index, name) for index, name in ((1, "weights"), (2, "bias"))}
    layer = InstanceNorm(value.stored[0], op.number("epsilon", 1e-5))
    return value.like(reader.add(op, layer, [value], arrays))


def group_norm(reader: Reader, op: Op) -> Value:
    """Until opset 20 with a factor for each group, from 21 on for each channel."""
    value = reader.data(op)
    if len(value.stored) == 3:
        value = reader.image(op)
    groups, channels = op.whole("num_groups", 0), value.stored[0]
    if groups < 1 or channels % groups:
        raise op.refused(f"num_groups is {groups}, but its input has {channels} channels")
    if op.whole("stash_type", 1) != 1:
        raise op.refused("stash_type is not float32")
    eps = op.number("epsilon", 1e-5)
    factors = [reader.floats(op, index, what).reshape(-1) for index, what in ((1, "scale"), (2, "bias"))]
    expected = channels if reader.opset >= 21 else groups
    if any(len(factor) != expected for factor in factors):
        raise op.refused(
            f"its scale and bias have {len(factors[0])} and {len(factors[1])} numbers, expected {expected}"
        )
    weights, bias = (value.by_channel(np.repeat(factor, channels // len(factor))) for factor in factors)
    return _grouped(reader, op, value, groups, eps, {"weights": weights, "bias": bias})


def grouped_instances(reader: Reader, op: Op) -> Value:
    """A Reshape to groups, an InstanceNormalization, and a Reshape back: as many exporters write a GroupNorm."""
    value = reader.data(op)
    if len(value.stored) == 3:
        value = reader.image(op) if len(value.axes) > 1 else reader.flat(op, value)
    factors = [reader.floats(op, index, what).reshape(-1) for index, what in ((3, "scale"), (4, "bias"))]
    eps, groups, channels = op.number("epsilon", 1e-5), len(factors[0]), value.stored[0]
    if op.flag("allowzero", 0):
        raise op.refused("allowzero is set, which the engine does not have round groups")
    inner = sample_shape(reader, op, value.shape, list(reader.wholes(op, 1, "shape of the groups")))
    outer = sample_shape(reader, op, inner, list(reader.wholes(op, 2, "shape")))
    fits = len(inner) > 1 and inner[0] == groups and channels % groups == 0 and value.order is None
    if not fits or len(factors[1]) != groups:
        raise op.refused(f"normalises groups of shape {('N', *inner)}, which are no groups of neighbouring channels")
    if outer != value.shape:
        raise op.refused(f"gives groups another shape, {('N', *outer)}, than they had")
    arrays = {}
    if (factors[0] != 1).any():
        arrays["weights"] = np.repeat(factors[0], channels // groups)
    if (factors[1] != 0).any():
        arrays["bias"] = np.repeat(factors[1], channels // groups)
    return _grouped(reader, op, value, groups, eps, arrays)


def layer_norm(reader: Reader, op: Op) -> Value:
    """Over a whole vector, with a factor for each element; of a map with equal factors within a channel."""
    value, rank = reader.data(op), 0
    rank = len(value.axes) + 1
    axis, eps = op.whole("axis", -1), op.number("epsilon", 1e-5)
    if op.whole("stash_type", 1) != 1:
        raise op.refused("stash_type is not float32")
    if axis % rank != 1 or not -rank <= axis < rank:
        raise op.refused(f"over the axes from {axis} on, but the engine normalises whole samples")
    scale, bias = reader.floats(op, 1, "scale"), reader.floats(op, 2, "bias") if op.has(2) else None
    arrays = {}
    for name, array in (("weights", scale), ("bias", bias)):
        if array is None:
            continue
        if array.shape not in (value.shape, (1,), ()):
            raise op.refused(f"has factors of shape {array.shape}, expected {value.shape}")
        full = np.broadcast_to(array, value.shape)
        rows = full.reshape(len(full), -1)
        per_channel = rows[:, 0]
        if (rows != per_channel[:, None]).any() or value.axes[0] != 0:
            raise op.refused("has factors that differ within a channel, which the engine does not have")
        arrays[name] = value.by_channel(per_channel)
    layer = LayerNorm(value.stored[0], eps, True, bias is not None)
    return value.like(reader.add(op, layer, [value], arrays))


def _grouped(reader: Reader, op: Op, value: Value, groups: int, eps: float, arrays: dict[str, Vector]) -> Value:
    """One group is a LayerNorm, as many as channels an InstanceNorm."""
    channels, scale, shift = value.stored[0], "weights" in arrays, "bias" in arrays
    if value.order is not None and groups > 1:
        raise op.refused("normalises groups of elements that the engine holds in another order")
    try:
        layer: LayerNorm | GroupNorm = GroupNorm(groups, channels, eps, scale, shift)
        if groups == 1:
            layer = LayerNorm(channels, eps, scale, shift)
    except UserError as error:
        raise op.refused(error) from None
    return value.like(reader.add(op, layer, [value], arrays))


def with_factors(layer: object, weights: bool) -> LayerNorm | GroupNorm | BatchNorm | None:
    """The same normalisation with weights, or with a bias, where it lacks them and what comes behind it can be them."""
    if isinstance(layer, (GroupNorm, LayerNorm)):
        fields = layer.arguments()
        if not fields["shift"] and not (weights and fields["scale"]):
            return type(layer)(**{**fields, "scale" if weights else "shift": True})
    return None


def _vector(reader: Reader, op: Op, value: Value, index: int, what: str) -> Vector:
    array = reader.floats(op, index, what)
    if array.shape != (value.stored[0],):
        raise op.refused(f"its {what} has shape {array.shape}, expected ({value.stored[0]},)")
    return value.by_channel(array)


__all__ = [
    "InstanceNorm",
    "batch_norm",
    "group_norm",
    "grouped_instances",
    "instance_norm",
    "layer_norm",
    "with_factors",
]
