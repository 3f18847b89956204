"""What a value of an ONNX graph is in the engine: the output of a layer, seen in the order of its axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.program.shapes import Shape

Order = NDArray[np.int64]


@dataclass(frozen=True)
class Value:
    """The output `source` of a layer, of shape `stored`.

    axes    for each axis of a sample in ONNX which axis of `stored` it is, None for one of extent 1 that `stored` does
            not have. A Transpose changes nothing but these: (1, 2, 0) is a map whose channels stand last
    order   of a vector whose elements ONNX has in another order: its element i is stored at order[i]
    """

    source: str
    stored: Shape
    axes: tuple[int | None, ...]
    order: Order | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a sample in ONNX."""
        return tuple(1 if axis is None else self.stored[axis] for axis in self.axes)

    @property
    def wide(self) -> tuple[int, ...]:
        """The stored axes of more than one element, in the order in which ONNX has them."""
        return tuple(axis for axis in self.axes if axis is not None and self.stored[axis] > 1)

    @property
    def straight(self) -> bool:
        """Whether the elements lie in ONNX's order, whatever the axes of extent 1."""
        return self.order is None and list(self.wide) == sorted(self.wide)

    def like(self, source: str, stored: Shape | None = None) -> Value:
        """What a layer gives that keeps the order of axes."""
        return Value(source, self.stored if stored is None else stored, self.axes, self.order)

    def same_view(self, other: Value) -> bool:
        """Whether both are seen in the same way."""
        if self.stored != other.stored or self.wide != other.wide or self.shape != other.shape:
            return False
        if self.order is None or other.order is None:
            return self.order is other.order
        return np.array_equal(self.order, other.order)

    def indices(self) -> Order:
        """Where ONNX's elements lie in the flattened stored array."""
        if self.order is not None:
            return self.order
        stored = np.arange(math.prod(self.stored)).reshape(self.stored)
        kept = [axis for axis in self.axes if axis is not None]
        rest = [axis for axis in range(len(self.stored)) if axis not in kept]  # of extent 1
        return stored.transpose(*kept, *rest).reshape(-1)

    def channels(self, constant: NDArray[np.floating]) -> NDArray[np.float32] | float:
        """A constant that is broadcast against the value: one number, or one for each stored channel.

        UserError for one that differs along other axes.
        """
        if constant.size == 1:
            if constant.ndim > len(self.axes) + 1:
                raise UserError(f"a constant of shape {constant.shape} has more axes than what it is joined with")
            return float(constant.reshape(-1)[0])
        shape = (1,) * (len(self.axes) + 1 - constant.ndim) + constant.shape
        if len(shape) != len(self.axes) + 1 or shape[0] != 1:
            raise UserError(f"a constant of shape {constant.shape} differs from sample to sample")
        for extent, axis, here in zip(shape[1:], self.axes, self.shape, strict=True):
            if extent not in (1, here):
                raise UserError(f"a constant of shape {constant.shape} does not fit a value of shape {self.shape}")
            if extent > 1 and axis != 0:
                raise UserError(f"a constant of shape {constant.shape} differs along other axes than the channels")
        return self.by_channel(constant.reshape(-1))

    def by_channel(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """One number for each channel, from ONNX's order into the stored one."""
        stored = np.asarray(values, np.float32)
        if self.order is None:
            return stored
        result = np.empty_like(stored)
        result[self.order] = stored
        return result


def view_of(shape: Sequence[int]) -> tuple[Shape, tuple[int | None, ...]]:
    """How the engine holds a sample of ONNX's shape: stored shape and axes. A sequence of vectors (C, L) is a map
    (C, 1, L); UserError for more than three axes."""
    if len(shape) == 3:
        return tuple(shape), (0, 1, 2)
    if len(shape) == 2:
        return (shape[0], 1, shape[1]), (0, 2)
    if len(shape) < 2:
        return (tuple(shape) or (1,)), tuple(range(len(shape)))
    raise UserError(f"samples have shape {tuple(shape)}, but the engine has maps (C, H, W) and vectors")


def reshaped(value: Value, shape: Sequence[int]) -> Value | None:
    """The same elements under another shape of ONNX, where that only adds, drops or moves axes of extent 1."""
    if [extent for extent in value.shape if extent > 1] != [extent for extent in shape if extent > 1]:
        return None
    wide = iter(value.wide)
    axes = tuple(next(wide) if extent > 1 else None for extent in shape)
    return Value(value.source, value.stored, _with_ones(value.stored, axes), value.order)


def _with_ones(stored: Shape, axes: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Axes of extent 1 that stand where the stored array has one too are that one: a map stays a map."""
    if len(stored) != len(axes):
        return axes
    return tuple(
        place if axis is None and stored[place] == 1 and place not in axes else axis for place, axis in enumerate(axes)
    )
