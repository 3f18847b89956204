"""The tape of reverse mode: backward instructions, and for every value the gradients that reach it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import UserError
from engine.program.code import ARENA, GRADIENTS, OUTPUTS, PARAMETERS, SOURCES, Instruction, Value


def lost(instruction: Instruction, why: str) -> UserError:
    return UserError(
        f"op {instruction.op!r} of layer {instruction.layer!r} {why}, so what lies before it would not learn; rules of "
        "gradients stand in engine/plan/gradients.py"
    )


@dataclass
class Tape:
    """What the rules write to: backward instructions, and for every value the gradients that reach it."""

    values: list[Value]
    dependent: frozenset[int]
    frozen: frozenset[str] = frozenset()
    instructions: list[Instruction] = field(default_factory=list)
    contributions: dict[int, list[int]] = field(default_factory=dict)
    given: Counter[int] = field(default_factory=Counter)  # gradients of each parameter
    layer: str = ""

    def go_back(self, forward: Instruction, reached: list[int], rules: Mapping[str, Rule]) -> None:
        """Emit the backward ops of an instruction, of which the gradient has reached these outputs."""
        rule = rules.get(forward.op)
        if rule is None:
            raise lost(forward, "has no rule for its gradient (RULES)")
        name = OUTPUTS[forward.op][0]
        dst = forward.operands[name]
        if reached != [dst]:
            raise lost(forward, f"has a rule for the gradient of {name!r} alone, but {len(reached)} outputs are read")
        sources, dependent, values = SOURCES[forward.op], self.dependent, self.values
        needed = [
            (name, value, self._arrived(value))
            for name, value in forward.operands.items()
            if value in dependent and name in sources and values[value].space in (ARENA, PARAMETERS)
        ]
        self.layer = forward.layer
        rule(self, forward, self.gradient(dst))
        for name, value, before in needed:
            if self._arrived(value) == before:
                raise lost(forward, f"has a rule that gives no gradient to {name!r}")

    def _arrived(self, value: int) -> int:
        """How many gradients there are of a value."""
        parameter = self.values[value].space == PARAMETERS
        return self.given[value] if parameter else len(self.contributions.get(value, ()))

    def emit(self, op: str, geometry: Mapping[str, Any], **operands: int) -> None:
        self.instructions.append(Instruction(op, operands, dict(geometry), self.layer))

    def new_like(self, value: int, shape: tuple[int, ...] | None = None) -> int:
        """A new arena value with the extents of `value` (or `shape`)."""
        self.values.append(Value(shape or self.values[value].shape))
        return len(self.values) - 1

    def gradient_of_parameter(self, value: int) -> int:
        self.given[value] += 1
        self.values.append(self.values[value].changed(space=GRADIENTS))
        return len(self.values) - 1

    def contribute(self, value: int, diff: int) -> None:
        if value in self.dependent:
            self.contributions.setdefault(value, []).append(diff)

    def gradient(self, value: int) -> int:
        """The sum of all contributions to the gradient of `value`; computed once."""
        terms = self.contributions[value]
        total = terms[0]
        for term in terms[1:]:
            summed = self.new_like(total)
            count = count_of(self.values[total])
            self.emit("add", {"count": count, "slope": 0.0}, dst=summed, a=total, b=term)
            total = summed
        self.contributions[value] = [total]
        return total

    def back(self, source: int) -> int | None:
        """A new value for the gradient of `source`, or None where no parameter lies before it."""
        if source not in self.dependent:
            return None
        diff = self.new_like(source)
        self.contribute(source, diff)
        return diff


Rule = Callable[[Tape, Instruction, int], None]
"""Emits the backward ops of an instruction, given the gradient of its result."""


def owner(instruction: Instruction) -> str:
    """The layer whose parameters an instruction reads: the first of those fused into it."""
    return instruction.layer.split("+")[0]


def count_of(value: Value) -> int:
    return math.prod(value.shape)
