"""Runs a call of the table through the core, and compares what came out."""

from dataclasses import dataclass

import cnncore
import numpy as np
from numpy.typing import NDArray

from tests.ops.families.base import Family, OpCall

TOLERANCE = 1e-4  # of the largest absolute value of the reference
GUARD = 64  # bytes before and behind every output that must not change
GUARD_BYTE = 0xA5


@dataclass(frozen=True)
class Outcome:
    outputs: dict[str, NDArray]
    loss: float
    gradient_norm: float


class Guarded:
    """An aligned array between two guards. Starts as NaN (255 for bytes), or as a copy of `start`."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, start: NDArray | None):
        size = int(np.prod(shape)) * dtype.itemsize
        self.memory = cnncore.aligned_zeros(GUARD + size + GUARD, np.uint8)
        self.memory[:] = GUARD_BYTE
        self.array = self.memory[GUARD : GUARD + size].view(dtype).reshape(shape)
        if start is not None:
            self.array[...] = start
        else:
            self.array.fill(np.nan if dtype.kind == "f" else 255)

    def is_intact(self) -> bool:
        ends = self.memory[:GUARD], self.memory[GUARD + self.array.nbytes :]
        return all((end == GUARD_BYTE).all() for end in ends)


def execute(
    call: OpCall, *, reference: bool = False, threads: int = 1, shared: tuple[str, str] | None = None
) -> Outcome:
    """Run `call`; `shared` names an (output, input) pair that lies in the same memory.

    Asserts that nothing beside the outputs was written.
    """
    info = cnncore.OPS[call.op]
    outputs: dict[str, Guarded] = {}
    operands: dict[str, NDArray | None] = {}
    for operand in info.operands:
        start = call.inputs.get(operand.name)
        if operand.name in call.expected:
            expected = call.expected[operand.name]
            assert start is None or start.shape == expected.shape, f"{call.op} {operand.name}"
            outputs[operand.name] = Guarded(expected.shape, operand.dtype, start)
            operands[operand.name] = outputs[operand.name].array
        elif start is not None:
            assert start.dtype == operand.dtype, f"{call.op} {operand.name}: {start.dtype}"
            operands[operand.name] = np.ascontiguousarray(start)
    if shared:
        output, source = shared
        outputs[output].array[...] = call.inputs[source].reshape(call.expected[output].shape)
        operands[source] = outputs[output].array
    read_only = {name: array.copy() for name, array in operands.items() if name in call.inputs and array is not None}
    result = cnncore.run_op(
        call.op, operands, call.geometry, call.batch, reference=reference, threads=threads, seed=call.seed,
        step=call.step, learning_rate=call.learning_rate, **call.run,
    )  # fmt: skip
    for name, before in read_only.items():
        if name not in outputs and not (shared and name == shared[1]):
            assert np.array_equal(operands[name], before), f"{call.op} wrote into its input {name}"
    for name, output in outputs.items():
        assert output.is_intact(), f"{call.op} wrote outside {name}"
    return Outcome({name: output.array for name, output in outputs.items()}, result.loss, result.gradient_norm)


def describe(case: Family, call: OpCall, **more: object) -> str:
    """Every parameter of what failed."""
    settings = ", ".join(f"{name}={value}" for name, value in more.items())
    return f"{call.op} of {case}\n  geometry {call.geometry}\n  batch {call.batch}\n  {settings}"


def _difference(name: str, actual: NDArray, expected: NDArray, call: OpCall, tolerance: float) -> str | None:
    """A sentence about the worst element, or None when the output is good."""
    if actual.dtype.kind in "iu":
        wrong = (actual != expected) & ~call.doubtful.get(name, np.zeros(actual.shape, bool))
        return f"{name}: {wrong.sum()} of {wrong.size} elements differ" if wrong.any() else None
    scale = max(np.abs(expected).max(initial=0.0), call.scales.get(name, 0.0))
    error = np.abs(actual.astype(np.float64) - expected)
    if (error <= (0.0 if call.exact else tolerance) * scale).all():
        return None
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    return (
        f"{name}{[int(i) for i in worst]}: got {actual[worst]!r}, expected {expected[worst]!r}; error "
        f"{error[worst] / scale if scale else error[worst]:.3g} of {scale:.6g}, allowed {tolerance:g}"
    )


def differences(actual: Outcome, expected: Outcome, call: OpCall, tolerance: float = TOLERANCE) -> list[str]:
    found = [
        _difference(name, actual.outputs[name], value, call, tolerance) for name, value in expected.outputs.items()
    ]
    for name in ("loss", "gradient_norm"):
        got, want = getattr(actual, name), getattr(expected, name)
        if not abs(got - want) <= tolerance * abs(want):
            found.append(f"{name}: got {got!r}, expected {want!r}")
    return [sentence for sentence in found if sentence]


def same_bits(a: Outcome, b: Outcome) -> bool:
    return (a.loss, a.gradient_norm) == (b.loss, b.gradient_norm) and all(
        a.outputs[name].tobytes() == value.tobytes() for name, value in b.outputs.items()
    )


def oracle_outcome(call: OpCall) -> Outcome:
    return Outcome(call.expected, call.loss, call.gradient_norm)
