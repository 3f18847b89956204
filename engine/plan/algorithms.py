"""Which algorithm each convolution uses in each pass, and the pass that writes the choice into the code.

"direct" is the op conv2d_*. "winograd2" and "winograd4" compute output tiles of 2x2 and 4x4 with Winograd's algorithm
(ops winograd_*, geometry.tile): fewer multiplications, larger rounding errors. They read the weights in transformed
form, as a filter. In training the filter changes with every step, so that an op makes it anew; otherwise it is made
once per change of the parameters and kept in the constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import cnncore

from engine.errors import unknown
from engine.plan.cost import estimate
from engine.program.code import CONSTANTS, ITEM_BYTES, PARAMETERS, Algorithm, Choices, Code, Instruction, Value
from engine.program.limits import fits
from engine.program.slots import padded

DIRECT, AUTO = "direct", "auto"

PASSES = ("forward", "backward_data", "backward_weights")

WINOGRAD_TILES = (2, 4)
"""The output tiles that an algorithm has a name for; for which kernels the core has them, it says itself."""

FILTER_OPS = {"forward": "winograd_filter", "backward_data": "winograd_filter_backward"}
"""Pass → the op that transforms its weights; the weight gradient has none."""


@dataclass(frozen=True)
class Filter:
    """A filter in the constants: the op and geometry that make it, from weights in the parameters or constants.

    Offsets are in bytes; `weights_bytes` and `bytes` are the extents of source and result.
    """

    op: str
    geometry: Mapping[str, Any]
    space: str
    weights_offset: int
    weights_bytes: int
    offset: int
    bytes: int


@cache
def pass_of(op: str) -> str | None:
    """The pass of a convolution that an op computes; None for any other op, also for those that make filters."""
    for prefix in ("conv2d_", "winograd_"):
        if op.removeprefix(prefix) in PASSES and op.startswith(prefix):
            return op.removeprefix(prefix)
    return None


def candidates(op: str, geometry: Mapping[str, Any]) -> tuple[str, ...]:
    """The algorithms that can compute a conv2d_* instruction, direct first."""
    direction = pass_of(op)
    # With more padding some outputs see no image at all, which is no case to optimise.
    inside = all(geometry[f"pad_{side}"] < geometry["kh"] for side in ("top", "left", "bottom", "right"))
    if not inside:
        return (DIRECT,)
    fitting = (tile for tile in WINOGRAD_TILES if fits(f"winograd_{direction}", {**geometry, "tile": tile}))
    return (DIRECT, *(f"winograd{tile}" for tile in fitting))


def with_algorithm(instruction: Instruction, algorithm: str) -> Instruction:
    """The instruction with its op and geometry for the algorithm; its weights are not replaced by a filter here."""
    direction = pass_of(instruction.op)
    assert direction is not None
    if algorithm == DIRECT:
        return instruction.changed(algorithm=DIRECT)
    geometry = {**instruction.geometry, "tile": int(algorithm.removeprefix("winograd"))}
    return instruction.changed(op=f"winograd_{direction}", geometry=geometry, algorithm=algorithm)


def filter_shape(op: str, geometry: Mapping[str, Any]) -> tuple[int, ...]:
    """Extents of what a filter op writes. In memory it lies by pairs of panels of 16 columns, as a product reads it:
    [pairs][alpha * alpha][panels of the pair][rows][16], see csrc/src/ops/winograd.h.
    """
    alpha = geometry["tile"] + geometry["kh"] - 1
    inputs, outputs = geometry["ic"], geometry["oc"]
    rows, columns = (inputs, outputs) if op == "winograd_filter" else (outputs, inputs)
    return alpha * alpha, -(-columns // cnncore.PANEL), rows, cnncore.PANEL


def expand(instruction: Instruction, algorithm: str, new: int) -> tuple[tuple[Instruction, ...], Value | None]:
    """A conv2d_* instruction as the algorithm's instructions; `new` numbers the filter, which is returned if needed."""
    chosen = with_algorithm(instruction, algorithm)
    op = FILTER_OPS.get(pass_of(chosen.op) or "")
    if algorithm == DIRECT or op is None:
        return (chosen,), None
    # Only what decides the filter: it is the same for any fusion and any size of the map.
    geometry = {**chosen.geometry, "activation": 0, "pool": 0}
    operands = {"filter" if name == "weights" else name: value for name, value in chosen.operands.items()}
    operands["filter"] = new
    make = Instruction(op, {"dst": new, "weights": chosen.operands["weights"]}, geometry, chosen.layer, algorithm)
    return (make, chosen.changed(operands=operands)), Value(filter_shape(op, geometry), per_sample=False)


