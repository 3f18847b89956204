"""Maps that cost little, computed again in the backward pass instead of kept until then.

The output of an activation, or of a batch normalisation, is read by the next layer and, much later, by that layer's
gradient. In between, what it was made of often lives on anyway: the normalisation's own gradient needs its input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engine.plan.memory.arena import live_intervals
from engine.program.code import ARENA, ELEMENTWISE, SOURCES, Code, Instruction, Value

CHEAP = frozenset(
    [f"{name}_forward" for name in ELEMENTWISE]
    + ["add", "add_channels", "dropout", "multiply", "prelu_forward", "scale", "scale_channels"]
)
"""Ops that take hardly longer than reading and writing their maps."""

NORM = "batchnorm_forward_training"  # whose statistics are kept: to normalise again is cheap
LONGEST = 4  # instructions that make one map


@dataclass(frozen=True)
class Map:
    """A value that need not be kept: the instruction before which it is made again, and the values of the chain that
    makes it, the last of them itself."""

    value: int
    at: int
    chain: tuple[int, ...]


def maps(code: Code) -> Iterator[Map]:
    """The maps that can be made again of what lives at that time."""
    lives = live_intervals(code)
    touches: dict[int, list[int]] = {}
    for index, each in enumerate(code.instructions):
        for value in set(each.operands.values()):
            touches.setdefault(value, []).append(index)
    writers = {value: index for index, each in enumerate(code.instructions) for value in each.outputs()}
    for value, at in touches.items():
        if len(at) < 3 or code.values[value].space != ARENA or not code.values[value].per_sample:
            continue
        again = max(zip(at[1:], at, strict=False), key=lambda pair: pair[0] - pair[1])[0]
        if again == at[1]:
            continue  # the longest pause is before anybody reads it
        chain = _chain(code, value, again, lives, writers)
        if chain and len(chain) <= LONGEST:
            yield Map(value, again, tuple(chain))


def _chain(
    code: Code, value: int, at: int, lives: Mapping[int, tuple[int, int]], writers: Mapping[int, int]
) -> list[int] | None:
    """The values to compute again, in order, so that `value` is there; None where that is not cheap."""
    writer = code.instructions[writers[value]] if value in writers else None
    if writer is None or not _is_cheap(code, writer, value):
        return None
    chain: list[int] = []
    for source in writer.sources():
        kind = code.values[source]
        if kind.space != ARENA or not kind.per_sample or lives[source][1] >= at:
            continue
        before = _chain(code, source, at, lives, writers) if len(chain) < LONGEST else None
        if before is None:
            return None
        chain += [each for each in before if each not in chain]
    return [*chain, value]


def _is_cheap(code: Code, writer: Instruction, value: int) -> bool:
    if writer.window is not None or code.values[value].view is not None:
        return False
    if writer.op == NORM:
        return value == writer.operands["dst"] and not writer.geometry["pool"]
    return writer.op in CHEAP and writer.outputs() == (value,)


def made_again(code: Code, found: Map) -> Code:
    """The code in which a map is made again where it is next needed."""
    values = list(code.values)
    writers = {value: each for each in code.instructions for value in each.outputs()}
    new: dict[int, int] = {}
    made = []
    for number in found.chain:
        values.append(Value(values[number].shape, dtype=values[number].dtype))
        made.append(_again(writers[number], {**new, number: len(values) - 1}))
        new[number] = len(values) - 1
    known = {found.value: new[found.value]}
    later = [
        each.changed(operands={name: known.get(value, value) for name, value in each.operands.items()})
        for each in code.instructions[found.at :]
    ]
    return code.changed(values=tuple(values), instructions=(*code.instructions[: found.at], *made, *later))


def _again(writer: Instruction, new: Mapping[int, int]) -> Instruction:
    operands = {name: new.get(value, value) for name, value in writer.operands.items()}
    if writer.op != NORM:
        return writer.changed(operands=operands)
    names = ("dst", *(name for name in SOURCES["batchnorm_normalize"] if name in operands))
    return writer.changed(op="batchnorm_normalize", operands={name: operands[name] for name in names})
