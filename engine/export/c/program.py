"""What of a network goes into the file: its inference program for one sample, with memory and constants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.layers.topology import Topology
from engine.network.network import Network
from engine.plan import INFERENCE, Request
from engine.plan.memory.arena import Arena, plan_arena
from engine.program.code import BUFFERS, CONSTANTS, EXTERNAL, INPUT_EXTERNAL, PARAMETERS, Code, Instruction, Value
from engine.quantize.network import QuantizedNetwork

Array = NDArray[np.float32]

ROWS_OF_A_POOL = "rows"
"""The operand that a convolution with a fused max-pool has here: two rows, which it pools as soon as they are there."""

SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Exported:
    """The program, where its values lie (bytes in one arena), and the weights as the core has them, by value."""

    code: Code
    arena: Arena
    arrays: Mapping[int, NDArray[Any]]
    topology: Topology
    doubles: int

    @property
    def in_bytes(self) -> bool:
        """Whether no value of the arena is a float, so that it can be one of bytes."""
        return all(self.code.values[value].dtype == "uint8" for value in self.arena.offsets)

    @property
    def arena_bytes(self) -> int:
        return self.arena.bytes

    @property
    def ram_bytes(self) -> int:
        """Bytes of all static buffers."""
        return self.arena_bytes + 8 * self.doubles

    def place(self, value: int, prefix: str) -> str:
        """Where a value lies, as C: the caller's array, or a place in the arena."""
        kind = self.code.values[value]
        if kind.space == EXTERNAL:
            return "image" if kind.offset == INPUT_EXTERNAL else "outputs"
        offset = self.arena.offsets[value]
        if kind.dtype == "float32":
            return f"{prefix}_arena + {offset // 4}"
        return f"{prefix}_arena + {offset}" if self.in_bytes else f"(uint8_t *){prefix}_arena + {offset}"

    def title(self, instruction: Instruction) -> str:
        """The layers that an instruction computes, with their arguments."""
        layers = {node.name: node.layer for node in self.topology.nodes}
        names = instruction.layer.split("+")
        known = [f"{name}: {layers[name]}" for name in names if name in layers]
        return ", ".join(known) if known else instruction.layer


def exported(network: Network) -> Exported:
    """The program of one sample with direct convolutions; UserError for weights that are not finite."""
    _check_finite(network)
    compiled = network.programs.compile(Request(INFERENCE, 1, algorithm="direct"))
    network.programs.refresh(compiled)
    code = _without_positions(compiled.plan.code)
    doubles = max((moments(each) for each in code.instructions), default=0)
    spaces = {PARAMETERS: network.store.data, BUFFERS: network.store.buffers, CONSTANTS: compiled.constants}
    arrays = {
        number: _slice(spaces[value.space], value) for number, value in enumerate(code.values) if value.space in spaces
    }
    read = {value for instruction in code.instructions for value in instruction.operands.values()}
    for number in sorted(read & arrays.keys()):
        if not np.isfinite(arrays[number]).all():
            layer = next(each.layer for each in code.instructions if number in each.operands.values())
            raise UserError(f"layer {layer!r}: folded with its batch normalisation, weights are NaN or infinite")
    return Exported(code, plan_arena(code, 1), arrays, network.topology, doubles)


def exported_integers(network: QuantizedNetwork) -> Exported:
    """The same of a quantised network, whose weights are not in panels here."""
    execution = network.execution
    compiled, weights = execution.compile(1, True, "direct"), execution.lowered(True, "direct").weights
    code, part = _without_positions(compiled.plan.code), execution.part
    spaces = {PARAMETERS: part.data, BUFFERS: part.buffers, CONSTANTS: compiled.constants}
    arrays: dict[int, NDArray[Any]] = {}
    for number, value in enumerate(code.values):
        if value.space not in spaces:
            continue
        if value.dtype == "float32":
            arrays[number] = _slice(spaces[value.space], value)
            continue
        held = spaces[value.space].view(np.uint8)[value.offset : value.offset + value.bytes(1)]
        arrays[number] = weights.get(number, held.view(value.dtype))
    doubles = max((moments(each) for each in code.instructions), default=0)
    return Exported(code, plan_arena(code, 1), arrays, network.topology, doubles)


def moments(instruction: Instruction) -> int:
    """Doubles that a group normalisation keeps: a mean and a sum of squares for each part and channel."""
    if instruction.op != "groupnorm_forward":
        return 0
    geometry = instruction.geometry
    return 2 * geometry["c"] * parts_of(geometry["rows"], geometry["c"])


def parts_of(rows: int, channels: int) -> int:
    """In how many parts the core sums a sample's rows (csrc/src/ops/norm.h, groupnorm.c)."""
    return max(1, min(rows * channels // 32768, rows // 64, 16))


def _check_finite(network: Network) -> None:
    for key, values in (*network.parameters().items(), *network.buffers().items()):
        if not np.isfinite(values).all():
            raise UserError(f"{key}: cannot be exported: it holds NaN or infinite values")


def _slice(space: Array, value: Value) -> Array:
    """The numbers of a persistent value; those below the smallest normal one are 0, as while the engine runs."""
    start = value.offset // 4
    numbers = space[start : start + math.prod(value.shape)].copy()
    numbers[np.abs(numbers) < SMALLEST_NORMAL] = 0.0
    return numbers


def _without_positions(code: Code) -> Code:
    """Positions of maxima, which only training reads, are not kept; rows that are pooled get a place."""
    values = list(code.values)
    instructions = []
    for each in code.instructions:
        operands = {name: value for name, value in each.operands.items() if name != "argmax"}
        if each.op == "conv2d_forward" and each.geometry["pool"]:
            values.append(Value((2, each.geometry["ow"], each.geometry["oc"])))
            operands[ROWS_OF_A_POOL] = len(values) - 1
        instructions.append(replace(each, operands=operands))
    return replace(code, values=tuple(values), instructions=tuple(instructions))
