"""An op in a program gets a workspace full of what others left there: here NaN. Its bits must not change."""

from functools import cache

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.ops.cases import CASES
from tests.ops.execution import describe, execute
from tests.ops.families.base import Family, OpCall
from tests.ops.families.convolution import Conv2D, Linear

WORKSPACE_USERS = (
    "Conv2D",
    "Linear",
    "BatchNorm",
    "GroupNorm",
    "Scale",
    "Shift",
    "Multiply",
    "Dropout",
    "Clip",
    "Loss",
    "Upsample2D",
)
LARGEST_BATCH = 33  # beyond it, drawing the dirt takes the time
CLEAN = [
    (case, call)
    for case in CASES
    if type(case).__name__ in WORKSPACE_USERS
    for call in case.calls()
    if call.batch <= LARGEST_BATCH
]


@cache
def dirt(batch: int) -> list[OpCall]:
    """Calls that use more workspace than those under test."""
    large: list[Family] = [
        Conv2D(batch, 14, 14, 32, 48, pad=(1, 1, 1, 1), relu=True),
        Conv2D(batch, 14, 14, 6, 16, kernel=(5, 5), relu=True, pool=True),
        Linear(batch, 1152, 130),
    ]
    return [call for case in large for call in case.calls()]


class Layout:
    """Places arrays one behind the other: what an op finds places by among the constants, all else in the buffers."""

    def __init__(self) -> None:
        self.arrays: list[NDArray] = []
        self.operands: list[tuple[str, int, int]] = []
        self.sizes = {"buffers": 0, "constants": 0}

    def place(self, array: NDArray, is_table: bool = False) -> int:
        space = "constants" if is_table else "buffers"
        self.arrays.append(np.ascontiguousarray(array))
        self.operands.append((space, self.sizes[space], array.nbytes))
        self.sizes[space] += -(-array.nbytes // cnncore.ALIGNMENT) * cnncore.ALIGNMENT
        return len(self.operands) - 1

    def spaces(self) -> dict[str, NDArray[np.uint8]]:
        memory = {space: cnncore.aligned_zeros(size, np.uint8) for space, size in self.sizes.items()}
        for array, (space, offset, size) in zip(self.arrays, self.operands):
            memory[space][offset : offset + size] = array.reshape(-1).view(np.uint8)
        return memory


def placed(layout: Layout, call: OpCall, dirty: bool) -> tuple[str, dict[str, int], dict[str, float]]:
    """The instruction of `call`; dirty: every float input is NaN."""
    operands = {}
    for operand in cnncore.OPS[call.op].operands:
        if operand.name in call.inputs:
            value = call.inputs[operand.name]
            is_float = value.dtype.kind == "f"
            is_table = operand.dtype in (np.uint8, cnncore.SEGMENT_DTYPE)
            operands[operand.name] = layout.place(
                np.full_like(value, np.nan) if dirty and is_float else value, is_table
            )
        elif operand.name in call.expected:
            operands[operand.name] = layout.place(np.zeros(call.expected[operand.name].shape, operand.dtype))
    return call.op, operands, call.geometry


@pytest.mark.parametrize("case, call", CLEAN, ids=[f"{i}-{call.op}" for i, (_, call) in enumerate(CLEAN)])
def test_workspace_full_of_nan(case: Family, call: OpCall) -> None:
    layout = Layout()
    instructions = [placed(layout, each, dirty=True) for each in dirt(call.batch)]
    instructions.append(placed(layout, call, dirty=False))
    spaces = layout.spaces()
    program = cnncore.Program(instructions, layout.operands, call.batch, 0, spaces)
    program.run(call.batch, [], seed=call.seed, step=call.step)
    for name, expected in execute(call).outputs.items():
        _, offset, size = layout.operands[instructions[-1][1][name]]
        assert spaces["buffers"][offset : offset + size].tobytes() == expected.tobytes(), describe(
            case, call, output=name
        )
