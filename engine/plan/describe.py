"""A plan as a table for people: one line per instruction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from engine.plan import cost
from engine.program.code import ARENA, EXTERNAL, Instruction, Value

if TYPE_CHECKING:
    from engine.plan import Plan

HEADINGS = ("#", "op", "layer", "algorithm", "shapes", "bytes", "FLOPs", "ms", "share", "at")
EXTERNAL_NAMES = ("input", "targets", "output")


def describe(plan: Plan) -> str:
    """Header, table and totals. Shapes are per sample as stored (H x W x C); bytes and FLOPs are for the batch.

    ms and share are the cost model's, for one core: what the choice of algorithms rests on.
    """
    rows = [_row(plan, index, instruction) for index, instruction in enumerate(plan.instructions)]
    touched = sum(cost.bytes_touched(i, plan.code.values, plan.batch) for i in plan.instructions)
    total = (
        "",
        "total",
        "",
        "",
        "",
        quantity(touched),
        quantity(plan.flops),
        _milliseconds(sum(plan.estimates)),
        "100%",
        "",
    )
    return "\n".join([*_header(plan), "", *table([HEADINGS, *rows, total], numeric={0, 5, 6, 7, 8, 9})])


def quantity(number: float) -> str:
    """12.3 M and the like: three figures and a decimal unit."""
    for unit in ("", " k", " M", " G", " T"):
        if number < 999.5 or unit == " T":
            return f"{number:.0f}{unit}" if unit == "" or number >= 99.95 else f"{number:.3g}{unit}"
        number /= 1000
    raise AssertionError("unreachable")


def _size(count: int) -> str:
    text = quantity(count)
    return f"{text}B" if " " in text else f"{text} B"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"


def _exact(count: int) -> str:
    return f"{count:,} B"


def _header(plan: Plan) -> list[str]:
    request, footprint = plan.request, plan.footprint
    lines = [
        f"plan: {request.mode}, batch up to {plan.batch}, instruction set {plan.isa}",
        f"memory with one thread {_size(footprint.bytes())}: "
        + ", ".join(f"{name} {_size(size)}" for name, size in footprint.spaces.items())
        + f", workspace {_size(footprint.workspace)} and {_size(footprint.thread_workspace)} per thread",
        f"arena = {_exact(plan.arena.fixed_bytes)} + {_exact(plan.arena.sample_bytes)} x batch; "
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
    values = plan.code.values
    inputs = [_shape(values[value]) for value in instruction.sources() if _is_data(values[value])]
    outputs = [_shape(values[value]) for value in instruction.outputs() if _is_data(values[value])]
    return (
        str(index),
        instruction.op,
        instruction.layer,
        _variant(instruction),
        " ".join([*inputs[:2], "->", *outputs[:1]]) if outputs else " ".join(inputs[:2]),
        quantity(cost.bytes_touched(instruction, values, plan.batch)),
        quantity(cost.flops(instruction, plan.batch)),
        _milliseconds(plan.estimates[index]),
        f"{plan.estimates[index] / sum(plan.estimates):.1%}",
        _place(plan, instruction),
    )


def _variant(instruction: Instruction) -> str:
    parts = [instruction.algorithm] if instruction.algorithm else []
    parts += ["relu"] if instruction.geometry.get("activation") else []
    parts += ["maxpool"] if instruction.geometry.get("pool") else []
    parts += ["alone"] if instruction.alone else []
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


def table(rows: Sequence[tuple[str, ...]], numeric: Collection[int]) -> list[str]:
    """Lines with the columns under one another; the numeric ones are set to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
