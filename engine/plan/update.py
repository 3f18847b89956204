"""The end of a training program: check the gradients, clip them, update all parameters in one op."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import cnncore

from engine.arguments import number
from engine.errors import UserError
from engine.optim import Optimizer
from engine.plan.request import AVERAGES, Request
from engine.program.code import (
    BUFFERS,
    CONSTANTS,
    GRADIENTS,
    ITEM_BYTES,
    PARAMETERS,
    STATES,
    Code,
    Instruction,
    Value,
    constants_end,
)
from engine.program.slots import Slot, padded, total_floats


@dataclass(frozen=True)
class Segment:
    """A run of parameters (elements, gaps included) with one setting: an entry of cnn_segment."""

    offset: int
    count: int
    l2: float
    weight_decay: float
    lr_scale: float = 1.0


def make_segments(
    slots: Mapping[str, Slot],
    optimizer: Optimizer,
    frozen: Collection[str] = (),
    rates: Collection[tuple[str, float]] = (),
) -> tuple[Segment, ...]:
    """Segments that cover every element once, in order; neighbours with the same settings are joined.

    Those of `frozen` layers have the rate 0, at which the core leaves them out, and so have those whose factor in
    `rates`, by key, is 0; other factors scale the optimiser's own by role.
    """
    factors = dict(rates)

    def setting(slot: Slot) -> tuple[float, float, float]:
        l2, weight_decay = optimizer.decay_of(slot.kind, slot.spec.role)
        factor = 0.0 if slot.layer in frozen else factors.get(slot.key, 1.0)
        lr_scale = factor * optimizer.rate_of(slot.kind, slot.spec.role)
        if factor and lr_scale != 1.0:  # a product that float32 makes zero of would freeze it
            number("", f"factor on the learning rate of {slot.key!r}", lr_scale, 0.0, math.inf, above=True)
        return l2, weight_decay, lr_scale

    segments: list[Segment] = []
    for common, neighbours in groupby(slots.values(), key=setting):
        run = [*neighbours]
        first, last = run[0], run[-1]
        segments.append(Segment(first.offset, last.offset + padded(last.count) - first.offset, *common))
    return tuple(segments)


def learning_range(slots: Mapping[str, Slot], frozen: Collection[str]) -> tuple[int, int]:
    """First element of the parameters that learn, and how many lie from there to the last, frozen ones between them
    included: their gradients are zeros."""
    learning = [slot for slot in slots.values() if slot.layer not in frozen]
    first = min((slot.offset for slot in learning), default=0)
    return first, total_floats(learning) - first


def check_covered(code: Code, slots: Mapping[str, Slot], frozen: Collection[str]) -> None:
    """UserError unless the code writes one gradient for every parameter of a layer that learns."""
    written = [code.values[value] for instruction in code.instructions for value in instruction.outputs()]
    counts = Counter(value.offset for value in written if value.space == GRADIENTS)
    for slot in slots.values():
        count = counts[slot.offset * ITEM_BYTES["float32"]]
        if slot.layer in frozen or count == 1:
            continue
        if count:
            raise UserError(
                f"parameter {slot.key!r} is read by {count} ops, each of which would write its gradient over that of "
                "the others: give each op a parameter of its own"
            )
        raise UserError(
            f"parameter {slot.key!r} gets no gradient: no op between the loss and the network's input reads it; see "
            f"`lower` of layer {slot.layer!r}"
        )


def check_gradients(code: Code, slots: Mapping[str, Slot], frozen: Collection[str] = ()) -> Code:
    """Stop before anything is updated when a gradient is NaN or infinite."""
    first, count = learning_range(slots, frozen)
    if count == 0:
        return code
    gradients = Value((count,), GRADIENTS, first * ITEM_BYTES["float32"], per_sample=False)
    check = Instruction("check_gradients", {"gradients": len(code.values)}, _geometry(count), "update")
    return code.changed(values=(*code.values, gradients), instructions=(*code.instructions, check))


def append_update(
    code: Code,
    slots: Mapping[str, Slot],
    buffer_slots: Mapping[str, Slot],
    request: Request,
    segments: tuple[Segment, ...],
) -> Code:
    """Add up the gradients of parts (where the request has several), clip them (where it has `max_norm`), let the
    optimiser step, and average what it leaves (where that is wished)."""
    optimizer, max_norm, frozen = request.optimizer, request.max_norm, request.frozen
    assert optimizer is not None
    count = total_floats(slots.values())
    if count == 0:
        return code
    statistics = total_floats(buffer_slots.values())
    layout = request.states(count, statistics)
    table = Value((len(segments),), CONSTANTS, constants_end(code), dtype="segment", per_sample=False)
    named = {
        "parameters": Value((count,), PARAMETERS, per_sample=False),
        **{
            name: Value((count,), STATES, place * ITEM_BYTES["float32"], per_sample=False)
            for name, place in layout.optimizer.items()
        },
        "gradients": Value((count,), GRADIENTS, per_sample=False),
        "segments": table,
    }
    first = len(code.values)
    operands = {name: first + position for position, name in enumerate(named)}
    instructions = list(code.instructions)
    if layout.sums is not None:
        named["sums"] = Value((count,), STATES, layout.sums * ITEM_BYTES["float32"], per_sample=False)
        parts = {"gradients": operands["gradients"], "sums": first + len(named) - 1}
        instructions.append(Instruction("accumulate_gradients", parts, _geometry(count), "update"))
    if max_norm is not None:
        start, learning = learning_range(slots, frozen)
        named["clipped"] = Value((learning,), GRADIENTS, start * ITEM_BYTES["float32"], per_sample=False)
        clip = {"gradients": first + len(named) - 1}
        instructions.append(Instruction("clip_gradients", clip, _geometry(learning, max_norm=max_norm), "update"))
    geometry = _geometry(count, segments=len(segments), **optimizer.settings())
    instructions.append(Instruction(optimizer.op, operands, geometry, "update"))
    if layout.average is not None and request.average is not None:
        for space, floats, place in ((PARAMETERS, count, 0), (BUFFERS, statistics, count)):
            if floats:
                at = (layout.average + place) * ITEM_BYTES["float32"]
                named[f"average of {space}"] = Value((floats,), STATES, at, per_sample=False)
                named[space] = Value((floats,), space, per_sample=False)
                both = list(named)
                pair = {"average": first + both.index(f"average of {space}"), "parameters": first + both.index(space)}
                instructions.append(Instruction(AVERAGES[request.average], pair, _geometry(floats), "update"))
    return code.changed(values=(*code.values, *named.values()), instructions=tuple(instructions))


def _geometry(count: int, **fields: Any) -> dict[str, Any]:
    return dict.fromkeys(cnncore.GEOMETRIES["optimizer"], 0) | {"count": count} | fields
