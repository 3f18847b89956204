"""How long an instruction should take: a model in place of a timing, so that what it decides never depends on one.

An estimate is for one core and a whole batch. It is a sum of features of the geometry, each times a rate: the cycles
that the register tiles of the matrix product need, how many tiles are begun, bytes moved, elements transformed, and one
for the call itself. `engine.plan.rates` holds the rates by instruction set and kind of work; they were fitted to
measurements by `python -m experiments.checks.algorithms`, which also prints how good the choices are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from engine.plan import cost
from engine.plan.ir import Instruction, Value
from engine.plan.layout import PANEL
from engine.plan.rates import RATES, TILES

Geometry = Mapping[str, Any]
Features = tuple[float, ...]

TILE_BLOCK = 48  # tiles of Winograd's algorithm that one task transforms and multiplies: each reads the whole filter


def seconds(instruction: Instruction, values: Sequence[Value], batch: int, isa: str) -> float:
    """Modelled seconds of one run at this batch, on one core."""
    rates = RATES[isa if isa in RATES else "portable"]
    kind, counts = features(instruction, values, batch, isa)
    return sum(rate * count for rate, count in zip(rates[kind], counts, strict=True)) * 1e-9


def features(instruction: Instruction, values: Sequence[Value], batch: int, isa: str) -> tuple[str, Features]:
    """The kind of work, and how much there is of what that kind has rates for."""
    op, g = instruction.op, instruction.geometry
    if op.startswith("conv2d_"):
        return _direct(op.removeprefix("conv2d_"), g, batch, isa)
    if op in ("winograd_filter", "winograd_filter_backward"):
        return "winograd_filter", (_area(g) * g["ic"] * g["oc"], 1)
    if op.startswith("winograd_"):
        return _winograd(op.removeprefix("winograd_"), g, batch, isa)
    if op.startswith("linear_"):
        return op, _linear(op.removeprefix("linear_"), g, batch, isa)
    if op in ("check_gradients", "clip_gradients", "sgd", "adam"):
        return "update", (cost.bytes_touched(instruction, values, batch), 1)
    return "stream", (cost.bytes_touched(instruction, values, batch), cost.flops(instruction, batch), 1)


def _tiles(rows: int, columns: int, isa: str) -> tuple[float, int]:
    """(cycles per step of K, number of register tiles) of a matrix product with so many rows and columns.

    A step needs a load per vector of B and per row of A, two a cycle, and an FMA per row and vector, two a cycle; fewer
    than eight FMAs wait for those before. The last panel is computed whole.
    """
    most_rows, most_columns, width = TILES.get(isa, TILES["portable"])
    down = math.ceil(rows / most_rows)
    panels = math.ceil(columns / PANEL)
    wide, narrow = divmod(panels, most_columns // PANEL)

    def cycles(columns: int) -> float:
        vectors = columns // width
        each = rows / down
        return max(each * vectors, each + vectors, 8) / 2

    return down * (wide * cycles(most_columns) + narrow * cycles(PANEL)), down * (wide + narrow)


def _direct(direction: str, g: Geometry, batch: int, isa: str) -> tuple[str, Features]:
    """Cycles, register tiles, bytes of maps, bytes of weights, and the call."""
    inputs, outputs = g["ic"] // g["groups"], g["oc"] // g["groups"]
    taps = g["kh"] * g["kw"]
    if direction == "forward":
        steps, tiles = _tiles(g["ow"], outputs, isa)
        runs, depth = batch * g["oh"], taps * inputs
    elif direction == "backward_data":
        steps, tiles = _tiles(math.ceil(g["w"] / g["stride_w"]), inputs, isa)
        runs, depth = batch * g["h"] * g["stride_w"], taps * outputs / (g["stride_h"] * g["stride_w"])
    else:
        steps, tiles = _tiles(g["kw"] * inputs, outputs, isa)
        runs, depth = batch * g["kh"], g["oh"] * g["ow"]
    maps = 4 * batch * (g["h"] * g["w"] * g["ic"] + g["oh"] * g["ow"] * g["oc"])
    weights = 4 * taps * inputs * g["oc"]
    return _kind("direct", direction, g), (
        g["groups"] * runs * depth * steps, g["groups"] * runs * tiles, maps, weights, 1,
    )  # fmt: skip


def _winograd(direction: str, g: Geometry, batch: int, isa: str) -> tuple[str, Features]:
    """Cycles of the products, elements transformed on either side, filter elements times blocks of tiles, the call."""
    there = (g["h"], g["w"]) if direction == "backward_data" else (g["oh"], g["ow"])
    tiles = batch * math.prod(math.ceil(extent / g["tile"]) for extent in there)
    area, blocks = _area(g), math.ceil(tiles / TILE_BLOCK)
    if direction == "forward":
        steps, _ = _tiles(TILE_BLOCK, g["oc"], isa)
        depth = g["ic"]
    elif direction == "backward_data":
        steps, _ = _tiles(TILE_BLOCK, g["ic"], isa)
        depth = g["oc"]
    else:
        steps, _ = _tiles(g["ic"], g["oc"], isa)
        depth = tiles / blocks
    return _kind(f"winograd{g['tile']}x{g['kh']}", direction, g), (
        area * blocks * steps * depth * (tiles / (blocks * TILE_BLOCK) if direction != "backward_weights" else 1),
        area * tiles * g["ic"],
        area * tiles * g["oc"],
        area * blocks * g["ic"] * g["oc"],
        1,
    )


def _kind(algorithm: str, direction: str, g: Geometry) -> str:
    """A gradient that comes through a fused pool has zeros in three of four places."""
    pooled = ".pooled" if g["pool"] and direction != "forward" else ""
    return f"{algorithm}.{direction}{pooled}"


def _area(g: Geometry) -> int:
    """Elements of a transformed tile."""
    extent = g["tile"] + g["kh"] - 1
    return int(extent * extent)


def _linear(direction: str, g: Geometry, batch: int, isa: str) -> Features:
    """Cycles, bytes of activations, bytes of weights, and the call."""
    k, n = g["k"], g["n"]
    if direction == "forward":
        steps, depth = _tiles(batch, n, isa)[0], k
    elif direction == "backward_data":
        steps, depth = _tiles(batch, k, isa)[0], n
    else:
        steps, depth = _tiles(k, n, isa)[0], batch
    return steps * depth, 4 * batch * (k + n), 4 * k * n, 1
