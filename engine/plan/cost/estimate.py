"""How long an instruction should take: a model in place of a timing, so that what it decides never depends on one.

An estimate is for one core and a whole batch. It is a sum of features of the geometry, each times a rate: the cycles
that the register tiles of the matrix product need, how many tiles are begun, bytes moved, elements transformed, the
arithmetic of functions such as exp, and one for the call itself. Which variant of an op runs, and how it cuts its work,
is asked of the core. `rates.py` holds the rates by instruction set and kind of work; they were fitted to measurements
by `python -m experiments.checks.algorithms`, which also prints how good the choices are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import cnncore
from cnncore import PANEL

from engine.errors import UserError
from engine.plan.cost import counts
from engine.plan.cost.rates import RATES
from engine.program.code import ITEM_BYTES, Instruction, Value

Geometry = Mapping[str, Any]
Features = tuple[float, ...]

# What a core has to itself: beyond it, weights and filters come in from further away at every use.
CACHE_BYTES = 1 << 20
UPDATES = (
    "check_gradients",
    "accumulate_gradients",
    "clip_gradients",
    "sgd",
    "adam",
    "nadam",
    "rmsprop",
    "average",
    "lookahead",
)
FUNCTION = "function"  # the work of an activation with a transcendental function: bound by its arithmetic
OWN = (  # ops that move memory, but not as evenly as a stream
    "groupnorm_forward",
    "groupnorm_backward",
    "multiply_backward",
    "pad2d_forward",
    "pad2d_backward",
    "scale_channels_backward_weights",
    "upsample2d_forward",
    "upsample2d_backward",
)
BY_BYTES = ("stream", "update", FUNCTION, *OWN)  # kinds of work with the bytes of the operands as the first feature
_FIELDS = cnncore.GEOMETRIES["conv2d"]
_NUMBERS = itemgetter(*_FIELDS)
WAY_BYTES = 4096  # addresses that far apart fall into one set of the first cache


def seconds(instruction: Instruction, values: Sequence[Value], batch: int, isa: str) -> float:
    """Modelled seconds of one run at this batch, on one core."""
    rates = RATES[isa if isa in RATES else "portable"]
    kind, amounts = features(instruction, values, batch, isa)
    if kind not in rates:
        raise UserError(
            f"op {instruction.op!r} of layer {instruction.layer!r} has no cost: engine/plan/cost/rates.py has no rates "
            f"for work of the kind {kind!r}"
        )
    fused = 0 if kind == FUNCTION else rates[FUNCTION][1] * counts.function_flops(instruction, batch)
    return (sum([rate * amount for rate, amount in zip(rates[kind], amounts, strict=True)]) + fused) * 1e-9


def features(instruction: Instruction, values: Sequence[Value], batch: int, isa: str) -> tuple[str, Features]:
    """The kind of work, and how much there is of what that kind has rates for."""
    op, g = instruction.op, instruction.geometry
    if op in ("conv2d_int8", "linear_int8", "winograd_int8"):
        kind = "depthwise.int8" if g.get("groups", 1) > 1 and g["groups"] == g["ic"] == g["oc"] else op
        return kind, (counts.flops(instruction, batch), counts.bytes_touched(instruction, values, batch), 1)
    if op.startswith(("conv2d_", "winograd_")):
        return _convolution(op, _NUMBERS(g), batch, isa, cnncore.isa())
    if op.startswith("linear_"):
        return op, _linear(op.removeprefix("linear_"), g, batch, isa)
    if op in UPDATES:
        return "update", (counts.bytes_touched(instruction, values, batch), 1)
    if counts.is_function(op) and counts.function_flops(instruction, batch):
        return FUNCTION, (counts.bytes_touched(instruction, values, batch), counts.done(instruction, batch), 1)
    kind = op if op in OWN else "stream"
    return kind, (counts.bytes_touched(instruction, values, batch), counts.flops(instruction, batch), 1)


@lru_cache(maxsize=256)  # asked when the algorithms are chosen, and again of those that were
def _convolution(op: str, numbers: tuple[int, ...], batch: int, isa: str, running: str) -> tuple[str, Features]:
    """`running` is the instruction set that the core is asked on; `numbers` are the geometry, in the order of cnn.h."""
    g = dict(zip(_FIELDS, numbers, strict=True))
    if op.startswith("conv2d_"):
        return _direct(op.removeprefix("conv2d_"), g, batch, isa)
    if op in ("winograd_filter", "winograd_filter_backward"):
        columns, rows = (g["oc"], g["ic"]) if op == "winograd_filter" else (g["ic"], g["oc"])
        together = cnncore.op_blocking(op, g, batch).filter_columns
        return f"{op}{g['tile']}x{g['kh']}", _filter(_area(g) * rows * _whole(columns), rows * together)
    return _winograd(op.removeprefix("winograd_"), g, batch, isa)


@lru_cache(maxsize=256)
def _tiles(rows: int, columns: int, isa: str) -> tuple[float, int]:
    """(cycles per step of K, number of register tiles) of a matrix product with so many rows and columns.

    A step needs a load per vector of B and per row of A, two a cycle, and an FMA per row and vector, two a cycle; fewer
    than eight FMAs wait for those before. The last panel is computed whole.
    """
    most_rows, most_columns, width = cnncore.register_tile(isa)
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
    blocking = cnncore.op_blocking(f"conv2d_{direction}", dict(g), batch)
    if blocking.variant == "depthwise":
        return f"depthwise.{direction}", _depthwise(g, batch)
    if blocking.variant == "pick":
        return "pick.backward_weights", _pick(g, batch)
    if blocking.variant == "sparse":
        return f"direct.{direction}.pooled", _sparse(g, batch)
    if direction == "forward":
        lanes = blocking.variant == "lanes"
        steps, tiles = _lanes(g["ow"], outputs, blocking, isa) if lanes else _tiles(g["ow"], outputs, isa)
        runs, depth = batch * g["oh"], taps * inputs
    elif direction == "backward_data":
        steps, tiles = _tiles(math.ceil(g["w"] / g["stride_w"]), inputs, isa)
        runs, depth = batch * g["h"] * g["stride_w"], taps * outputs / (g["stride_h"] * g["stride_w"])
    else:
        steps, tiles = _tiles(g["kw"] * inputs, outputs, isa)
        runs, depth = batch * g["kh"], g["oh"] * g["ow"]
    maps = 4 * batch * (g["h"] * g["w"] * g["ic"] + g["oh"] * g["ow"] * g["oc"])
    weights = 4 * taps * inputs * g["oc"]
    return f"direct.{direction}", (
        g["groups"] * runs * depth * steps, g["groups"] * runs * tiles, maps, weights, max(0, weights - CACHE_BYTES), 1,
    )  # fmt: skip


def _lanes(pixels: int, channels: int, blocking: cnncore.Blocking, isa: str) -> tuple[float, int]:
    """As `_tiles`, for a row of pixels that take the lanes: groups of vectors times blocks of channels."""
    vectors, width = blocking.lane_vectors, cnncore.register_tile(isa).width
    groups, blocks = math.ceil(pixels / width) / vectors, math.ceil(channels / blocking.lane_channels)
    each = channels / blocks
    return groups * blocks * max(each * vectors, each + vectors, 8) / 2, math.ceil(groups * blocks)


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


def _depthwise(g: Geometry, batch: int) -> Features:
    """Products of vectors of channels, bytes of maps, of the weights, and the call."""
    products = batch * g["oh"] * g["ow"] * g["kh"] * g["kw"] * math.ceil(g["oc"] / PANEL)
    maps = 4 * batch * (g["h"] * g["w"] * g["ic"] + g["oh"] * g["ow"] * g["oc"])
    return products, maps, 4 * g["kh"] * g["kw"] * _whole(g["oc"]), 1


def _pick(g: Geometry, batch: int) -> Features:
    """Products of vectors, one for every weight in a window; windows; bytes of maps; the call."""
    windows = batch * (g["oh"] // 2) * (g["ow"] // 2)
    panels = math.ceil(g["oc"] / PANEL)
    maps = 4 * batch * (g["h"] * g["w"] * g["ic"] + g["oh"] * g["ow"] * g["oc"] // 4)
    return windows * g["kh"] * g["kw"] * g["ic"] * panels, windows * panels, maps, 1


def _winograd(direction: str, g: Geometry, batch: int, isa: str) -> tuple[str, Features]:
    """Cycles of the products, register tiles, elements transformed on either side, moved, filtered; the call."""
    blocking = cnncore.op_blocking(f"winograd_{direction}", dict(g), batch)
    area = counts.winograd_positions(direction, g) * batch / blocking.tiles  # of a transformed tile, on average
    if direction == "backward_weights":
        amounts = _winograd_weights(g, area, blocking, isa)
    elif direction == "backward_data":
        amounts = _winograd_maps(g, area, g["oc"], g["ic"], blocking, isa)
    else:
        amounts = _winograd_maps(g, area, g["ic"], g["oc"], blocking, isa)
    # A gradient that comes through a fused pool has zeros in three of four places.
    pooled = ".pooled" if g["pool"] and direction != "forward" else ""
    return f"winograd{g['tile']}x{g['kh']}.{direction}{pooled}", amounts


def _winograd_maps(
    g: Geometry, area: float, inputs: int, outputs: int, blocking: cnncore.Blocking, isa: str
) -> Features:
    """A pass from maps to maps: blocks of tiles, each of which reads the whole filter."""
    tiles = blocking.tiles
    blocks = math.ceil(tiles / blocking.tile_block)
    steps, register_tiles = _tiles(math.ceil(tiles / blocks), outputs, isa)
    filters = _area(g) * inputs * _whole(outputs)
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


def _winograd_weights(g: Geometry, area: float, blocking: cnncore.Blocking, isa: str) -> Features:
    """The weight gradient: blocks of channels, whose sums take up chunks of tiles one after the other."""
    whole, tiles = _area(g), blocking.tiles
    ic_blocks, oc_blocks = blocking.ic_blocks, blocking.oc_blocks
    chunks = math.ceil(tiles / blocking.tile_block)
    steps, register_tiles = _tiles(math.ceil(g["ic"] / ic_blocks), blocking.oc_block, isa)
    blocks, sums = oc_blocks * ic_blocks, g["ic"] * _whole(g["oc"])
    return (
        area * blocks * steps * tiles,
        area * blocks * chunks * register_tiles,
        area * tiles * _whole(g["ic"]) * oc_blocks,
        area * tiles * _whole(g["oc"]) * ic_blocks,
        whole * chunks * sums,
        whole * sums,
        max(0, g["kh"] * g["kw"] * sums - CACHE_BYTES // 4),
        1,
    )


def _filter(elements: int, position: int) -> Features:
    """Elements, the same where they lie so far apart that all fall into one set of the first cache, those that go
    further than the second, and the call. `position` elements lie from one place of a transformed tile to the next."""
    far = position * ITEM_BYTES["float32"] % WAY_BYTES == 0
    return elements, elements if far else 0, max(0, elements - CACHE_BYTES), 1


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
