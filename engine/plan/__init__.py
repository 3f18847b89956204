"""The planner: from a network and a request to a flat program for the C core.

`make_plan` is the pipeline, one pure function after the other: lower → fold batch normalisation (inference) → fuse
ReLU → fuse max-pool → differentiate, fuse backward and append the update (training) → choose algorithms → leave small
instructions to one worker → place values in the arena.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.layers.topology import Topology
from engine.plan import cost, estimate
from engine.plan.algorithms import Filter, apply, choose, layer_of, pass_of
from engine.plan.fuse import Fold, fold_batchnorm, fuse_backward, fuse_maxpool, fuse_relu
from engine.plan.gradients import differentiate, without_needless_positions
from engine.plan.lower import EVALUATION, GRADIENTS, INFERENCE, TRAINING, Request, absorbed_layer, lower
from engine.plan.memory import Arena, Footprint, measure, plan_arena
from engine.plan.team import is_brief, leave_alone
from engine.plan.update import Segment, append_update, check_gradients, make_segments
from engine.program.code import ARENA, Algorithm, Choices, Code, Instruction, constants_end
from engine.program.slots import Slot

__all__ = ["EVALUATION", "GRADIENTS", "INFERENCE", "TRAINING", "Algorithm", "Choices", "Plan", "Request", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """A finished plan. `print(plan)` shows it; `program_tables` is what cnncore.Program takes."""

    request: Request
    code: Code
    arena: Arena
    footprint: Footprint
    isa: str
    segments: tuple[Segment, ...]
    folds: tuple[Fold, ...]
    filters: tuple[Filter, ...]
    parameter_count: int
    absorbed: str | None

    @property
    def batch(self) -> int:
        return self.request.batch

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        return self.code.instructions

    @property
    def arena_bytes(self) -> int:
        return self.arena.bytes

    @property
    def segments_offset(self) -> int:
        """Where the table of the optimiser's segments begins in the constants, in bytes."""
        return next(value.offset for value in self.code.values if value.dtype == "segment")

    @property
    def constant_bytes(self) -> int:
        return constants_end(self.code)

    @property
    def flops(self) -> int:
        """Floating-point operations of one run at the largest batch."""
        return sum(cost.flops(instruction, self.batch) for instruction in self.instructions)

    @cached_property
    def estimates(self) -> tuple[float, ...]:
        """Modelled seconds of every instruction on one core, at the largest batch."""
        return tuple(estimate.seconds(i, self.code.values, self.batch, self.isa) for i in self.instructions)

    @property
    def direct_flops(self) -> int:
        """The same, had every convolution the direct algorithm."""
        return sum(cost.direct_flops(instruction, self.batch) for instruction in self.instructions)

    @property
    def choices(self) -> dict[str, Any]:
        """What a checkpoint stores of the plan, JSON-able: the instruction set and the algorithm of every conv."""
        algorithms: dict[str, dict[str, str]] = {}
        for instruction in self.instructions:
            direction = pass_of(instruction.op)
            if direction is not None:
                algorithms.setdefault(layer_of(instruction), {})[direction] = instruction.algorithm
        return {"isa": self.isa, "batch": self.batch, "mode": self.request.mode, "convolutions": algorithms}

    @property
    def alone(self) -> frozenset[int]:
        """Indices of the instructions that one worker runs."""
        return frozenset(index for index, instruction in enumerate(self.instructions) if instruction.alone)

    @property
    def brief(self) -> bool:
        """Whether a prediction takes hardly longer than waking the team. Training pauses too shortly for that."""
        return not self.request.trains and is_brief(sum(self.estimates))

    def program_tables(self) -> tuple[list[tuple[str, dict[str, int], dict[str, Any]]], list[tuple[str, int, int]]]:
        """Instructions and operands as cnncore.Program takes them."""
        used = sorted({value for instruction in self.instructions for value in instruction.operands.values()})
        number = {value: position for position, value in enumerate(used)}
        operands = []
        for index in used:
            value = self.code.values[index]
            offset = self.arena.offsets[index] if value.space == ARENA else value.offset
            operands.append((value.space, offset, value.bytes(self.batch)))
        instructions = [
            (i.op, {name: number[value] for name, value in i.operands.items()}, dict(i.geometry))
            for i in self.instructions
        ]
        return instructions, operands

    def __str__(self) -> str:
        from engine.plan.describe import describe

        return describe(self)


def make_plan(topology: Topology, parameters: Mapping[str, Slot], buffers: Mapping[str, Slot], request: Request,
              isa: str) -> Plan:  # fmt: skip
    """The plan of a network for a request, on the instruction set `isa`."""
    code = lower(topology, {**parameters, **buffers}, request)
    if request.frozen:
        code = without_needless_positions(code, request.frozen)
    folds: tuple[Fold, ...] = ()
    if not request.trains:
        code, folds = fold_batchnorm(code, parameters, start=0)
    code = fuse_maxpool(fuse_relu(code))
    segments: tuple[Segment, ...] = ()
    if request.trains:
        code = check_gradients(fuse_backward(differentiate(code, request.frozen)), parameters, request.frozen)
    if request.mode == TRAINING:
        assert request.optimizer is not None
        segments = make_segments(parameters, request.optimizer, request.frozen, request.rates)
        code = append_update(code, parameters, request.optimizer, request.max_norm, segments, request.frozen)
    keep_filters = not request.trains
    choices = choose(code, request.batch, isa, request.algorithm, keep_filters)
    code, filters = apply(code, choices, keep_filters, start=constants_end(code))
    code = leave_alone(code, request.batch, isa)
    absorbed = absorbed_layer(topology, request.loss)
    arena = plan_arena(code, request.batch)
    return Plan(
        request,
        code,
        arena,
        measure(code, arena, request, parameters, buffers),
        isa,
        segments,
        folds,
        filters,
        parameter_count=sum(_public_count(slot) for slot in parameters.values() if slot.layer not in request.frozen),
        absorbed=absorbed.name if absorbed else None,
    )


def _public_count(slot: Slot) -> int:
    count = 1
    for extent in slot.spec.shape:
        count *= extent
    return count
