"""Reverse mode at the level of ops: a table from each forward op to the rule that emits its backward ops."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import UserError
from engine.program.code import (
    ACTIVATION_NAMES,
    ARENA,
    BY_OUTPUT,
    CONSTANTS,
    ELEMENTWISE,
    GRADIENTS,
    OUTPUTS,
    PARAMETERS,
    SOURCES,
    Code,
    Instruction,
    Value,
)

LOSS_SOURCES = {
    "cross_entropy": "logits",
    "cross_entropy_soft": "logits",
    "binary_cross_entropy": "logits",
    "mean_squared_error": "src",
}
"""Loss op → what its output is the gradient by."""


def differentiate(code: Code, frozen: Collection[str] = ()) -> Code:
    """Add the gradient to the loss op and append the backward pass, in reverse order of the forward one.

    The gradient of a value that several ops read is the sum of their contributions (op `add`). Only values that
    depend on a parameter of a layer that is not frozen get a gradient: none is computed for the network's input, nor
    for anything below the lowest layer that learns.

    UserError where a gradient would get lost on the way: an op without a rule, or a rule that passes an operand over.
    """
    tape = _Tape(list(code.values), _dependent_on_parameters(code, frozen), frozenset(frozen))
    forward: list[Instruction] = []
    for instruction in code.instructions:
        if instruction.op in LOSS_SOURCES:
            (difference,) = OUTPUTS[instruction.op]
            value = instruction.operands[LOSS_SOURCES[instruction.op]]
            if value in tape.dependent:
                diff = tape.new_like(value)
                tape.contribute(value, diff)
                instruction = replace(instruction, operands={difference: diff, **instruction.operands})
        forward.append(instruction)
    if code.instructions[-1].op not in LOSS_SOURCES:
        raise _lost(code.instructions[-1], "is no loss that the planner can differentiate (LOSS_SOURCES)")
    for instruction in reversed(code.instructions):
        reached = [value for value in instruction.outputs() if value in tape.contributions]
        if reached:
            tape.go_back(instruction, reached)
    return replace(code, values=tuple(tape.values), instructions=(*forward, *tape.instructions))


def _lost(instruction: Instruction, why: str) -> UserError:
    return UserError(
        f"op {instruction.op!r} of layer {instruction.layer!r} {why}, so what lies before it would not learn; rules of "
        "gradients stand in engine/plan/gradients.py"
    )


@dataclass
class _Tape:
    """What the rules write to: backward instructions, and for every value the gradients that reach it."""

    values: list[Value]
    dependent: frozenset[int]
    frozen: frozenset[str] = frozenset()
    instructions: list[Instruction] = field(default_factory=list)
    contributions: dict[int, list[int]] = field(default_factory=dict)
    given: Counter[int] = field(default_factory=Counter)  # gradients of each parameter
    layer: str = ""

    def go_back(self, forward: Instruction, reached: list[int]) -> None:
        """Emit the backward ops of an instruction, of which the gradient has reached these outputs."""
        rule = RULES.get(forward.op)
        if rule is None:
            raise _lost(forward, "has no rule for its gradient (RULES)")
        dst = forward.operands["dst"]
        if reached != [dst]:
            raise _lost(forward, f"has a rule for the gradient of 'dst' alone, but {len(reached)} outputs are read")
        before = self._arrived(forward)
        self.layer = forward.layer
        rule(self, forward, self.gradient(dst))
        for name, count in self._arrived(forward).items():
            if count == before[name]:
                raise _lost(forward, f"has a rule that gives no gradient to {name!r}")

    def _arrived(self, forward: Instruction) -> dict[str, int]:
        """How many gradients there are of each operand that needs one."""
        counts = {}
        for name, value in forward.operands.items():
            space = self.values[value].space
            if name in SOURCES[forward.op] and value in self.dependent and space in (ARENA, PARAMETERS):
                counts[name] = self.given[value] if space == PARAMETERS else len(self.contributions.get(value, ()))
        return counts

    def emit(self, op: str, geometry: Mapping[str, Any], **operands: int) -> None:
        self.instructions.append(Instruction(op, operands, dict(geometry), self.layer))

    def new_like(self, value: int, shape: tuple[int, ...] | None = None) -> int:
        """A new arena value with the extents of `value` (or `shape`)."""
        self.values.append(Value(shape or self.values[value].shape))
        return len(self.values) - 1

    def gradient_of_parameter(self, value: int) -> int:
        self.given[value] += 1
        self.values.append(replace(self.values[value], space=GRADIENTS))
        return len(self.values) - 1

    def contribute(self, value: int, diff: int) -> None:
        if value in self.dependent:
            self.contributions.setdefault(value, []).append(diff)

    def gradient(self, value: int) -> int:
        """The sum of all contributions to the gradient of `value`; computed once."""
        terms = self.contributions[value]
        total = terms[0]
        for term in terms[1:]:
            summed = self.new_like(total)
            count = _count(self.values[total])
            self.emit("add", {"count": count, "slope": 0.0}, dst=summed, a=total, b=term)
            total = summed
        self.contributions[value] = [total]
        return total

    def back(self, source: int) -> int | None:
        """A new value for the gradient of `source`, or None where no parameter lies before it."""
        if source not in self.dependent:
            return None
        diff = self.new_like(source)
        self.contribute(source, diff)
        return diff


Rule = Callable[[_Tape, Instruction, int], None]


def without_needless_positions(code: Code, frozen: Collection[str]) -> Code:
    """Max-pools through which no gradient passes, since only frozen layers lie below, note no positions of maxima."""
    dependent = _dependent_on_parameters(code, frozen)
    instructions = []
    for each in code.instructions:
        if each.op == "maxpool2d_forward" and each.operands["dst"] not in dependent:
            each = replace(each, operands={name: value for name, value in each.operands.items() if name != "argmax"})
        instructions.append(each)
    return code.with_instructions(instructions)


def _owner(instruction: Instruction) -> str:
    """The layer whose parameters an instruction reads: the first of those fused into it."""
    return instruction.layer.split("+")[0]


def _dependent_on_parameters(code: Code, frozen: Collection[str]) -> frozenset[int]:
    dependent: set[int] = set()
    for instruction in code.instructions:
        if _owner(instruction) not in frozen:
            dependent.update(each for each in instruction.sources() if code.values[each].space == PARAMETERS)
        if any(source in dependent for source in instruction.sources()):
            dependent.update(instruction.outputs())
    return frozenset(dependent)


def _count(value: Value) -> int:
    return math.prod(value.shape)


def _conv2d(tape: _Tape, forward: Instruction, diff: int) -> None:
    plain = {**forward.geometry, "activation": 0, "pool": 0}
    if forward.geometry["pool"]:
        diff = _unpool(tape, forward, diff)
    elif forward.geometry["activation"]:
        diff = _through_activation(tape, forward, diff)
    _weights_and_data(tape, "conv2d", forward, plain, diff)


def _linear(tape: _Tape, forward: Instruction, diff: int) -> None:
    if forward.geometry["activation"]:
        diff = _through_activation(tape, forward, diff)
    _weights_and_data(tape, "linear", forward, {**forward.geometry, "activation": 0}, diff)


def _weights_and_data(tape: _Tape, op: str, forward: Instruction, geometry: Mapping[str, Any], diff: int) -> None:
    weights, source = forward.operands["weights"], forward.operands["src"]
    if _owner(forward) not in tape.frozen:
        gradients = {"diff_weights": tape.gradient_of_parameter(weights)}
        if "bias" in forward.operands:
            gradients["diff_bias"] = tape.gradient_of_parameter(forward.operands["bias"])
        tape.emit(f"{op}_backward_weights", geometry, **gradients, src=source, diff_dst=diff)
    diff_source = tape.back(source)
    if diff_source is not None:
        tape.emit(f"{op}_backward_data", geometry, diff_src=diff_source, diff_dst=diff, weights=weights)


def _unpool(tape: _Tape, forward: Instruction, diff: int) -> int:
    """Through the pool (and the activation: argmax 255) that a convolution has fused."""
    conv = forward.geometry
    whole = tape.new_like(diff, (conv["oh"], conv["ow"], conv["oc"]))
    geometry = {
        "h": conv["oh"],
        "w": conv["ow"],
        "c": conv["oc"],
        "kh": 2,
        "kw": 2,
        "oh": conv["oh"] // 2,
        "ow": conv["ow"] // 2,
        "stride_h": 2,
        "stride_w": 2,
        "pad_top": 0,
        "pad_left": 0,
        "count_include_pad": 1,
    }
    tape.emit("maxpool2d_backward", geometry, diff_src=whole, diff_dst=diff, argmax=forward.operands["argmax"])
    return whole


def _through_activation(tape: _Tape, forward: Instruction, diff: int) -> int:
    """Through the activation that an op has fused: one of those whose gradient reads the output."""
    output, before = forward.operands["dst"], tape.new_like(diff)
    geometry = {"count": _count(tape.values[output]), "slope": 0.0}
    op = f"{ACTIVATION_NAMES[forward.geometry['activation']]}_backward"
    tape.emit(op, geometry, diff_src=before, diff_dst=diff, dst=output)
    return before


def _reads(operand: str) -> Rule:
    """The rule of an op whose backward is `<op>_backward` and reads, besides diff_dst, one saved operand."""

    def rule(tape: _Tape, forward: Instruction, diff: int) -> None:
        diff_source = tape.back(forward.operands["src"])
        if diff_source is None:
            return
        op = forward.op.removesuffix("_forward") + "_backward"
        saved = {operand: forward.operands[operand]} if operand else {}
        tape.emit(op, forward.geometry, diff_src=diff_source, diff_dst=diff, **saved)

    return rule


def _prelu(tape: _Tape, forward: Instruction, diff: int) -> None:
    source, weights = forward.operands["src"], forward.operands["weights"]
    diff_source = tape.back(source)
    learns = forward.layer not in tape.frozen
    if diff_source is None and not learns:
        return
    gradients = {"diff_src": tape.new_like(source) if diff_source is None else diff_source}
    if learns:
        gradients["diff_weights"] = tape.gradient_of_parameter(weights)
    tape.emit("prelu_backward", forward.geometry, **gradients, diff_dst=diff, src=source, weights=weights)


def _transposed(op: str) -> Rule:
    def rule(tape: _Tape, forward: Instruction, diff: int) -> None:
        diff_source = tape.back(forward.operands["src"])
        if diff_source is not None:
            tape.emit(op, forward.geometry, dst=diff_source, src=diff)

    return rule


def _batchnorm(tape: _Tape, forward: Instruction, diff: int) -> None:
    source = forward.operands["src"]
    diff_source = tape.back(source)
    argmax = {"argmax": forward.operands["argmax"]} if forward.geometry["pool"] else {}
    tape.emit(
        "batchnorm_backward",
        forward.geometry,
        diff_src=tape.new_like(source) if diff_source is None else diff_source,
        diff_weights=tape.gradient_of_parameter(forward.operands["weights"]),
        diff_bias=tape.gradient_of_parameter(forward.operands["bias"]),
        src=source,
        diff_dst=diff,
        weights=forward.operands["weights"],
        bias=forward.operands["bias"],
        save_mean=forward.operands["save_mean"],
        save_inv_std=forward.operands["save_inv_std"],
        **argmax,
    )


def _fixed_batchnorm(tape: _Tape, forward: Instruction, diff: int) -> None:
    """Of a frozen one: diff_src = diff_dst * weights / sqrt(running_var + eps), by the forward op with zeros for bias
    and mean."""
    diff_source = tape.back(forward.operands["src"])
    if diff_source is None:
        return
    if forward.geometry["activation"]:
        diff = _through_activation(tape, forward, diff)
    # Nothing else lies in the constants yet, and nothing ever writes there: they begin as zeros.
    tape.values.append(Value((forward.geometry["c"],), CONSTANTS, per_sample=False))
    zeros = len(tape.values) - 1
    tape.emit(
        "batchnorm_forward_inference",
        {**forward.geometry, "activation": 0},
        dst=diff_source,
        src=diff,
        weights=forward.operands["weights"],
        bias=zeros,
        running_mean=zeros,
        running_var=forward.operands["running_var"],
    )


def _add(tape: _Tape, forward: Instruction, diff: int) -> None:
    tape.contribute(forward.operands["a"], diff)
    tape.contribute(forward.operands["b"], diff)


def _copy_channels(tape: _Tape, forward: Instruction, diff: int) -> None:
    diff_source = tape.back(forward.operands["src"])
    if diff_source is None:
        return
    there = forward.geometry
    back = {
        **there,
        "src_stride": there["dst_stride"],
        "src_offset": there["dst_offset"],
        "dst_stride": there["src_stride"],
        "dst_offset": there["src_offset"],
    }
    tape.emit("copy_channels", back, dst=diff_source, src=diff)


RULES: dict[str, Rule] = {
    "conv2d_forward": _conv2d,
    "linear_forward": _linear,
    "maxpool2d_forward": _reads("argmax"),
    "avgpool2d_forward": _reads(""),
    **{f"{name}_forward": _reads("dst" if name in BY_OUTPUT else "src") for name in ELEMENTWISE},
    "prelu_forward": _prelu,
    "softmax_forward": _reads("dst"),
    "batchnorm_forward_training": _batchnorm,
    "batchnorm_forward_inference": _fixed_batchnorm,
    "dropout": _transposed("dropout"),
    "nhwc_to_nchw": _transposed("nchw_to_nhwc"),
    "nchw_to_nhwc": _transposed("nhwc_to_nchw"),
    "add": _add,
    "copy_channels": _copy_channels,
}
