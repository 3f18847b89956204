"""How long an instruction should take: a model in place of a timing, so that what it decides never depends on one.

An estimate is for one core and a whole batch. It is a sum of features of the geometry, each times a rate: the cycles
that the register tiles of the matrix product need, how many tiles are begun, bytes moved, elements transformed, and one
for the call itself. `engine.plan.cost.rates` holds the rates by instruction set and kind of work; they were fitted to
measurements by `python -m experiments.checks.algorithms`, which also prints how good the choices are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from engine.plan.cost import counts
from engine.plan.cost.rates import RATES, TILES
from engine.program.code import Instruction, Value
from engine.program.slots import PANEL

Geometry = Mapping[str, Any]
Features = tuple[float, ...]

# What a core has to itself: beyond it, weights and filters come in from further away at every use.
CACHE_BYTES = 1 << 20

# How csrc/src/ops/winograd.c and winograd_weights.c cut their work, as far as it decides what is read how often.
BLOCK, BLOCK_OF_MANY, MANY_CHANNELS = 18, 42, 128
CHUNK, CHANNELS = 96, 128

# From how many channels on, and where lists are less work, conv2d_pick.c leaves a gradient to the lists.
MOST_PICKED, LISTING = 8, 6


# When csrc/src/ops/conv2d.c puts pixels in the lanes, and the largest block of channels of bodies/lanes.h.
LANES, LEAST_GAIN, LANES_CHANNELS = 8, 1.15, 6


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
        columns, rows = (g["oc"], g["ic"]) if op == "winograd_filter" else (g["ic"], g["oc"])
        return f"{op}{g['tile']}x{g['kh']}", _filter(_area(g) * rows * _whole(columns), rows)
    if op.startswith("winograd_"):
        return _winograd(op.removeprefix("winograd_"), g, batch, isa)
    if op.startswith("linear_"):
        return op, _linear(op.removeprefix("linear_"), g, batch, isa)
    if op in ("check_gradients", "clip_gradients", "sgd", "adam"):
        return "update", (counts.bytes_touched(instruction, values, batch), 1)
    return "stream", (counts.bytes_touched(instruction, values, batch), counts.flops(instruction, batch), 1)


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
    """Cycles, register tiles, bytes of maps, of weights, and of those beyond the cache, and the call."""
    inputs, outputs = g["ic"] // g["groups"], g["oc"] // g["groups"]
    taps = g["kh"] * g["kw"]
    if direction == "backward_weights" and _picks(g):
        return "pick.backward_weights", _pick(g, batch)
    if g["pool"] and direction != "forward":
        return _kind("direct", direction, g), _sparse(g, batch)
    if direction == "forward":
        steps, tiles = _lanes(g["ow"], outputs, isa) if _pixels_in_lanes(g) else _tiles(g["ow"], outputs, isa)
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
        g["groups"] * runs * depth * steps, g["groups"] * runs * tiles, maps, weights, max(0, weights - CACHE_BYTES), 1,
    )  # fmt: skip


def _pixels_in_lanes(g: Geometry) -> bool:
    """Whether csrc/src/ops/conv2d.c has pixels in the lanes of its vectors: few output channels."""
    if g["groups"] > 1 or g["stride_w"] > 1 or g["oc"] >= PANEL or g["kh"] * g["kw"] == 1:
        return False
    return bool(g["ow"] / (math.ceil(g["ow"] / LANES) * LANES) > LEAST_GAIN * g["oc"] / PANEL)


def _lanes(pixels: int, channels: int, isa: str) -> tuple[float, int]:
    """As `_tiles`, for a row of pixels that take the lanes: pairs of vectors times blocks of channels."""
    width = TILES.get(isa, TILES["portable"])[2]
    pairs, blocks = math.ceil(pixels / width) / 2, math.ceil(channels / LANES_CHANNELS)
    each = channels / blocks
    return pairs * blocks * max(each * 2, each + 2, 8) / 2, math.ceil(pairs * blocks)


def _sparse(g: Geometry, batch: int) -> Features:
    """A gradient that comes through a fused pool, of which at most one element in a window is not zero.

    Vectors to add up for these elements, the elements, vectors in reach of the windows, bytes of maps, of weights, and
    of those beyond the cache, and the call.
    """
    windows = batch * (g["oh"] // 2) * (g["ow"] // 2)
    weights = 4 * g["kh"] * g["kw"] * g["ic"] * g["oc"]
    return (
        windows * g["oc"] * g["kh"] * math.ceil(g["kw"] * g["ic"] / PANEL),
        windows * g["oc"],
        windows * (g["kh"] + 1) * math.ceil((g["kw"] + 1) * g["ic"] / PANEL),
        4 * batch * (g["h"] * g["w"] * g["ic"] + g["oh"] * g["ow"] * g["oc"] // 4),
        weights,
        max(0, weights - CACHE_BYTES),
        1,
    )


def _picks(g: Geometry) -> bool:
    """Whether csrc/src/ops/conv2d_pick.c computes the gradient by the weights: pooled, and few input channels."""
    plain = all(g[name] == 1 for name in ("stride_h", "stride_w", "dilation_h", "dilation_w", "groups"))
    products = g["kh"] * g["kw"] * g["ic"] * math.ceil(g["oc"] / PANEL)
    lists = g["oc"] * (g["kh"] * math.ceil(g["kw"] * g["ic"] / PANEL) // 2 + LISTING)
    return bool(g["pool"] and plain and g["ic"] <= MOST_PICKED and products <= lists)


def _pick(g: Geometry, batch: int) -> Features:
    """Products of vectors, one for every weight in a window; windows; bytes of maps; the call."""
    windows = batch * (g["oh"] // 2) * (g["ow"] // 2)
    panels = math.ceil(g["oc"] / PANEL)
    maps = 4 * batch * (g["h"] * g["w"] * g["ic"] + g["oh"] * g["ow"] * g["oc"] // 4)
    return windows * g["kh"] * g["kw"] * g["ic"] * panels, windows * panels, maps, 1


def _winograd(direction: str, g: Geometry, batch: int, isa: str) -> tuple[str, Features]:
    """Cycles of the products, register tiles, elements transformed on either side, moved, filtered; the call."""
    if direction == "backward_weights":
        counts = _winograd_weights(g, batch, isa)
    elif direction == "backward_data":
        counts = _winograd_maps(g, g["h"], g["w"], g["oc"], g["ic"], batch, isa)
    else:
        counts = _winograd_maps(g, g["oh"], g["ow"], g["ic"], g["oc"], batch, isa)
    return _kind(f"winograd{g['tile']}x{g['kh']}", direction, g), counts


def _winograd_maps(g: Geometry, h: int, w: int, inputs: int, outputs: int, batch: int, isa: str) -> Features:
    """A pass from maps to maps: blocks of tiles, each of which reads the whole filter."""
    area = _area(g)
    tiles = batch * math.ceil(h / g["tile"]) * math.ceil(w / g["tile"])
    blocks = math.ceil(tiles / (BLOCK if inputs < MANY_CHANNELS else BLOCK_OF_MANY))
    steps, register_tiles = _tiles(math.ceil(tiles / blocks), outputs, isa)
    filters = area * inputs * _whole(outputs)
    return (
        area * blocks * steps * inputs,
        area * blocks * register_tiles,
        area * tiles * _whole(inputs),
        area * tiles * _whole(outputs),
        blocks * filters,
        blocks * max(0, filters - CACHE_BYTES // 4),
        max(0, filters - 4 * CACHE_BYTES // 4),
        1,
    )


def _winograd_weights(g: Geometry, batch: int, isa: str) -> Features:
    """The weight gradient: blocks of channels, whose sums take up chunks of tiles one after the other."""
    area = _area(g)
    tiles = batch * math.ceil(g["oh"] / g["tile"]) * math.ceil(g["ow"] / g["tile"])
    oc_blocks, ic_blocks = math.ceil(g["oc"] / CHANNELS), math.ceil(g["ic"] / CHANNELS)
    oc_block = math.ceil(math.ceil(g["oc"] / PANEL) / oc_blocks) * PANEL
    ic_block = math.ceil(g["ic"] / ic_blocks)
    chunks = math.ceil(tiles / CHUNK)
    steps, register_tiles = _tiles(ic_block, oc_block, isa)
    blocks, sums = oc_blocks * ic_blocks, g["ic"] * _whole(g["oc"])
    return (
        area * blocks * steps * tiles,
        area * blocks * chunks * register_tiles,
        area * tiles * _whole(g["ic"]) * oc_blocks,
        area * tiles * _whole(g["oc"]) * ic_blocks,
        area * chunks * sums,
        area * sums,
        max(0, g["kh"] * g["kw"] * sums - CACHE_BYTES // 4),
        1,
    )


def _kind(algorithm: str, direction: str, g: Geometry) -> str:
    """A gradient that comes through a fused pool has zeros in three of four places."""
    pooled = ".pooled" if g["pool"] and direction != "forward" else ""
    return f"{algorithm}.{direction}{pooled}"


def _filter(elements: int, rows: int) -> Features:
    """Elements, the same where they lie so far apart that all fall into one set of the first cache, those that go
    further than the second, and the call."""
    return elements, elements if rows * 2 * PANEL * 4 % 4096 == 0 else 0, max(0, elements - CACHE_BYTES), 1


def _whole(channels: int) -> int:
    """Channels in whole panels, which is how vectors take them."""
    return math.ceil(channels / PANEL) * PANEL


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
