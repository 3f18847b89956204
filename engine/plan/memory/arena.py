"""The memory plan: which values live when, where each lies in the one arena, and what a program takes altogether."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import cnncore

from engine.plan.request import TRAINING, Request
from engine.program.code import (
    ARENA,
    BUFFERS,
    CONSTANTS,
    GRADIENTS,
    IN_PLACE,
    ITEM_BYTES,
    LINE_BYTES,
    PARAMETERS,
    STATES,
    Code,
    Value,
    constants_end,
)
from engine.program.limits import MOST_ELEMENTS, check_elements
from engine.program.slots import Slot, total_floats


@dataclass(frozen=True)
class Arena:
    """`offsets` maps every arena value to its first byte at the plan's largest batch; `bytes` is the size there.

    bytes = fixed_bytes + sample_bytes * batch, at any batch.
    """

    offsets: Mapping[int, int]
    fixed_bytes: int
    sample_bytes: int
    batch: int

    @property
    def bytes(self) -> int:
        return self.fixed_bytes + self.sample_bytes * self.batch


@dataclass(frozen=True)
class Footprint:
    """Bytes of all that a program works on at its largest batch: spaces by name, and the ops' workspace, of which each
    thread has `thread_workspace` to itself. What a run is given and what it returns are not counted.
    """

    spaces: Mapping[str, int]
    workspace: int
    thread_workspace: int

    def bytes(self, threads: int = 1) -> int:
        return sum(self.spaces.values()) + self.workspace + self.thread_workspace * threads


@dataclass(frozen=True)
class Interval:
    """A block of memory and the instructions (first and last, inclusive) during which it holds something."""

    block: int
    first: int
    last: int
    bytes: int


def live_intervals(code: Code) -> dict[int, tuple[int, int]]:
    """Arena value → (first, last) index of the instructions that touch it, or a view of it."""
    intervals: dict[int, tuple[int, int]] = {}
    for index, instruction in enumerate(code.instructions):
        for value in instruction.operands.values():
            if (view := code.values[value].view) is not None:
                value = view[0]
            if code.values[value].space == ARENA:
                first, _ = intervals.get(value, (index, index))
                intervals[value] = first, index
    return intervals


def share_in_place(code: Code, intervals: Mapping[int, tuple[int, int]]) -> dict[int, int]:
    """Arena value → the block it lies in: an op that may write over a source does so where the source ends there.

    A block is named by the value that opens it.
    """
    block = {value: value for value in intervals}
    for index, instruction in enumerate(code.instructions):
        if not IN_PLACE[instruction.op]:
            continue
        target = instruction.outputs()[0]
        for name in IN_PLACE[instruction.op]:
            source = instruction.operands.get(name, -1)
            fits = source in intervals and target in intervals and _alike(code.values[source], code.values[target])
            if fits and intervals[source][1] == index and intervals[target][0] == index and block[target] == target:
                block[target] = block[source]
                break
    return block


def _alike(source: Value, target: Value) -> bool:
    """Whether both hold as many elements of one type: behind a fused max-pool the sizes differ."""
    same_size = math.prod(source.shape) == math.prod(target.shape) and source.per_sample == target.per_sample
    return source.dtype == target.dtype and same_size and source.samples == target.samples


def measure(
    code: Code, arena: Arena, request: Request, parameters: Mapping[str, Slot], buffers: Mapping[str, Slot]
) -> Footprint:
    """All the memory of a program. Spaces that it does not need are left out; ops share one workspace, the largest."""
    trainable = total_floats(parameters.values()) * ITEM_BYTES["float32"]
    statistics = total_floats(buffers.values())
    states = request.states(total_floats(parameters.values()), statistics).total if request.mode == TRAINING else 0
    spaces = {
        ARENA: arena.bytes,
        PARAMETERS: trainable,
        GRADIENTS: trainable if request.trains else 0,
        STATES: states * ITEM_BYTES["float32"],
        BUFFERS: statistics * ITEM_BYTES["float32"],
        CONSTANTS: constants_end(code),
    }
    needs = [
        cnncore.op_workspace(each.op, dict(each.geometry), each.batch(request.batch)) for each in code.instructions
    ]
    return Footprint(
        {name: size for name, size in spaces.items() if size},
        workspace=max((shared for shared, _ in needs), default=0),
        thread_workspace=-(-max((scratch for _, scratch in needs), default=0) // LINE_BYTES) * LINE_BYTES,
    )


def check_batch(code: Code, batch: int) -> None:
    """UserError where a value of so many samples is larger than an array of the core can be."""
    for value in code.values:
        if value.per_sample and (count := value.elements(batch)) > MOST_ELEMENTS:
            check_elements(f"a batch of {batch}, of samples of {math.prod(value.shape)} numbers,", count)


def plan_arena(code: Code, batch: int) -> Arena:
    """Offsets of all values: first those that do not grow with the batch, behind them the others, per sample.

    Values that grow are placed by their bytes per sample and the places multiplied by the batch, so that the arena
    grows in proportion to the batch and its layout is the same at any. A value of some of the samples takes its share.
    """
    block_of, fixed, growing = _blocks(code, batch)
    fixed_offsets, fixed_bytes = _place(fixed.values())
    sample_offsets, sample_bytes = _place(growing.values())
    offsets = fixed_offsets | {name: fixed_bytes + offset * batch for name, offset in sample_offsets.items()}
    places = {value: offsets[name] for value, name in block_of.items()}
    for number, value in enumerate(code.values):
        if value.view is not None and value.view[0] in places:
            source, first = value.view
            places[number] = places[source] + first * code.values[source].bytes(1)
    return Arena(places, fixed_bytes, sample_bytes, batch)


def least_bytes(code: Code, batch: int) -> int:
    """Bytes that no arena of the code goes below: of all that lives at the worst time. A look at it is quick."""
    _, fixed, growing = _blocks(code, batch)
    return _peak(fixed.values()) + _peak(growing.values()) * batch


def _peak(blocks: Iterable[Interval]) -> int:
    changes: dict[int, int] = {}
    for block in blocks:
        changes[block.first] = changes.get(block.first, 0) + block.bytes
        changes[block.last + 1] = changes.get(block.last + 1, 0) - block.bytes
    return max(accumulate(changes[index] for index in sorted(changes)), default=0)


def _blocks(code: Code, batch: int) -> tuple[dict[int, int], dict[int, Interval], dict[int, Interval]]:
    """Arena value → the block that it lies in, and the blocks: those that do not grow with the batch, with their bytes,
    and those that do, with their bytes per sample."""
    intervals = live_intervals(code)
    block_of = share_in_place(code, intervals)
    growing: dict[int, Interval] = {}
    fixed: dict[int, Interval] = {}
    for value, (first, last) in intervals.items():
        name, kind = block_of[value], code.values[value]
        blocks = growing if kind.per_sample else fixed
        share = -(-kind.bytes(batch) // batch) if kind.samples else kind.bytes(1)
        size = -(-share // LINE_BYTES) * LINE_BYTES
        known = blocks.get(name, Interval(name, first, last, size))
        blocks[name] = Interval(name, min(known.first, first), max(known.last, last), max(known.bytes, size))
    return block_of, fixed, growing


def _place(blocks: Iterable[Interval]) -> tuple[dict[int, int], int]:
    """Offsets, greedily: largest block first, each at the lowest place free for its whole life; and where all end.

    (Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net Inference", greedy by size.)
    """
    placed: list[tuple[int, int, int, int]] = []  # first and last byte, first and last instruction
    offsets: dict[int, int] = {}
    for block in sorted(blocks, key=lambda item: (-item.bytes, item.first, item.block)):
        offset = _lowest_gap(block, placed)
        placed.append((offset, offset + block.bytes, block.first, block.last))
        offsets[block.block] = offset
    return offsets, max((end for _, end, _, _ in placed), default=0)


def _lowest_gap(block: Interval, placed: list[tuple[int, int, int, int]]) -> int:
    """First offset at which `block` overlaps no placed block that lives at the same time."""
    begins, ends = block.first, block.last
    taken = sorted([(start, end) for start, end, first, last in placed if first <= ends and begins <= last])
    offset = 0
    for start, end in taken:
        if offset + block.bytes <= start:
            break
        offset = max(offset, end)
    return offset
