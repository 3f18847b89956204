"""A finished plan: what it holds, and how it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cnncore
from numpy.typing import NDArray

from engine.plan.algorithms import Filter, layer_of, pass_of
from engine.plan.cost import counts, estimate
from engine.plan.fuse import Fold
from engine.plan.lower import check_sizes
from engine.plan.memory.arena import Arena, Footprint
from engine.plan.request import Request
from engine.plan.table import byte_size, exact, milliseconds, preformatted, quantity, table
from engine.plan.team import is_brief, most_workers
from engine.plan.update import Segment
from engine.program.code import ACTIVATION_NAMES, ARENA, EXTERNAL, Code, Instruction, Value, constants_end


@dataclass(frozen=True)
class Plan:
    """A finished plan. `print(plan)` shows it; `program` makes what runs it."""

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
        return sum(counts.flops(each, each.batch(self.batch)) for each in self.instructions)

    @cached_property
    def estimates(self) -> tuple[float, ...]:
        """Modelled seconds of every instruction on one core, at the largest batch."""
        values, batch = self.code.values, self.batch
        return tuple(estimate.seconds(i, values, i.batch(batch), self.isa) for i in self.instructions)

    @property
    def step_estimate(self) -> float:
        """Modelled seconds of a training step on one core: every part of the batch, and one update."""
        pairs = zip(self.instructions, self.estimates, strict=True)
        update = sum(seconds for each, seconds in pairs if each.op in estimate.UPDATES)
        return self.request.parts * (sum(self.estimates) - update) + update

    @property
    def direct_flops(self) -> int:
        """The same, had every convolution the direct algorithm."""
        return sum(counts.direct_flops(each, each.batch(self.batch)) for each in self.instructions)

    @property
    def choices(self) -> dict[str, Any]:
        """What a checkpoint stores of the plan, JSON-able: the instruction set and the algorithm of every conv."""
        algorithms: dict[str, dict[str, str]] = {}
        for instruction in self.instructions:
            direction = pass_of(instruction.op)
            if direction is not None:
                algorithms.setdefault(layer_of(instruction), {})[direction] = instruction.algorithm
        return {"isa": self.isa, "batch": self.batch, "mode": self.request.mode, "convolutions": algorithms}

    @cached_property
    def handover(self) -> int | None:
        """The instruction before which NumPy computes the loss; None where the core does."""
        return self.code.handover

    @property
    def alone(self) -> frozenset[int]:
        """Indices of the instructions that one worker runs."""
        return frozenset(index for index, instruction in enumerate(self.instructions) if instruction.alone)

    @property
    def brief(self) -> bool:
        """Whether a prediction takes hardly longer than waking the team. Training pauses too shortly for that."""
        return not self.request.trains and is_brief(sum(self.estimates))

    @property
    def most_workers(self) -> int:
        """Workers beyond which a run gets no faster."""
        return most_workers(self.estimates, [instruction.alone for instruction in self.instructions])

    def program(self, spaces: Mapping[str, NDArray[Any]]) -> cnncore.Program:
        """The program of the plan on these spaces, of which it leaves out those without elements. UserError where a
        layer has got a size wrong, in words of the network."""
        instructions, operands = self._tables()
        used = {space: array for space, array in spaces.items() if array.size}
        try:
            return cnncore.Program(
                instructions,
                operands,
                self.batch,
                self.arena_bytes,
                used,
                self.alone,
                self.brief,
                self.most_workers,
                exact=True,
                windows={i: each.window for i, each in enumerate(self.instructions) if each.window is not None},
            )
        except (ValueError, cnncore.CoreError):
            check_sizes(self.code, self.batch)
            raise

    def _tables(self) -> tuple[list[tuple[str, dict[str, int], dict[str, Any]]], list[tuple[str, int, int]]]:
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
        return describe(self)

    def __repr__(self) -> str:
        memory = byte_size(self.footprint.bytes())
        return f"Plan({self.request.mode}, batch up to {self.batch}, {len(self.instructions)} instructions, {memory})"

    def _repr_html_(self) -> str:
        return preformatted(repr(self), "", *_header(self), "", "every instruction: print(plan)")


HEADINGS = ("#", "op", "layer", "algorithm", "shapes", "bytes", "FLOPs", "ms", "share", "at")
EXTERNAL_NAMES = ("input", "targets", "output", "scores", "gradient")


def describe(plan: Plan) -> str:
    """Header, table and totals. Shapes are per sample as stored (H x W x C); bytes and FLOPs are for the batch.

    ms and share are the cost model's, for one core: what the choice of algorithms rests on.
    """
    rows = [_row(plan, index, instruction) for index, instruction in enumerate(plan.instructions)]
    touched = sum(counts.bytes_touched(i, plan.code.values, i.batch(plan.batch)) for i in plan.instructions)
    total = (
        "",
        "total",
        "",
        "",
        "",
        quantity(touched),
        quantity(plan.flops),
        milliseconds(sum(plan.estimates)),
        "100%",
        "",
    )
    return "\n".join([*_header(plan), "", *table([HEADINGS, *rows, total], numeric={0, 5, 6, 7, 8, 9})])


def _header(plan: Plan) -> list[str]:
    request, footprint = plan.request, plan.footprint
    lines = [
        f"plan: {request.mode}, batch up to {plan.batch}, instruction set {plan.isa}",
        f"memory with one thread {byte_size(footprint.bytes())}: "
        + ", ".join(f"{name} {byte_size(size)}" for name, size in footprint.spaces.items())
        + f", workspace {byte_size(footprint.workspace)} and {byte_size(footprint.thread_workspace)} per thread",
        f"arena = {exact(plan.arena.fixed_bytes)} + {exact(plan.arena.sample_bytes)} x batch; "
        f"{plan.parameter_count:,} trainable parameters",
    ]
    if request.loss is not None:
        taken = f", computed from the input of layer {plan.absorbed!r} (the logits)" if plan.absorbed else ""
        lines.append(f"loss: {request.loss}{taken}")
    if request.optimizer is not None:
        clipped = f", gradient norm at most {request.max_norm}" if request.max_norm is not None else ""
        lines.append(f"optimizer: {request.optimizer}{clipped}")
    if request.frozen:
        lines.append("frozen: " + ", ".join(request.frozen))
    if request.rates:
        lines.append("learning rates: " + ", ".join(f"{key} x {factor:g}" for key, factor in request.rates))
    if plan.folds:
        lines.append("batch normalisation folded into weights: " + ", ".join(fold.norm for fold in plan.folds))
    return lines


def _row(plan: Plan, index: int, instruction: Instruction) -> tuple[str, ...]:
    values, batch = plan.code.values, instruction.batch(plan.batch)
    inputs = [_shape(values[value]) for value in instruction.sources() if _is_data(values[value])]
    outputs = [_shape(values[value]) for value in instruction.outputs() if _is_data(values[value])]
    return (
        str(index),
        instruction.op,
        instruction.layer,
        _variant(instruction),
        " ".join([*inputs[:2], "->", *outputs[:1]]) if outputs else " ".join(inputs[:2]),
        quantity(counts.bytes_touched(instruction, values, batch)),
        quantity(counts.flops(instruction, batch)),
        milliseconds(plan.estimates[index]),
        f"{plan.estimates[index] / sum(plan.estimates):.1%}",
        _place(plan, instruction),
    )


def _variant(instruction: Instruction) -> str:
    parts = [instruction.algorithm] if instruction.algorithm else []
    parts += [ACTIVATION_NAMES[number]] if (number := instruction.geometry.get("activation")) else []
    parts += ["maxpool"] if instruction.geometry.get("pool") else []
    parts += ["alone"] if instruction.alone else []
    if instruction.window is not None:
        parts.append(f"from {instruction.window[0]}")
    return "+".join(parts)


def _is_data(value: Value) -> bool:
    return value.space in (ARENA, EXTERNAL) and value.dtype == "float32" and value.per_sample


def _shape(value: Value) -> str:
    return "x".join(map(str, value.shape)) or "1"


def _place(plan: Plan, instruction: Instruction) -> str:
    """Where the first output lies: an arena offset in bytes, or the name of the space."""
    outputs = instruction.outputs()
    if not outputs:
        return ""
    value = plan.code.values[outputs[0]]
    if value.space == ARENA:
        return f"{plan.arena.offsets[outputs[0]]:#x}"
    return EXTERNAL_NAMES[value.offset] if value.space == EXTERNAL else value.space
