"""The parts of a C file while they are written: tables, functions, and the calls of the program in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.export.c.program import Exported
from engine.export.c.sums.plain import Products, terms_of
from engine.export.c.sums.vectors import Adder, Tile
from engine.export.c.text import comment, fill, numbers
from engine.program.code import Instruction

Array = NDArray[np.float32]

ITEM_BYTES = {"float": 4, "uint16_t": 2, "int32_t": 4, "int8_t": 1, "uint8_t": 1}


@dataclass(frozen=True)
class Table:
    """Constants in the flash: a name, its C type, how many numbers, and their text."""

    name: str
    kind: str
    count: int
    text: str

    @property
    def bytes(self) -> int:
        return self.count * ITEM_BYTES[self.kind]


def _literal(value: int) -> str:
    """A number of an int32; C has no literal for the least of them."""
    return str(value) if value > -(2**31) else "(-2147483647 - 1)"


@dataclass
class Unit:
    """What has been written so far. `functions` are the layers' own, in order; `helpers` name what they call; `marks`
    has how many calls stand before those of some ops."""

    exported: Exported
    prefix: str
    simd: bool
    tables: list[Table] = field(default_factory=list)
    helpers: dict[str, None] = field(default_factory=dict)
    loops: dict[Products | Adder | Tile, None] = field(default_factory=dict)
    zeros: int = 0  # of the table that edges read
    functions: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)

    def integers(self, name: str, values: NDArray[Any]) -> None:
        """Add a table of integers."""
        flat = values.reshape(-1).tolist()
        lines = (flat[start : start + 24] for start in range(0, len(flat), 24))
        text = "".join(f"    {', '.join(map(_literal, line))},\n" for line in lines)
        self.tables.append(Table(name, f"{values.dtype.name}_t", len(flat), text))

    @property
    def table_bytes(self) -> int:
        return sum(table.bytes for table in self.tables)


@dataclass
class Layer:
    """One instruction on its way into the unit. Its function is called PREFIX_layer_NUMBER."""

    unit: Unit
    number: int
    instruction: Instruction

    @property
    def geometry(self) -> Mapping[str, int]:
        return self.instruction.geometry

    @property
    def name(self) -> str:
        return f"{self.unit.prefix}_layer_{self.number}"

    def has(self, operand: str) -> bool:
        return operand in self.instruction.operands

    def array(self, operand: str) -> NDArray[Any]:
        """Weights, as the core has them."""
        return self.unit.exported.arrays[self.instruction.operands[operand]]

    def helper(self, name: str) -> str:
        """The C name of a function of engine.export.c.functions, which the file then has."""
        self.unit.helpers[name] = None
        return f"{self.unit.prefix}_{name}"

    def loop(self, loop: Products | Adder | Tile) -> str:
        """The C name of an inner loop, which the file then has."""
        self.unit.loops[loop] = None
        return f"{self.unit.prefix}_{loop.name}"

    def adder(self, width: int, inputs: int) -> str:
        """The C name of the inner loop that adds products of so many inputs to `width` sums of one place."""
        return self.loop(Adder(width) if self.unit.simd else Products(1, width, terms_of(inputs)))

    def table(self, name: str, values: Array) -> str:
        """The C name of a table of floats, which the file then has."""
        full = f"{self.name}_{name}"
        self.unit.tables.append(Table(full, "float", values.size, numbers(values)))
        return full

    def indices(self, name: str, values: Sequence[int]) -> str:
        """The same of whole numbers from 0 to 65535."""
        full = f"{self.name}_{name}"
        lines = (values[start : start + 16] for start in range(0, len(values), 16))
        text = "".join(f"    {', '.join(map(str, line))},\n" for line in lines)
        self.unit.tables.append(Table(full, "uint16_t", len(values), text))
        return full

    def integers(self, name: str, values: NDArray[Any]) -> str:
        """The same of a table of uint8, int8 or int32."""
        full = f"{self.name}_{name}"
        self.unit.integers(full, values)
        return full

    def function(self, body: str, /, **fields: object) -> None:
        """Add a function, below a comment with the layers' names. $name, $n and $N are filled in."""
        title = comment(self.unit.exported.title(self.instruction))
        self.unit.functions.append(f"\n/* {title} */\n" + self.filled(body, **fields).lstrip("\n"))

    def filled(self, body: str, /, **fields: object) -> str:
        return fill(body, name=self.name, n=self.unit.prefix, N=self.unit.prefix.upper(), **fields)

    def call(self, *operands: str) -> None:
        """Call the function with these operands, by name."""
        values = (self.instruction.operands[operand] for operand in operands)
        places = (self.unit.exported.place(value, self.unit.prefix) for value in values)
        self.unit.calls.append(f"    {self.name}({', '.join(places)});\n")
