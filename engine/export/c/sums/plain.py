"""The plain inner loops of convolutions and linear layers as C text: sums of products for neighbouring outputs.

A sum takes its terms in one order whatever the loops look like: terms go to it one after the other, and what stands
side by side are sums of different outputs. So a compiler may vectorise the loops over outputs, and every form has the
same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.export.c.text import fill

PLACES = 4
"""Places of a row that a convolution computes together, so that each weight that is loaded serves them all."""


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

    def text(self, prefix: str) -> str:
        return _filled(self, prefix)


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


def _filled(products: Products, prefix: str) -> str:
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

    loads = [f"const float x{place}{term} = {at(place, term)};" for place in places for term in range(terms)]
    return fill(
        _PLAIN,
        n=prefix,
        N=prefix.upper(),
        name=products.name,
        width=width,
        terms=terms,
        all=terms * width,
        places=products.places,
        sums=", ".join(f"float *restrict s{place}" for place in places),
        loads=lines(8, loads),
        many=lines(12, [f"s{place}[j] = {total(place)};" for place in places]),
        load=lines(8, [f"const float x{place}0 = {at(place, 0)};" for place in places]),
        one=lines(12, [f"s{place}[j] += x{place}0 * w[j];" for place in places]),
    )
