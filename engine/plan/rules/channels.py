"""Rules of gradients: normalisation by groups, products and sums by channel."""

from __future__ import annotations

from engine.plan.rules.tape import Tape, owner
from engine.program.code import Instruction

SCALE_SHIFT = ("weights", "bias")  # of a normalisation


def scale_and_shift(tape: Tape, forward: Instruction) -> dict[str, int]:
    """The gradients of those of the two that a normalisation has."""
    return {f"diff_{name}": tape.gradient_of_parameter(each) for name, each in given(forward, *SCALE_SHIFT).items()}


def given(forward: Instruction, *names: str) -> dict[str, int]:
    """Those of the operands that are not left out."""
    return {name: forward.operands[name] for name in names if name in forward.operands}


def groupnorm(tape: Tape, forward: Instruction, diff: int) -> None:
    source = forward.operands["src"]
    diff_source = tape.back(source)
    learned = {} if owner(forward) in tape.frozen else scale_and_shift(tape, forward)
    if diff_source is None and not learned:
        return
    tape.emit(
        "groupnorm_backward",
        forward.geometry,
        diff_src=tape.new_like(source) if diff_source is None else diff_source,
        **learned,
        src=source,
        diff_dst=diff,
        **given(forward, "weights", "save_mean", "save_inv_std"),
    )


def scale_channels(tape: Tape, forward: Instruction, diff: int) -> None:
    source, weights = forward.operands["src"], forward.operands["weights"]
    if owner(forward) not in tape.frozen:
        learned = tape.gradient_of_parameter(weights)
        tape.emit("scale_channels_backward_weights", forward.geometry, diff_weights=learned, src=source, diff_dst=diff)
    diff_source = tape.back(source)
    if diff_source is not None:
        tape.emit("scale_channels", forward.geometry, dst=diff_source, src=diff, weights=weights)


def add_channels(tape: Tape, forward: Instruction, diff: int) -> None:
    if owner(forward) not in tape.frozen:
        learned = tape.gradient_of_parameter(forward.operands["bias"])
        tape.emit("add_channels_backward", forward.geometry, diff_bias=learned, diff_dst=diff)
    tape.contribute(forward.operands["src"], diff)


def multiply(tape: Tape, forward: Instruction, diff: int) -> None:
    """Where b multiplies every row of a, its gradient is a sum over the rows."""
    a, b = forward.operands["a"], forward.operands["b"]
    diff_a = tape.back(a)
    if diff_a is not None:
        tape.emit("multiply", forward.geometry, dst=diff_a, a=diff, b=b)
    diff_b = tape.back(b)
    if diff_b is None:
        return
    if forward.geometry["rows"] == 1:
        tape.emit("multiply", forward.geometry, dst=diff_b, a=diff, b=a)
    else:
        tape.emit("multiply_backward", forward.geometry, diff_b=diff_b, a=a, diff_dst=diff)


def prelu(tape: Tape, forward: Instruction, diff: int) -> None:
    source, weights = forward.operands["src"], forward.operands["weights"]
    diff_source = tape.back(source)
    learns = forward.layer not in tape.frozen
    if diff_source is None and not learns:
        return
    gradients = {"diff_src": tape.new_like(source) if diff_source is None else diff_source}
    if learns:
        gradients["diff_weights"] = tape.gradient_of_parameter(weights)
    tape.emit("prelu_backward", forward.geometry, **gradients, diff_dst=diff, src=source, weights=weights)
