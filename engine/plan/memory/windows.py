"""Large maps before a batch normalisation that are computed again, some samples at a time, instead of kept.

A batch normalisation reads its input four times: for the moments, to normalise, for the sums of its gradient, and for
the gradient. A layer whose output is read by nothing else is run again before each of these, on some of the samples at
a time (a window): what it writes then takes a fraction of the memory. The windows are gone through to and fro, so that
the last of them need not be computed again. (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", is the
idea for whole segments.)

The results are those of the same step but for rounding: moments and sums, and the gradient of the layer's weights, are
added up window by window. They are the same bits on any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import cnncore

from engine.plan.memory.cutting import (
    GRADIENT_OPS,
    LAYERS,
    Cutting,
    can_be_cut,
    renamed,
    replaced,
    waiting_for,
    windows_of,
)
from engine.program.code import Code, Instruction, Value, consumers


@dataclass(frozen=True)
class Stage:
    """A layer whose output, the value `map`, only a batch normalisation reads: the indices of its instructions.

    layer, norm        forward
    back, gradients    the gradient of the normalisation, and what reads that
    before             instructions behind `back` that `gradients` wait for, and that may run before it
    """

    map: int
    layer: int
    norm: int
    back: int
    gradients: tuple[int, ...]
    before: tuple[int, ...] = ()

    def instructions(self, code: Code) -> list[Instruction]:
        """Those that get windows."""
        return [code.instructions[index] for index in (self.layer, self.norm, self.back, *self.gradients)]


def stages(code: Code) -> Iterator[Stage]:
    """The stages of a step that can be run in windows."""
    readers = consumers(code)
    writers = {value: index for index, each in enumerate(code.instructions) for value in each.outputs()}
    for index, norm in enumerate(code.instructions):
        if norm.op != "batchnorm_forward_training":
            continue
        source = norm.operands["src"]
        layer = writers.get(source)
        users = [user for user in readers[source] if user != index]
        if layer is None or len(users) != 1 or code.instructions[layer].op not in LAYERS:
            continue
        back = code.instructions[users[0]]
        if back.op != "batchnorm_backward" or back.operands["src"] != source:
            continue
        diff = back.operands["diff_src"]
        stage = Stage(source, layer, index, users[0], tuple(readers.get(diff, ())))
        before = waiting_for(code, stage.gradients, stage.back, writers, {diff})
        gradients = [code.instructions[each].op for each in stage.gradients]
        if before is None or not gradients or not set(gradients) <= set(GRADIENT_OPS):
            continue
        if can_be_cut(code, stage.instructions(code)):
            yield replace(stage, before=before)


def in_windows(code: Code, stage: Stage, batch: int, pieces: int) -> Code | None:
    """The code with a stage in windows; None where the batch has too few samples to be cut so."""
    windows = windows_of(code, stage.instructions(code), batch, pieces)
    if len(windows) < 2:
        return None
    cutting = Cutting(code, windows)
    gone = dict.fromkeys((stage.layer, *stage.gradients, *stage.before), ())
    new = {stage.norm: _forward(code, stage, cutting), stage.back: _backward(code, stage, cutting)}
    return replaced(code, cutting.values, {**gone, **new})


def _forward(code: Code, stage: Stage, cutting: Cutting) -> list[Instruction]:
    norm, part = code.instructions[stage.norm], cutting.part(stage.map)
    layer = renamed(code.instructions[stage.layer], {stage.map: part})
    operands = {**norm.operands, "src": part, "squares": _pair(norm, cutting)}
    moments, normalize = (_op(op, norm, operands) for op in ("batchnorm_moments", "batchnorm_normalize"))
    made = [cutting.cut(each, window) for window in cutting.windows for each in (layer, moments)]
    for window in reversed(cutting.windows):
        made += [cutting.cut(layer, window)] * (window != cutting.windows[-1])
        made.append(cutting.cut(normalize, window))
    return made


def _backward(code: Code, stage: Stage, cutting: Cutting) -> list[Instruction]:
    back, part = code.instructions[stage.back], cutting.part(stage.map)
    layer = renamed(code.instructions[stage.layer], {stage.map: part})
    own = {name: _pair(back, cutting) for name in ("factors", "sums", "products")}
    known = {stage.map: part, back.operands["diff_src"]: part}  # a mask may be the map too
    operands = {**renamed(back, known).operands, **own}
    sums, data = (_op(op, back, operands) for op in ("batchnorm_sums", "batchnorm_data"))
    gradients = [renamed(code.instructions[index], known) for index in stage.gradients]
    made = [code.instructions[index] for index in stage.before]
    made += [cutting.cut(each, window) for window in cutting.windows for each in (layer, sums)]
    last: list[Instruction] = []
    for window in reversed(cutting.windows):
        made += [cutting.cut(layer, window)] * (window != cutting.windows[-1])
        made.append(cutting.cut(data, window))
        for each in gradients:
            gradient, added = cutting.gradient(each, window)
            made.append(gradient)
            last += added
    return made + last


def _pair(norm: Instruction, cutting: Cutting) -> int:
    """Two vectors of its channels."""
    return cutting.new(Value((2 * norm.geometry["c"],), per_sample=False))


def _op(op: str, norm: Instruction, operands: Mapping[str, int]) -> Instruction:
    """A part of a normalisation: another op of its operands."""
    names = (operand.name for operand in cnncore.OPS[op].operands)
    return norm.changed(op=op, operands={name: operands[name] for name in names if name in operands})
