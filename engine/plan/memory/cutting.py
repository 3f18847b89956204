"""Instructions in windows, of some samples of the batch each, and what they need of their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import gcd, lcm, prod
from typing import Any

from engine.program.code import ARENA, GRADIENTS, LINE_BYTES, Code, Instruction, Value

Window = tuple[int, int]
"""The first sample, and how many there are at most."""

LAYERS = ("conv2d_forward", "winograd_forward", "linear_forward")
"""Layers that can run on some samples at a time."""

GRADIENT_OPS = tuple(
    f"{kind}_backward_{what}" for kind in ("conv2d", "winograd", "linear") for what in ("weights", "data")
)
"""... and their gradients; those by weights are added up."""

MOVABLE = ("winograd_filter_backward",)
"""What may run before its turn: it reads nothing but weights."""


def can_be_cut(code: Code, instructions: Iterable[Instruction]) -> bool:
    """Whether all that they have of each sample lies in the arena: an external begins with the first of all samples."""
    values = [code.values[value] for each in instructions for value in each.operands.values()]
    return all(value.space == ARENA and value.view is None for value in values if value.per_sample)


def waiting_for(
    code: Code, indices: Iterable[int], since: int, writers: Mapping[int, int], known: Iterable[int] = ()
) -> tuple[int, ...] | None:
    """The instructions behind `since` that these wait for, but for the values that are `known`; None where one of them
    cannot be moved."""
    found: dict[int, None] = {}
    for index in indices:
        for value in code.instructions[index].sources():
            writer = writers.get(value, -1)
            if writer <= since or value in known:
                continue
            if code.instructions[writer].op not in MOVABLE:
                return None
            found[writer] = None
    return tuple(found)


def windows_of(code: Code, instructions: Iterable[Instruction], batch: int, pieces: int) -> list[Window]:
    """The batch in so many windows, or fewer, each of which begins at a whole line of memory in all that these use."""
    values = (code.values[value] for each in instructions for value in each.operands.values())
    unit = lcm(*(LINE_BYTES // gcd(LINE_BYTES, value.bytes(1)) for value in values if value.per_sample))
    most = -(-batch // (pieces * unit)) * unit
    return [(first, min(most, batch - first)) for first in range(0, batch, most)]


def replaced(code: Code, values: Sequence[Value], new: Mapping[int, Sequence[Instruction]]) -> Code:
    """The code with other instructions in the places of some; none is none."""
    made: list[Instruction] = []
    for index, each in enumerate(code.instructions):
        made += new.get(index, [each])
    return code.changed(values=tuple(values), instructions=tuple(made))


class Cutting:
    """Makes the instructions; `values` grows with what they need."""

    def __init__(self, code: Code, windows: Sequence[Window]):
        self.values = list(code.values)
        self.windows = windows
        self._views: dict[tuple[int, Window], int] = {}

    def new(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def part(self, number: int) -> int:
        """A value for as much of a map as the largest window has."""
        return self.new(self.values[number].changed(samples=self.windows[0][1]))

    def cut(self, instruction: Instruction, window: Window) -> Instruction:
        operands = {name: self._view(value, window) for name, value in instruction.operands.items()}
        return instruction.changed(operands=operands, window=window)

    def _view(self, number: int, window: Window) -> int:
        """What a value has of the samples of a window. A part begins with them."""
        value = self.values[number]
        first, samples = window
        if not value.per_sample or value.samples == samples:
            return number
        key = number, window
        if key not in self._views:
            view = number, 0 if value.samples else first
            self._views[key] = self.new(value.changed(samples=samples, view=view))
        return self._views[key]

    def gradient(self, gradient: Instruction, window: Window) -> tuple[Instruction, list[Instruction]]:
        """A gradient in a window, and what adds to the others what it gives by weights: nothing where the window is
        empty. The first window, which never is, writes the sums themselves."""
        operands, added = dict(gradient.operands), []
        for name, number in gradient.operands.items():
            value = self.values[number]
            if value.space != GRADIENTS or window == self.windows[0]:
                continue
            operands[name] = self.new(Value(value.shape, per_sample=False))
            geometry: dict[str, Any] = {"count": prod(value.shape), "slope": 0.0}
            places = {"dst": number, "a": number, "b": operands[name]}
            added.append(Instruction("add", places, geometry, gradient.layer, window=(window[0], 1)))
        return self.cut(gradient.changed(operands=operands), window), added


def renamed(instruction: Instruction, known: Mapping[int, int]) -> Instruction:
    """The instruction with other values in the places of some."""
    return instruction.changed(operands={name: known.get(value, value) for name, value in instruction.operands.items()})
