"""A training step in less memory: what is computed again instead of kept, the cheapest for its size first.

(Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.plan.cost import estimate
from engine.plan.memory import stretches, windows
from engine.plan.memory.again import made_again, maps
from engine.plan.memory.arena import least_bytes
from engine.program.code import Code, Instruction

AIM = 0.5  # of the memory
LEAST_SPEED = 0.9  # of the modelled speed of a step, that has to be left
PIECES = (2, 4)  # of the batch in windows: more save more, and compute more again


@dataclass(frozen=True)
class Change:
    """A value that can be computed again: its bytes for a second of that, and the code in which it is, if there is one,
    with the batch in so many pieces."""

    worth: float
    value: int
    made: Callable[[Code, int], Code | None]


def with_less(code: Code, batch: int, isa: str) -> Code:
    """The code of a training step of so many samples with as much computed again as brings its arena to AIM, or as
    LEAST_SPEED allows. Windows add up in another order: results differ by rounding."""
    aim = least_bytes(code, batch) * AIM
    best = code
    for pieces in PIECES:
        smaller = _with_less(code, batch, isa, pieces, aim)
        best = min(best, smaller, key=lambda each: least_bytes(each, batch))
        if least_bytes(best, batch) <= aim:
            break
    return best


def _with_less(code: Code, batch: int, isa: str, pieces: int, aim: float) -> Code:
    limit = _seconds(code.instructions, code, batch, isa) / LEAST_SPEED
    bytes_now = least_bytes(code, batch)
    for change in sorted(_changes(code, batch, isa), key=lambda each: (-each.worth, each.value)):
        if bytes_now <= aim:
            break
        changed = change.made(code, pieces)
        if changed is None or _seconds(changed.instructions, changed, batch, isa) > limit:
            continue
        smaller = least_bytes(changed, batch)
        if smaller < bytes_now:
            code, bytes_now = changed, smaller
    return code


def sees_the_whole_batch(code: Code) -> bool:
    """Whether a step has an instruction that a part of the batch would give another result."""
    return any(each.op == "batchnorm_forward_training" for each in code.instructions)


def _changes(code: Code, batch: int, isa: str) -> Iterator[Change]:
    for stage in windows.stages(code):
        seconds = _seconds([code.instructions[stage.layer]], code, batch, isa)
        yield Change(code.values[stage.map].bytes(batch) / seconds, stage.map, _windows_of(stage.map, batch))
    for stretch in stretches.stretches(code):
        seconds = _seconds([code.instructions[stretch.first]], code, batch, isa)
        yield Change(code.values[stretch.map].bytes(batch) / seconds, stretch.map, _stretch_of(stretch.map, batch))
    writers = {value: each for each in code.instructions for value in each.outputs()}
    for found in maps(code):
        seconds = _seconds([writers[value] for value in found.chain], code, batch, isa)
        yield Change(code.values[found.value].bytes(batch) / seconds, found.value, _again_of(found.value))


def _windows_of(value: int, batch: int) -> Callable[[Code, int], Code | None]:
    def made(code: Code, pieces: int) -> Code | None:
        found = next((each for each in windows.stages(code) if each.map == value), None)
        return None if found is None else windows.in_windows(code, found, batch, pieces)

    return made


def _stretch_of(value: int, batch: int) -> Callable[[Code, int], Code | None]:
    def made(code: Code, pieces: int) -> Code | None:
        found = next((each for each in stretches.stretches(code) if each.map == value), None)
        return None if found is None else stretches.in_windows(code, found, batch, pieces)

    return made


def _again_of(value: int) -> Callable[[Code, int], Code | None]:
    def made(code: Code, _: int) -> Code | None:
        found = next((each for each in maps(code) if each.value == value), None)
        return None if found is None else made_again(code, found)

    return made


def _seconds(instructions: list[Instruction] | tuple[Instruction, ...], code: Code, batch: int, isa: str) -> float:
    return sum(estimate.seconds(each, code.values, each.batch(batch), isa) for each in instructions)
