"""How the weights of convolutions and linear layers lie in a C file: by blocks of outputs, those of one input side by
side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.program.slots import PANEL

Array = NDArray[np.float32]

_WIDTH = {False: 16, True: 32}  # outputs side by side: of several places, of one


@dataclass(frozen=True)
class Block:
    """Neighbouring outputs that are computed together, `count` times: `used` of `width`, the others have weights 0."""

    first: int
    count: int
    width: int
    used: int


def blocks_of(outputs: int, alone: bool = False) -> tuple[Block, ...]:
    """The blocks of so many outputs: whole ones, and one for what is left, in whole fours. `alone`: of one place."""
    width = _WIDTH[alone]
    whole, left = divmod(outputs, width)
    blocks = (Block(0, whole, width, width),) if whole else ()
    return blocks + ((Block(whole * width, 1, -(-left // 4) * 4, left),) if left else ())


def filters_of(panels: Array, g: Mapping[str, Any], columns: int, rows: int) -> Array:
    """Weights of a convolution as `columns_of` gives them, `columns` for each of its groups. Where every channel has
    one filter of its own they lie as the columns of one group."""
    if g["groups"] == g["ic"] == g["oc"]:
        return columns_of(panels, 1, g["oc"], rows).transpose(2, 1, 0)
    return columns_of(panels, g["groups"], columns, rows)


def columns_of(panels: Array, groups: int, columns: int, rows: int) -> Array:
    """Weights of the core's panels as (groups, rows, columns): rows are what a sum runs over, columns outputs."""
    split = panels.reshape(groups, -(-columns // PANEL), rows, PANEL)
    return split.transpose(0, 2, 1, 3).reshape(groups, rows, -1)[:, :, :columns]


def in_blocks(weights: Array, blocks: tuple[Block, ...]) -> Array:
    """(groups, rows, columns) → flat, [groups][blocks][rows][width], with zeros where a block has fewer outputs."""
    parts = []
    for group in weights:
        for block in blocks:
            for number in range(block.count):
                first = block.first + number * block.width
                part = np.zeros((len(group), block.width), np.float32)
                part[:, : block.used] = group[:, first : first + block.used]
                parts.append(part.reshape(-1))
    return np.concatenate(parts)


def floats_of(blocks: tuple[Block, ...], rows: int) -> int:
    return sum(block.count * block.width * rows for block in blocks)
