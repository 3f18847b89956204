"""Measuring which algorithm is the fastest here: what a plan does only when it is asked to (`tune=True`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.plan.algorithms import candidates, convolutions, expand
from engine.program.code import ARENA, CONSTANTS, LINE_BYTES, Code, Instruction, Value

ROUNDS = 5  # of every candidate, in turn; the least time counts


@dataclass
class Trial:
    """One way to compute an instruction, ready to run alone on made-up data."""

    program: cnncore.Program
    batch: int
    timed: slice  # the instructions that count

    def seconds(self) -> float:
        """Run once; the time of the instructions that count."""
        spent = np.zeros(self.program.instruction_count)
        self.program.run(self.batch, (), seconds=spent)
        return float(spent[self.timed].sum())


def measured_choices(code: Code, batch: int, keep_filters: bool) -> dict[str, dict[str, str]]:
    """The fastest algorithm of every convolution and pass in code that is all direct, with the present threads."""
    chosen: dict[str, dict[str, str]] = {}
    for layer, direction, instruction in convolutions(code):
        known = candidates(instruction.op, instruction.geometry)
        times = dict.fromkeys(known, 0.0)
        if len(known) > 1:
            times = measure(code.values, instruction, known, batch, keep_filters)
        chosen.setdefault(layer, {})[direction] = min(known, key=times.__getitem__)
    return chosen


def measure(
    values: Sequence[Value], instruction: Instruction, algorithms: Sequence[str], batch: int, keep_filters: bool
) -> dict[str, float]:
    """Seconds of a convolution by algorithm, its filter's making included unless that is kept."""
    trials = {}
    for algorithm in algorithms:
        made, filter_value = expand(instruction, algorithm, len(values))
        known = values if filter_value is None else (*values, filter_value)
        trials[algorithm] = make_trial(made, known, batch, slice(-1, None) if keep_filters else slice(None))
    times = dict.fromkeys(algorithms, float("inf"))
    for turn in range(1 + ROUNDS):
        for algorithm, trial in trials.items():
            spent = trial.seconds()
            if turn > 0:  # the first touches memory for the first time
                times[algorithm] = min(times[algorithm], spent)
    return times


def make_trial(made: Sequence[Instruction], known: Sequence[Value], batch: int, timed: slice = slice(None)) -> Trial:
    """A program of these instructions alone, on random numbers. Positions of maxima that are read are constants: the
    core makes no program that finds them in memory which anything may have written."""
    numbers: dict[int, int] = {}  # value → operand
    operands: list[tuple[str, int, int]] = []
    ends = {ARENA: 0, CONSTANTS: 0}
    for value in dict.fromkeys(value for each in made for value in each.operands.values()):
        numbers[value] = len(operands)
        space = CONSTANTS if known[value].dtype == "uint8" and not _is_written(value, made) else ARENA
        operands.append((space, ends[space], known[value].bytes(batch)))
        ends[space] += -(-known[value].bytes(batch) // LINE_BYTES) * LINE_BYTES
    table = [(i.op, {name: numbers[value] for name, value in i.operands.items()}, dict(i.geometry)) for i in made]
    constants = cnncore.aligned_zeros(ends[CONSTANTS], np.uint8)
    random = np.random.default_rng(0)
    _fill(constants, "uint8", random)
    program = cnncore.Program(table, operands, batch, ends[ARENA], {CONSTANTS: constants})
    for value, number in numbers.items():
        space, offset, size = operands[number]
        if space == ARENA:
            _fill(program.arena[offset : offset + size], known[value].dtype, random)
    return Trial(program, batch, timed)


def _is_written(value: int, made: Sequence[Instruction]) -> bool:
    """Whether one of the instructions writes the value."""
    return any(
        operand.written and instruction.operands.get(operand.name) == value
        for instruction in made
        for operand in cnncore.OPS[instruction.op].operands
    )


def _fill(memory: NDArray[np.uint8], dtype: str, random: np.random.Generator) -> None:
    """Numbers around zero; for positions of maxima, all five of them; label 0."""
    if dtype == "uint8":
        memory[:] = random.choice(np.array([0, 1, 2, 3, 255], np.uint8), memory.size)
    elif dtype == "float32":
        memory.view(np.float32)[:] = random.standard_normal(memory.size // 4, np.float32)
