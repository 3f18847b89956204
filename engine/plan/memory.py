"""The memory plan: which values live when, where each lies in the one arena, and what a program takes altogether; and
how much memory there is: that of the machine, or less where a control group or a limit of the process says so.
"""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cnncore

from engine.errors import UserError
from engine.plan.request import TRAINING, Request
from engine.plan.table import byte_size
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
        if not IN_PLACE[instruction.op]:
            continue
        target = instruction.outputs()[0]
        for name in IN_PLACE[instruction.op]:
            source = instruction.operands[name]
            fits = source in intervals and target in intervals and _alike(code.values[source], code.values[target])
            if fits and intervals[source][1] == index and intervals[target][0] == index and block[target] == target:
                block[target] = block[source]
                break
    return block


def _alike(source: Value, target: Value) -> bool:
    """Whether both hold as many elements of float32: behind a fused max-pool the sizes differ."""
    same_size = math.prod(source.shape) == math.prod(target.shape) and source.per_sample == target.per_sample
    return source.dtype == target.dtype == "float32" and same_size


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
    needs = [cnncore.op_workspace(each.op, dict(each.geometry), request.batch) for each in code.instructions]
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
    grows in proportion to the batch and its layout is the same at any.
    """
    intervals = live_intervals(code)
    block_of = share_in_place(code, intervals)
    growing: dict[int, Interval] = {}
    fixed: dict[int, Interval] = {}
    for value, (first, last) in intervals.items():
        name, kind = block_of[value], code.values[value]
        blocks = growing if kind.per_sample else fixed
        size = -(-kind.bytes(1) // LINE_BYTES) * LINE_BYTES
        known = blocks.get(name, Interval(name, first, last, size))
        blocks[name] = Interval(name, min(known.first, first), max(known.last, last), max(known.bytes, size))
    fixed_offsets, fixed_bytes = _place(fixed.values())
    sample_offsets, sample_bytes = _place(growing.values())
    offsets = fixed_offsets | {name: fixed_bytes + offset * batch for name, offset in sample_offsets.items()}
    return Arena({value: offsets[name] for value, name in block_of.items()}, fixed_bytes, sample_bytes, batch)


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


# ---- how much there is ----


def memory_limit() -> int:
    """Bytes that this process can have at most, whatever of them others use now."""
    return min([_machine_limit(), *_own_limits()])


def require_memory(what: str, need: int, advice: str) -> None:
    """UserError, before anything is allocated, where something needs more bytes than this process can have."""
    limit = memory_limit()
    if need > limit:
        raise UserError(
            f"{what} needs {byte_size(need)} of memory, but this process can have {byte_size(limit)}: {advice}"
        )


@cache  # reading the groups takes a millisecond
def _machine_limit() -> int:
    return min([_physical(), *_group_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # a system that does not tell
        return sys.maxsize


def _own_limits() -> Iterator[int]:
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield soft


def _group_limits(proc: Path, groups: Path) -> Iterator[int]:
    """The limits of the control groups that the process is in, and of those around them; of version 1 or 2."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:  # not Linux, or not mounted
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if not controllers:
            root, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = root / place.lstrip("/")
        for each in (folder, *folder.parents):
            if each != root and root not in each.parents:
                break
            try:
                text = (each / name).read_text().strip()
            except OSError:  # outside of what a container shows, or the root, which has none
                continue
            if text.isdecimal():
                yield int(text)


def require_plan(footprint: Footprint, arena: Arena, mode: str, threads: int) -> None:
    """`require_memory` for a program, with the batch that would do where its samples take the most."""
    need, limit = footprint.bytes(threads), memory_limit()
    fits = (limit - (need - arena.sample_bytes * arena.batch)) // arena.sample_bytes if arena.sample_bytes else 0
    advice = f"take a smaller batch, of {fits} or less" if fits > 0 else "take a smaller network or smaller images"
    require_memory(f"the plan for {mode} with a batch of {arena.batch}", need, advice)