def choose(code: Code, batch: int, isa: str, algorithm: Algorithm, keep_filters: bool) -> dict[str, dict[str, str]]:
    """The algorithm of every convolution and pass: a function of shapes, batch, mode and instruction set.

    algorithm      "auto": the least estimate; "direct": direct everywhere; a mapping: as it says, "auto" where it says
                   nothing. UserError for a layer, pass or algorithm in it that there is not.
    isa            "reference" means direct as well: naive twins are there to be plain
    keep_filters   filters are made once and not in every run: their making costs nothing
    """
    fixed: Choices = algorithm if isinstance(algorithm, Mapping) else {}
    if isinstance(algorithm, str) and algorithm not in (AUTO, DIRECT):
        raise unknown("algorithm", algorithm, (AUTO, DIRECT))
    chosen: dict[str, dict[str, str]] = {}
    for layer, direction, instruction in convolutions(code):
        known = candidates(instruction.op, instruction.geometry)
        given = fixed.get(layer, {}).get(direction)
        if given is not None and given not in known:
            raise unknown(f"algorithm of layer {layer!r}, {direction}:", given, known)
        if algorithm == DIRECT or isa == "reference":
            given = given or DIRECT
        chosen.setdefault(layer, {})[direction] = given or min(
            known, key=lambda each: modelled_seconds(code, instruction, each, batch, isa, keep_filters)
        )
    for layer in fixed:
        if layer not in chosen:
            raise unknown("convolution in algorithm:", layer, chosen)
        for direction in fixed[layer]:
            if direction not in PASSES:
                raise unknown(f"pass in algorithm, layer {layer!r}:", direction, PASSES)
    return chosen


def convolutions(code: Code) -> Iterator[tuple[str, str, Instruction]]:
    """(layer, pass, instruction) of every direct convolution in the code."""
    for instruction in code.instructions:
        if instruction.op.startswith("conv2d_"):
            direction = pass_of(instruction.op)
            assert direction is not None
            yield layer_of(instruction), direction, instruction


def layer_of(instruction: Instruction) -> str:
    """The layer that an instruction began as, before others were fused into it."""
    return instruction.layer.split("+")[0]


def modelled_seconds(
    code: Code, instruction: Instruction, algorithm: str, batch: int, isa: str, keep_filters: bool
) -> float:
    """Modelled seconds of a convolution with this algorithm, its filter included unless that is kept."""
    if algorithm == DIRECT:
        return estimate.seconds(instruction, code.values, batch, isa)
    made, value = expand(instruction, algorithm, len(code.values))
    values = code.values if value is None else (*code.values, value)
    return sum(estimate.seconds(each, values, batch, isa) for each in (made[-1:] if keep_filters else made))


def apply(code: Code, choices: Choices, keep_filters: bool, start: int) -> tuple[Code, tuple[Filter, ...]]:
    """Replace every convolution by the chosen algorithm's instructions.

    With `keep_filters` the filters become constants from byte `start` on, and what makes them is returned.
    """
    values = list(code.values)
    instructions: list[Instruction] = []
    filters: list[Filter] = []
    for instruction in code.instructions:
        if not instruction.op.startswith("conv2d_"):
            instructions.append(instruction)
            continue
        algorithm = choices[layer_of(instruction)][pass_of(instruction.op) or ""]
        made, value = expand(instruction, algorithm, len(values))
        weights = values[instruction.operands["weights"]] if "weights" in instruction.operands else None
        if value is not None and weights is not None and keep_filters:
            value = value.changed(space=CONSTANTS, offset=start)
            kept = Filter(made[0].op, made[0].geometry, weights.space, weights.offset, weights.bytes(1), start,
                          value.bytes(1))  # fmt: skip
            assert weights.space in (PARAMETERS, CONSTANTS)
            filters.append(kept)
            start += padded(value.bytes(1) // ITEM_BYTES["float32"]) * ITEM_BYTES["float32"]
            made = made[1:]
        if value is not None:
            values.append(value)
        instructions += made
    return code.changed(values=tuple(values), instructions=tuple(instructions)), tuple(filters)
