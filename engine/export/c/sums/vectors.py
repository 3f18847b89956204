"""The inner loops in vectors of GCC's and clang's extension. The sums of several places and outputs stay in registers
while all rows and columns of a kernel are gone through, in the order of the plain loops: the bits are the same.

A vector has as many lanes as the instruction set, which only the C compiler knows; so a function has a body for each
number of vectors that its outputs take, and the preprocessor chooses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.export.c.text import fill

PLACES = (6, 5, 4)
"""Places of a row that may be computed together. With two vectors of outputs, six take 12 of 16 registers."""

_LANES = (16, 8, 4)

TYPES = """
/* Vectors of GCC's and clang's extension, as wide as the instruction set has them unless the compiler is told. */
#if defined(${N}_LANES)
#elif defined(__AVX512F__)
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


def places_of(outputs: int) -> int:
    """How many of a row of so many places to compute together: few are left over, which would be computed twice."""
    if outputs <= PLACES[-1]:
        return outputs
    return min((each for each in PLACES if each <= outputs), key=lambda each: (-(-outputs // each) * each, -each))


@dataclass(frozen=True)
class Adder:
    """A function that adds the products of `count` inputs to `width` sums: as `engine.export.c.sums.plain.Products` of
    one place."""

    width: int

    @property
    def name(self) -> str:
        return f"add_1x{self.width}"

    def text(self, prefix: str) -> str:
        return _function(_ADDER, self.name, prefix, 1, self.width)


@dataclass(frozen=True)
class Tile:
    """A function that computes the sums of `width` outputs at `places` places of a row; `edge`: some of the kernel's
    columns may lie outside of the image at some places."""

    places: int
    width: int
    edge: bool

    @property
    def name(self) -> str:
        return f"{'edge' if self.edge else 'tile'}_{self.places}x{self.width}"

    def text(self, prefix: str) -> str:
        return _function(_EDGE if self.edge else _TILE, self.name, prefix, self.places, self.width)


@dataclass(frozen=True)
class _Form:
    """The text of a function, and that of what stands in it: the loops round the products, and what is done at their
    beginning for each place."""

    function: str
    body: str
    begin: str  # what a sum starts with
    source: str  # where the inputs of a place are


_ADDER = _Form(
    """
/* To the sums of $width outputs: the products of `count` inputs, in their order. The weights of an input lie side by
 * side. */
static void ${n}_$name(float *restrict sums, const float *restrict x, int step, const float *restrict w, int count)
{
    enum { LANES = sizeof(${n}_$vec) / sizeof(float) };
    (void)step;
$bodies}
""",
    """    for (int first = 0; first < $width; first += $vectors * LANES) {
        const float *weights = w + first, *x0 = x;
$begin        for (int k = 0; k < count; k++, weights += $width) {
$products        }
$end    }
""",
    "*(const ${n}_$vec *)(sums + first + $vector * LANES)",
    "",
)

_TILE = _Form(
    """
/* The sums of $width outputs at $places place(s), `step` apart in x, over rows and columns of the kernel, all inside
 * the image: in each, the products of `count` inputs in their order. Row and column 0 begin at x[at]. */
static void ${n}_$name(float *restrict sums, const float *restrict x, int at, int step, int ky_first, int ky_end,
    int row, int columns, int column, const float *restrict w, int row_of_w, int column_of_w, int count)
{
    enum { LANES = sizeof(${n}_$vec) / sizeof(float) };
    __asm__("" : "+r"(step), "+r"(count)); /* unknown: compilers write out what they know, and then lack registers */
$bodies}
""",
    """    for (int first = 0; first < $width; first += $vectors * LANES) {
$begin        for (int ky = ky_first; ky < ky_end; ky++)
            for (int kx = 0; kx < columns; kx++) {
                const float *weights = w + ky * row_of_w + kx * column_of_w + first;
$sources                for (int k = 0; k < count; k++, weights += $width) {
$products                }
            }
$end    }
""",
    "{0.0f}",
    "const float *x$place = x + (at + ky * row + kx * column + $place * step);",
)

_EDGE = _Form(
    """
/* The same where columns of the kernel may lie outside of the image, which has `width` of `pixel` numbers: there zeros
 * are multiplied, which changes no sum, as none is -0. Column 0 of the kernel lies on `left` at the first place, and
 * x[at] is column 0 of the image in row 0 of the kernel. */
static void ${n}_$name(float *restrict sums, const float *restrict x, int at, int left, int stride, int width,
    int pixel, int ky_first, int ky_end, int row, int columns, int dilation, const float *restrict w, int row_of_w,
    int column_of_w, int count)
{
    enum { LANES = sizeof(${n}_$vec) / sizeof(float) };
    __asm__("" : "+r"(stride), "+r"(count));
$bodies}
""",
    _TILE.body,
    _TILE.begin,
    "const int c$place = left + $place * stride + kx * dilation;\n                "
    "const float *x$place = c$place >= 0 && c$place < width ? x + (at + ky * row + c$place * pixel) : ${n}_zeros;",
)


def _vectors(places: int, width: int, lanes: int) -> int:
    """How many vectors of outputs stand in registers together, of those that `width` outputs take."""
    count = width // min(lanes, _lanes(width))
    most = {1: 8, 2: 4}.get(places, 2)
    return next(each for each in range(min(most, count), 0, -1) if count % each == 0)


def _lanes(width: int) -> int:
    return next(lanes for lanes in _LANES if width % lanes == 0)


def _function(form: _Form, name: str, prefix: str, places: int, width: int) -> str:
    """The function, with a body for each number of vectors."""
    fields = {
        "n": prefix,
        "N": prefix.upper(),
        "name": name,
        "places": places,
        "width": width,
        "vec": f"vec{_lanes(width)}",
    }
    bodies = [_body(form, places, _vectors(places, width, lanes), fields) for lanes in _LANES]
    if len(set(bodies)) == 1:
        text = bodies[0]
    else:
        wide, middle, narrow = bodies
        lanes = f"{prefix.upper()}_LANES"
        text = f"#if {lanes} == 16\n{wide}#elif {lanes} == 8\n{middle}#else\n{narrow}#endif\n"
    return fill(form.function, bodies=text, **fields)


def _body(form: _Form, places: int, vectors: int, fields: Mapping[str, object]) -> str:
    pairs = [(place, vector) for place in range(places) for vector in range(vectors)]
    vec = f"{fields['n']}_{fields['vec']}"
    begin = [f"{vec} s{place}_{vector} = {fill(form.begin, vector=vector, **fields)};" for place, vector in pairs]
    sources = [fill(form.source, place=place, **fields) for place in range(places)] if form.source else []
    products = [f"const {vec} w{vector} = *(const {vec} *)(weights + {vector} * LANES);" for vector in range(vectors)]
    products += [f"s{place}_{vector} += x{place}[k] * w{vector};" for place, vector in pairs]
    end = [
        f"*({vec} *)(sums + {place * int(str(fields['width']))} + first + {vector} * LANES) = s{place}_{vector};"
        for place, vector in pairs
    ]
    inner = 16 if form.source else 8

    def lines(indent: int, texts: list[str]) -> str:
        return "".join(f"{' ' * indent}{text}\n" for text in texts)

    return fill(
        form.body, vectors=vectors, begin=lines(8, begin), sources=lines(inner, sources),
        products=lines(inner + 4, products), end=lines(8, end), **fields,
    )  # fmt: skip
