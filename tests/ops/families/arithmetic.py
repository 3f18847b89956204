"""Factors, sums and products of maps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.ops.families.base import Family, OpCall, wide


@dataclass(frozen=True)
class Scale(Family):
    """Times one number, and times one for each channel."""

    batch: int
    rows: int
    c: int
    factor: float = 1.0

    def draw(self) -> tuple[NDArray, NDArray, NDArray]:
        """src, weights, diff_dst"""
        rng = self.rng()
        shape = self.batch, self.rows, self.c
        return self.normal(rng, *shape), self.normal(rng, self.c), self.normal(rng, *shape)

    def calls(self) -> list[OpCall]:
        values = self.draw()
        src, weights, diff_dst = wide(*values)
        geometry = {"rows": self.rows, "c": self.c}
        elements = {"count": self.rows * self.c, "slope": self.factor}
        return [
            OpCall("scale", elements, self.batch, {"src": values[0]}, {"dst": src * np.float32(self.factor)}),
            OpCall(
                "scale_channels", geometry, self.batch, {"src": values[0], "weights": values[1]}, {"dst": src * weights}
            ),
            OpCall(
                "scale_channels_backward_weights", geometry, self.batch, {"src": values[0], "diff_dst": values[2]},
                {"diff_weights": (diff_dst * src).sum(axis=(0, 1))},
            ),
        ]  # fmt: skip


@dataclass(frozen=True)
class Shift(Family):
    """Plus one number for each channel. `offset` moves the mean of the gradient away from zero."""

    batch: int
    rows: int
    c: int
    offset: float = 0.0

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        src, diff_dst = (self.normal(rng, self.batch, self.rows, self.c) + np.float32(self.offset) for _ in range(2))
        bias = self.normal(rng, self.c)
        exact, terms, gradient = wide(src, bias, diff_dst)
        geometry = {"rows": self.rows, "c": self.c}
        return [
            OpCall("add_channels", geometry, self.batch, {"src": src, "bias": bias}, {"dst": exact + terms}),
            OpCall(
                "add_channels_backward", geometry, self.batch, {"diff_dst": diff_dst},
                {"diff_bias": gradient.sum(axis=(0, 1))},
            ),
        ]  # fmt: skip


@dataclass(frozen=True)
class Multiply(Family):
    """Every row of a times the vector of its sample; with one row, two maps."""

    batch: int
    rows: int
    c: int

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        values = [self.normal(rng, self.batch, rows, self.c) for rows in (self.rows, 1, self.rows)]
        a, b, diff_dst = wide(*values)
        geometry = {"rows": self.rows, "c": self.c}
        return [
            OpCall("multiply", geometry, self.batch, {"a": values[0], "b": values[1]}, {"dst": a * b}),
            OpCall(
                "multiply_backward", geometry, self.batch, {"a": values[0], "diff_dst": values[2]},
                {"diff_b": (diff_dst * a).sum(axis=1, keepdims=True)},
            ),
        ]  # fmt: skip


@dataclass(frozen=True)
class Add(Family):
    batch: int
    count: int

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        a, b = self.normal(rng, self.batch, self.count), self.normal(rng, self.batch, self.count)
        geometry = {"count": self.count, "slope": 0.0}
        total, mask = a.astype(np.float64) + b, np.maximum(self.normal(rng, self.batch, self.count), -0.5)
        masked = np.where(mask > 0, total, 0.0)
        return [
            OpCall("add", geometry, self.batch, {"a": a, "b": b}, {"dst": total}),
            OpCall("add", geometry, self.batch, {"a": a, "b": b, "mask": mask}, {"dst": masked}),
        ]
