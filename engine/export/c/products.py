"""The inner loops of convolutions and linear layers as C text: sums of products for neighbouring outputs side by side.

A sum takes its terms in one order whatever the loops look like: terms go to it one after the other, and what stands
side by side are sums of different outputs. So a compiler may vectorise the loops over outputs, and every form has the
same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.export.c.text import fill
from engine.program.slots import PANEL

Array = NDArray[np.float32]

PLACES = 4
"""Places of a row that a convolution computes together, so that each weight that is loaded serves them all."""

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


def terms_of(count: int) -> int:
    """How many terms of a sum of `count` go into one statement: a divisor, where there is a handy one."""
    return next((terms for terms in (4, 3, 5, 7) if count % terms == 0), min(count, 4))


@dataclass(frozen=True)
class Products:
    """A function that adds `count` products to each of `places` x `width` sums, `terms` in one statement."""

    places: int
    width: int
    terms: int

    @property
    def name(self) -> str:
        return f"add_{self.places}x{self.width}_by_{self.terms}"

    def text(self, prefix: str, simd: bool) -> str:
        return _fields(self, _VECTORS if simd else _PLAIN, prefix)


SIMD_TYPES = """
/* Vectors of GCC's and clang's extension, as wide as the instruction set has them. */
#if defined(__AVX512F__)
#define ${N}_LANES 16
#elif defined(__AVX__)
#define ${N}_LANES 8
#else
#define ${N}_LANES 4
#endif
typedef float ${n}_vec4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef float ${n}_vec8 __attribute__((vector_size(4 * (${N}_LANES < 8 ? 4 : 8)), aligned(4), may_alias));
typedef float ${n}_vec16 __attribute__((vector_size(4 * ${N}_LANES), aligned(4), may_alias));
"""

_HEAD = """
/* To the sums of $width outputs at $places place(s), `step` apart in x: the products of `count` inputs, in their order.
 * The weights of an input lie side by side. */
static void ${n}_$name($sums, const float *restrict x, int step, const float *restrict w, int count)
{
"""

_PLAIN = (
    _HEAD
    + """    const int whole = count / $terms * $terms;
    int k = 0;
    (void)step;
    for (; k < whole; k += $terms, w += $all) {
$loads        ${N}_KEEP_LOOP
        for (int j = 0; j < $width; j++) {
$many        }
    }
    for (; k < count; k++, w += $width) {
$load        ${N}_KEEP_LOOP
        for (int j = 0; j < $width; j++) {
$one        }
    }
}
"""
)

KEEP_LOOP = """
/* GCC would write loops over a few outputs out in full, and then not vectorise them. */
#if defined(__GNUC__) && !defined(__clang__)
#define ${N}_KEEP_LOOP _Pragma("GCC unroll 1")
#else
#define ${N}_KEEP_LOOP
#endif
"""

_VECTORS = (
    _HEAD
    + """    enum { LANES = sizeof($vec) / sizeof(float), AT_ONCE = $width / LANES % 2 == 0 ? 2 : 1 };
    (void)step;
    for (int first = 0; first < $width; first += AT_ONCE * LANES) {
        const float *from = x, *weights = w + first;
        $vec $vectors;
        for (int v = 0; v < AT_ONCE; v++) {
$fetch        }
        for (int k = 0; k < count; k++, from++, weights += $width) {
$load            for (int v = 0; v < AT_ONCE; v++) {
                const $vec weight = *(const $vec *)(weights + v * LANES);
$one            }
        }
        for (int v = 0; v < AT_ONCE; v++) {
$put        }
    }
}
"""
)


def _fields(products: Products, template: str, prefix: str) -> str:
    places, width, terms = range(products.places), products.width, products.terms

    def lines(indent: int, texts: list[str]) -> str:
        return "".join(f"{' ' * indent}{text}\n" for text in texts)

    def at(place: int, term: int) -> str:
        index = "k" if not term else f"k + {term}"
        return f"x[{index}]" if not place else f"x[{index} + {f'{place} * ' if place > 1 else ''}step]"

    def total(place: int) -> str:
        text = f"s{place}[j]"
        for term in range(terms):
            weight = "w[j]" if not term else f"w[{term * width} + j]"
            text = f"{text} + x{place}{term} * {weight}" if term == 0 else f"({text}) + x{place}{term} * {weight}"
        return text

    vec = f"{prefix}_vec{next(lanes for lanes in (16, 8, 4) if width % lanes == 0)}"
    shared: dict[str, object] = {
        "n": prefix, "N": prefix.upper(), "name": products.name, "width": width, "terms": terms,
        "all": terms * width, "vec": vec, "places": products.places,
        "sums": ", ".join(f"float *restrict s{place}" for place in places),
        "vectors": ", ".join(f"v{place}[AT_ONCE]" for place in places),
    }  # fmt: skip
    if template is _PLAIN:
        loads = [f"const float x{place}{term} = {at(place, term)};" for place in places for term in range(terms)]
        return fill(
            template,
            **shared,
            loads=lines(8, loads),
            many=lines(12, [f"s{place}[j] = {total(place)};" for place in places]),
            load=lines(8, [f"const float x{place}0 = {at(place, 0)};" for place in places]),
            one=lines(12, [f"s{place}[j] += x{place}0 * w[j];" for place in places]),
        )
    return fill(
        template,
        **shared,
        fetch=lines(12, [f"v{p}[v] = *(const {vec} *)(s{p} + first + v * LANES);" for p in places]),
        load=lines(12, [f"const float x{p} = from[{f'{p} * step' if p else '0'}];" for p in places]),
        one=lines(16, [f"v{p}[v] += x{p} * weight;" for p in places]),
        put=lines(12, [f"*({vec} *)(s{p} + first + v * LANES) = v{p}[v];" for p in places]),
    )
