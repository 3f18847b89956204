"""Two layers depth-first: the large map between them is there for some samples at a time, and computed again in the
backward pass.

The second layer takes the map window by window as the first one makes it. In the backward pass the first layer makes it
again, for the second layer's gradients, and its own gradients follow at once: nor is there ever a whole gradient of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
from engine.program.code import Code, Instruction, consumers


@dataclass(frozen=True)
class Stretch:
    """A layer whose output, the value `map`, only the next layer and its gradients read: indices of instructions.

    first, second   the layers
    diff            the value that holds the gradient by the map
    gradients       of the second layer, then of the first
    before          others that these wait for, and that may run before them
    """

    map: int
    first: int
    second: int
    diff: int
    gradients: tuple[int, ...]
    before: tuple[int, ...] = ()

    def instructions(self, code: Code) -> list[Instruction]:
        """Those that get windows."""
        return [code.instructions[index] for index in (self.first, self.second, *self.gradients)]


def stretches(code: Code) -> Iterator[Stretch]:
    """The stretches of a step that can be run in windows."""
    readers = consumers(code)
    writers = {value: index for index, each in enumerate(code.instructions) for value in each.outputs()}
    for first, layer in enumerate(code.instructions):
        if layer.op not in LAYERS or layer.window is not None or len(layer.outputs()) != 1:
            continue
        (between,) = layer.outputs()
        second, *back = readers.get(between, [first])
        if code.instructions[second].op not in LAYERS or not back:
            continue
        by_map = [code.instructions[index].operands.get("diff_src") for index in back]
        diff = next((value for value in by_map if value is not None), None)
        if diff is None or [each for each in by_map if each is not None] != [diff]:
            continue
        found = Stretch(between, first, second, diff, (*back, *readers.get(diff, ())))
        ops = {code.instructions[index].op for index in found.gradients}
        before = waiting_for(code, found.gradients, found.gradients[0], writers, {diff})
        if ops <= set(GRADIENT_OPS) and before is not None and can_be_cut(code, found.instructions(code)):
            yield replace(found, before=before)


def in_windows(code: Code, stretch: Stretch, batch: int, pieces: int) -> Code | None:
    """The code with a stretch in windows; None where the batch has too few samples to be cut so."""
    windows = windows_of(code, stretch.instructions(code), batch, pieces)
    if len(windows) < 2:
        return None
    cutting = Cutting(code, windows)
    gone = dict.fromkeys((stretch.first, *stretch.gradients[1:], *stretch.before), ())
    forward, backward = _forward(code, stretch, cutting), _backward(code, stretch, cutting)
    return replaced(code, cutting.values, {**gone, stretch.second: forward, stretch.gradients[0]: backward})


def _forward(code: Code, stretch: Stretch, cutting: Cutting) -> list[Instruction]:
    known = {stretch.map: cutting.part(stretch.map)}
    pair = [renamed(code.instructions[index], known) for index in (stretch.first, stretch.second)]
    return [cutting.cut(each, window) for window in cutting.windows for each in pair]


def _backward(code: Code, stretch: Stretch, cutting: Cutting) -> list[Instruction]:
    known = {stretch.map: cutting.part(stretch.map), stretch.diff: cutting.part(stretch.diff)}
    layer = renamed(code.instructions[stretch.first], known)
    made = [code.instructions[index] for index in stretch.before]
    for window in cutting.windows:
        made.append(cutting.cut(layer, window))
        for index in stretch.gradients:
            gradient, added = cutting.gradient(renamed(code.instructions[index], known), window)
            made += [gradient, *added]
    return made
