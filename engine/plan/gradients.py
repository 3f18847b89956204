"""Reverse mode at the level of ops: a table from each forward op to the rule that emits its backward ops."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from engine.plan.rules.channels import (
    SCALE_SHIFT,
    add_channels,
    given,
    groupnorm,
    multiply,
    prelu,
    scale_and_shift,
    scale_channels,
)
from engine.plan.rules.tape import Rule, Tape, count_of, lost, owner
from engine.program.code import (
    ACTIVATION_NAMES,
    BY_OUTPUT,
    CONSTANTS,
    ELEMENTWISE,
    EXTERNAL,
    GRADIENT_EXTERNAL,
    OUTPUTS,
    PARAMETERS,
    Code,
    Instruction,
    Value,
)

LOSS_SOURCES = {
    "cross_entropy": "logits",
    "cross_entropy_soft": "logits",
    "pixel_cross_entropy": "logits",
    "binary_cross_entropy": "logits",
    "mean_squared_error": "src",
}
"""Loss op → what its output is the gradient by."""


def differentiate(code: Code, frozen: Collection[str] = ()) -> Code:
    """Add the gradient to the loss op and append the backward pass, in reverse order of the forward one.

    The gradient of a value that several ops read is the sum of their contributions (op `add`). Only values that
    depend on a parameter of a layer that is not frozen get a gradient: none is computed for the network's input, nor
    for anything below the lowest layer that learns.

    Where NumPy computes the loss, the gradient by the scores is the caller's array.

    UserError where a gradient would get lost on the way: an op without a rule, or a rule that passes an operand over.
    """
    tape = Tape(list(code.values), _dependent_on_parameters(code, frozen), frozenset(frozen))
    forward: list[Instruction] = []
    for instruction in code.instructions:
        if instruction.op in LOSS_SOURCES:
            (difference,) = OUTPUTS[instruction.op]
            value = instruction.operands[LOSS_SOURCES[instruction.op]]
            if value in tape.dependent:
                diff = tape.new_like(value)
                tape.contribute(value, diff)
                instruction = instruction.changed(operands={difference: diff, **instruction.operands})
        forward.append(instruction)
    if code.handover is not None:
        scores = code.instructions[-1].operands["src"]
        tape.values.append(tape.values[scores].changed(space=EXTERNAL, offset=GRADIENT_EXTERNAL))
        tape.contribute(scores, len(tape.values) - 1)
    elif code.instructions[-1].op not in LOSS_SOURCES:
        raise lost(code.instructions[-1], "is no loss that the planner can differentiate (LOSS_SOURCES)")
    for instruction in reversed(code.instructions):
        reached = [value for value in instruction.outputs() if value in tape.contributions]
        if reached:
            tape.go_back(instruction, reached, RULES)
    return code.changed(values=tuple(tape.values), instructions=(*forward, *tape.instructions))


def without_needless_positions(code: Code, frozen: Collection[str]) -> Code:
    """Max-pools through which no gradient passes, since only frozen layers lie below, note no positions of maxima."""
    dependent = _dependent_on_parameters(code, frozen)
    instructions = []
    for each in code.instructions:
        if each.op == "maxpool2d_forward" and each.operands["dst"] not in dependent:
            each = each.changed(operands={name: value for name, value in each.operands.items() if name != "argmax"})
        instructions.append(each)
    return code.with_instructions(instructions)


def _dependent_on_parameters(code: Code, frozen: Collection[str]) -> frozenset[int]:
    dependent: set[int] = set()
    for instruction in code.instructions:
        if owner(instruction) not in frozen:
            dependent.update(each for each in instruction.sources() if code.values[each].space == PARAMETERS)
        if any(source in dependent for source in instruction.sources()):
            dependent.update(instruction.outputs())
    return frozenset(dependent)


def _conv2d(tape: Tape, forward: Instruction, diff: int) -> None:
    plain = {**forward.geometry, "activation": 0, "pool": 0}
    if forward.geometry["pool"]:
        diff = _unpool(tape, forward, diff)
    elif forward.geometry["activation"]:
        diff = _through_activation(tape, forward, diff)
    _weights_and_data(tape, "conv2d", forward, plain, diff)


def _transposed_conv2d(tape: Tape, forward: Instruction, diff: int) -> None:
    """Where the data gradient of a convolution is a forward op: its gradient is that convolution, of the gradient."""
    weights, source = forward.operands["weights"], forward.operands["diff_dst"]
    if owner(forward) not in tape.frozen:
        learned = tape.gradient_of_parameter(weights)
        tape.emit("conv2d_backward_weights", forward.geometry, diff_weights=learned, src=diff, diff_dst=source)
    diff_source = tape.back(source)
    if diff_source is not None:
        tape.emit("conv2d_forward", forward.geometry, dst=diff_source, src=diff, weights=weights)


def _linear(tape: Tape, forward: Instruction, diff: int) -> None:
    if forward.geometry["activation"]:
        diff = _through_activation(tape, forward, diff)
    _weights_and_data(tape, "linear", forward, {**forward.geometry, "activation": 0}, diff)


def _weights_and_data(tape: Tape, op: str, forward: Instruction, geometry: Mapping[str, Any], diff: int) -> None:
    weights, source = forward.operands["weights"], forward.operands["src"]
    if owner(forward) not in tape.frozen:
        gradients = {"diff_weights": tape.gradient_of_parameter(weights)}
        if "bias" in forward.operands:
            gradients["diff_bias"] = tape.gradient_of_parameter(forward.operands["bias"])
        tape.emit(f"{op}_backward_weights", geometry, **gradients, src=source, diff_dst=diff)
    diff_source = tape.back(source)
    if diff_source is not None:
        tape.emit(f"{op}_backward_data", geometry, diff_src=diff_source, diff_dst=diff, weights=weights)


def _unpool(tape: Tape, forward: Instruction, diff: int) -> int:
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


def _through_activation(tape: Tape, forward: Instruction, diff: int) -> int:
    """Through the activation that an op has fused: one of those whose gradient reads the output."""
    output, before = forward.operands["dst"], tape.new_like(diff)
    geometry = {"count": count_of(tape.values[output]), "slope": 0.0}
    op = f"{ACTIVATION_NAMES[forward.geometry['activation']]}_backward"
    tape.emit(op, geometry, diff_src=before, diff_dst=diff, dst=output)
    return before


def _reads(operand: str) -> Rule:
    """The rule of an op whose backward is `<op>_backward` and reads, besides diff_dst, one saved operand."""

    def rule(tape: Tape, forward: Instruction, diff: int) -> None:
        diff_source = tape.back(forward.operands["src"])
        if diff_source is None:
            return
        op = forward.op.removesuffix("_forward") + "_backward"
        saved = {operand: forward.operands[operand]} if operand else {}
        tape.emit(op, forward.geometry, diff_src=diff_source, diff_dst=diff, **saved)

    return rule


def _transposed(op: str) -> Rule:
    def rule(tape: Tape, forward: Instruction, diff: int) -> None:
        diff_source = tape.back(forward.operands["src"])
        if diff_source is not None:
            tape.emit(op, forward.geometry, dst=diff_source, src=diff)

    return rule


def _batchnorm(tape: Tape, forward: Instruction, diff: int) -> None:
    source, geometry = forward.operands["src"], forward.geometry
    if "addend" in forward.operands:  # it gets the same gradient, which is written only once
        if geometry["activation"]:
            diff = _through_activation(tape, forward, diff)
        geometry = {**geometry, "activation": 0}
        tape.contribute(forward.operands["addend"], diff)
    diff_source = tape.back(source)
    argmax = {"argmax": forward.operands["argmax"]} if geometry["pool"] else {}
    tape.emit(
        "batchnorm_backward",
        geometry,
        diff_src=tape.new_like(source) if diff_source is None else diff_source,
        **scale_and_shift(tape, forward),
        src=source,
        diff_dst=diff,
        **given(forward, *SCALE_SHIFT),
        save_mean=forward.operands["save_mean"],
        save_inv_std=forward.operands["save_inv_std"],
        **argmax,
    )


def _fixed_batchnorm(tape: Tape, forward: Instruction, diff: int) -> None:
    """Of a frozen one: diff_src = diff_dst * weights / sqrt(running_var + eps), by the forward op without bias and with
    zeros for the mean."""
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
        **given(forward, "weights"),
        running_mean=zeros,
        running_var=forward.operands["running_var"],
    )


def _add(tape: Tape, forward: Instruction, diff: int) -> None:
    tape.contribute(forward.operands["a"], diff)
    tape.contribute(forward.operands["b"], diff)


def _copy_channels(tape: Tape, forward: Instruction, diff: int) -> None:
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
    "conv2d_backward_data": _transposed_conv2d,
    "linear_forward": _linear,
    "maxpool2d_forward": _reads("argmax"),
    "avgpool2d_forward": _reads(""),
    "pad2d_forward": _reads(""),
    "upsample2d_forward": _reads(""),
    **{f"{name}_forward": _reads("dst" if name in BY_OUTPUT else "src") for name in ELEMENTWISE},
    "prelu_forward": prelu,
    "softmax_forward": _reads("dst"),
    "batchnorm_forward_training": _batchnorm,
    "batchnorm_forward_inference": _fixed_batchnorm,
    "groupnorm_forward": groupnorm,
    "dropout": _transposed("dropout"),
    "scale": _transposed("scale"),
    "scale_channels": scale_channels,
    "add_channels": add_channels,
    "multiply": multiply,
    "nhwc_to_nchw": _transposed("nchw_to_nhwc"),
    "nchw_to_nhwc": _transposed("nhwc_to_nchw"),
    "add": _add,
    "copy_channels": _copy_channels,
}
