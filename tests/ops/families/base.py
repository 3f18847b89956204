"""Families of ops: how one declared case becomes calls of the core, with inputs and what must come out.

A family's dataclass holds the parameters of a case; `calls()` draws the inputs and asks the oracle for every output of
the forward op and of every gradient; `function()` is the same computation in float64 for the check by finite
differences.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from tests.ops.oracle import Array


@dataclass(frozen=True)
class OpCall:
    """One op on given operands, all in the core's layouts.

    An operand in both `inputs` and `expected` is updated in place. `doubtful` marks elements of an integer output
    where float32 may rightly decide otherwise. Errors are measured by the largest value of an output; `scales` gives
    the size of the terms instead where the output is only what is left after they cancel.
    """

    op: str
    geometry: dict[str, Any]
    batch: int
    inputs: dict[str, NDArray]
    expected: dict[str, NDArray]
    loss: float = 0.0
    gradient_norm: float = 0.0
    run: dict[str, Any] = field(default_factory=dict)  # other settings of the run
    seed: int = 0
    step: int = 0
    learning_rate: float = 0.0
    exact: bool = False
    doubtful: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)

    @property
    def in_place(self) -> list[tuple[str, str]]:
        """(output, input) pairs that may share memory, by the core's registry."""
        first, *rest = cnncore.OPS[self.op].operands
        names = [operand.name for operand in rest if operand.in_place and operand.name in self.inputs]
        return [(first.name, name) for name in names if self.inputs[name].size == self.expected[first.name].size]


@dataclass(frozen=True)
class Function:
    """A differentiable function in float64: gradient(diff_dst, *point) has one array for each argument."""

    forward: Callable[..., Array]
    gradient: Callable[..., tuple[Array, ...]]
    point: tuple[Array, ...]


class Family:
    """Base of all families."""

    def calls(self) -> list[OpCall]:
        raise NotImplementedError

    def function(self) -> Function | None:
        return None

    def rng(self) -> np.random.Generator:
        """Seeded by the parameters, so that a case draws the same numbers wherever it stands in the table."""
        return np.random.default_rng(zlib.crc32(repr(self).encode()))

    def normal(self, rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)


def wide(*arrays: NDArray[np.float32]) -> Iterator[Array]:
    return (array.astype(np.float64) for array in arrays)
