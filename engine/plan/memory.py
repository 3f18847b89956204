"""The memory plan: which values live when, and where each lies in the one arena."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.plan.ir import ARENA, IN_PLACE, Code

ALIGNMENT = 64  # bytes, CNN_ALIGNMENT


@dataclass(frozen=True)
class Arena:
    """`offsets` maps every arena value to its first byte; `bytes` is the size at the plan's largest batch."""

    offsets: Mapping[int, int]
    bytes: int


@dataclass(frozen=True)
class Interval:
    """A block of memory and the instructions (first and last, inclusive) during which it holds something."""

    block: int
    first: int
    last: int
    bytes: int


def live_intervals(code: Code) -> dict[int, tuple[int, int]]:
    """Arena value → (first, last) index of the instructions that touch it."""
    intervals: dict[int, tuple[int, int]] = {}
    for index, instruction in enumerate(code.instructions):
        for value in instruction.operands.values():
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
        if instruction.op not in IN_PLACE:
            continue
        output, sources = IN_PLACE[instruction.op]
        target = instruction.operands[output]
        for name in sources:
            source = instruction.operands[name]
            fits = source in intervals and target in intervals and code.values[source].dtype == "float32"
            if fits and intervals[source][1] == index and intervals[target][0] == index and block[target] == target:
                block[target] = block[source]
                break
    return block


def plan_arena(code: Code, batch: int) -> Arena:
    """Assign offsets greedily, largest block first, each at the lowest place free for its whole life.

    (Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net Inference", greedy by size.)
    """
    intervals = live_intervals(code)
    block_of = share_in_place(code, intervals)
    blocks: dict[int, Interval] = {}
    for value, (first, last) in intervals.items():
        name = block_of[value]
        size = -(-code.values[value].bytes(batch) // ALIGNMENT) * ALIGNMENT
        known = blocks.get(name, Interval(name, first, last, size))
        blocks[name] = Interval(name, min(known.first, first), max(known.last, last), max(known.bytes, size))
    placed: list[tuple[int, Interval]] = []
    offsets: dict[int, int] = {}
    for block in sorted(blocks.values(), key=lambda item: (-item.bytes, item.first, item.block)):
        offset = _lowest_gap(block, placed)
        placed.append((offset, block))
        offsets[block.block] = offset
    end = max((offset + block.bytes for offset, block in placed), default=0)
    return Arena({value: offsets[name] for value, name in block_of.items()}, end)


def _lowest_gap(block: Interval, placed: list[tuple[int, Interval]]) -> int:
    """First offset at which `block` overlaps no placed block that lives at the same time."""
    taken = sorted(
        (offset, offset + other.bytes)
        for offset, other in placed
        if other.first <= block.last and block.first <= other.last
    )
    offset = 0
    for start, end in taken:
        if offset + block.bytes <= start:
            break
        offset = max(offset, end)
    return offset
