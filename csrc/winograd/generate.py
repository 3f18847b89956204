"""The transforms of Winograd convolution: derived, compared, and written as straight-line C.

    python csrc/winograd/generate.py                 prints the header
    python csrc/winograd/generate.py --write         writes it to csrc/src/bodies/winograd_transforms.h
    python csrc/winograd/generate.py --compare       measures the rounding error of candidate points (needs numpy)

Derivation (Toom-Cook; Winograd 1980; for convolutional networks Lavin & Gray 2016, arXiv:1509.09308)
------------------------------------------------------------------------------------------------------
F(m, r) computes m outputs y[i] = sum over k of d[i + k] * g[k] of a correlation with r taps from alpha = m + r - 1
inputs d, with alpha multiplications:

    y = A^T [ (G g) * (B^T d) ]        (* is elementwise)

The product of two polynomials of degree m - 1 and r - 1 has alpha coefficients. It is known when its values at
alpha - 1 points p and its leading coefficient ("the point infinity") are known, and each value takes one
multiplication. Evaluation at the points is a matrix; interpolation is its inverse, whose rows are Lagrange's
polynomials. Transposing that algorithm for the product gives the one for the correlation (the transposition principle):

    A^T[i][j] = p_j^i                       last column: 1 for i = m - 1           evaluation of m coefficients
    G  [j][k] = p_j^k / N_j                 last row: 1 for k = r - 1              evaluation of r coefficients
                N_j = product over l != j of (p_j - p_l)
    B^T[j]    = coefficients of the product over l != j of (x - p_l); last row: of the product over all l

In two dimensions every matrix is applied to the columns and then to the rows: Y = A^T [(G g G^T) * (B^T d B)] A.
The form is bilinear in d and g and linear in y, so the gradient by g is the same form turned round:

    dg = G^T [ (A dy A^T) * (B^T d B) ] G

and the gradient by d is a forward pass with the kernel rotated and its channels swapped.

A tile of which the last `less` outputs are not wanted, at the edge of a map, is F(m - less, r): its values at the first
alpha - 1 - less points and at infinity are enough. Filters are evaluated once for whole tiles, so what the divisors
N_j lose with the points left out, the product over those of (p_j - p_l), goes to the input's side.

Points
------
Points come as 0, pairs +-p, infinity. The rows of a pair share their even and odd parts: of B^T with the other pairs q,
E + p*O and E - p*O, where Q(x) = product over q of (x - q^2), E = sum of Q_i d[2i + 2], O = sum of Q_i d[2i + 1]. Every
pair below is a dyadic fraction and a small one, so that B^T and A are exact in float32. Which points are best is a
question of rounding (--compare): small powers are as good as large ones, and 5/8 with 3/2 loses a quarter of
what the usual 1 with 2 loses at worst.
"""

import argparse
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

Matrix = list[list[Fraction]]

HEADER = Path(__file__).resolve().parents[1] / "src" / "bodies" / "winograd_transforms.h"

PAIRS: dict[int, tuple[Fraction, ...]] = {
    4: (Fraction(1),),
    6: (Fraction(5, 8), Fraction(3, 2)),
    8: (Fraction(1), Fraction(2), Fraction(1, 2)),
}
VARIANTS = ((2, 3), (4, 3), (4, 5))  # (m, r) = output tile, kernel

CANDIDATES: dict[int, tuple[str, ...]] = {
    4: ("1", "3/4", "5/4"),
    6: ("1 2", "1 1/2", "2/3 3/2", "5/8 3/2", "3/4 3/2", "3/4 4/3", "5/7 7/5", "1/2 3/2", "5/8 5/4", "3/5 5/3"),
    8: ("1 2 1/2", "1 3/2 2/3", "1 3/2 1/2", "1 7/4 1/2", "1 5/3 3/5", "7/8 3/2 3/8", "1 5/2 2/5", "1 2 2/3"),
}


# ---- the matrices ---------------------------------------------------------------------------------------------------


def points(pairs: Sequence[Fraction]) -> list[Fraction]:
    """The finite points, in the order of the positions."""
    return [Fraction(0), *(sign * p for p in pairs for sign in (1, -1))]


def monic(roots: Iterable[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), lowest first."""
    result = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *result], [*(root * c for c in result), Fraction(0)]
        result = [a - b for a, b in zip(shifted, scaled)]
    return result


def input_matrix(pairs: Sequence[Fraction], less: int = 0) -> Matrix:
    """B^T, for the filters of whole tiles"""
    finite = points(pairs)
    kept, left_out = finite[: len(finite) - less], finite[len(finite) - less :]
    rows = []
    for p in kept:
        scale = math.prod((p - q for q in left_out), start=Fraction(1))
        rows.append([*(scale * c for c in monic(q for q in kept if q != p)), Fraction(0)])
    return [*rows, monic(kept)]


def filter_matrix(pairs: Sequence[Fraction], r: int) -> Matrix:
    """G"""
    finite = points(pairs)
    rows = []
    for p in finite:
        scale = math.prod((p - q for q in finite if q != p), start=Fraction(1))
        rows.append([p**k / scale for k in range(r)])
    return [*rows, [Fraction(int(k == r - 1)) for k in range(r)]]


def output_matrix(pairs: Sequence[Fraction], m: int, less: int = 0) -> Matrix:
    """A^T"""
    finite, wanted = points(pairs), m - less
    return [[*(p**i for p in finite[: len(finite) - less]), Fraction(int(i == wanted - 1))] for i in range(wanted)]


# ---- straight-line C ------------------------------------------------------------------------------------------------

Term = tuple[Fraction, str]


def literal(value: Fraction) -> str:
    """The shortest decimal that float32 reads as the value nearest to the fraction."""
    text = next(text for digits in range(1, 18) if same_float(float(text := f"{float(value):.{digits}g}"), value))
    return f"{text if '.' in text or 'e' in text else text + '.0'}f"


def same_float(number: float, value: Fraction) -> bool:
    """Whether rounding either to float32 (24 bits) gives the same."""
    if value == 0:
        return number == 0
    unit = Fraction(2) ** (math.frexp(float(value))[1] - 24)
    return round(Fraction(number) / unit) == round(value / unit)


def combine(terms: Sequence[Term]) -> str:
    """A sum of factor * value: what has factor 1 first, then one FMA each."""
    ordered = sorted(
        (t for t in terms if t[0] != 0), key=lambda t: {1: 0, -1: 1}.get(int(t[0]) if abs(t[0]) == 1 else 0, 2)
    )
    (factor, value), *rest = ordered
    text = value if factor == 1 else f"-{value}" if factor == -1 else f"simd_set1({literal(factor)}) * {value}"
    for factor, value in rest:
        if abs(factor) == 1:
            text = f"{text} {'+' if factor == 1 else '-'} {value}"
        else:
            text = f"simd_fma(simd_set1({literal(factor)}), {value}, {text})"
    return text


def plus_minus(even: str, odd: str, factor: Fraction, at: int) -> list[str]:
    """out[at] = even + factor * odd, out[at + 1] = even - factor * odd"""
    return [
        f"out[{at}] = {combine([(Fraction(1), even), (factor, odd)])};",
        f"out[{at + 1}] = {combine([(Fraction(1), even), (-factor, odd)])};",
    ]


def input_lines(pairs: Sequence[Fraction]) -> list[str]:
    alpha, matrix = 2 * len(pairs) + 2, input_matrix(pairs)
    lines = [f"out[0] = {combine([(c, f'in[{i}]') for i, c in enumerate(matrix[0])])};"]
    for at, p in enumerate(pairs):
        row = matrix[1 + 2 * at]
        even = [(c, f"in[{i}]") for i, c in enumerate(row) if i % 2 == 0]
        odd = [(c / p, f"in[{i}]") for i, c in enumerate(row) if i % 2 == 1]
        lines += [f"const simd_float e{at} = {combine(even)};", f"const simd_float o{at} = {combine(odd)};"]
        lines += plus_minus(f"e{at}", f"o{at}", p, 1 + 2 * at)
    return [*lines, f"out[{alpha - 1}] = {combine([(c, f'in[{i}]') for i, c in enumerate(matrix[-1])])};"]


def evaluation_lines(matrix: Matrix, pairs: Sequence[Fraction]) -> list[str]:
    """G or A: rows of a pair differ in the sign of the odd columns. Odd parts keep a factor for the FMA that joins."""
    width = len(matrix[0])
    lines = [f"out[0] = {combine([(c, f'in[{i}]') for i, c in enumerate(matrix[0])])};"]
    for at in range(len(pairs)):
        row = matrix[1 + 2 * at]
        joint = row[1]
        even = [(c, f"in[{i}]") for i, c in enumerate(row) if i % 2 == 0]
        odd = [(c / joint, f"in[{i}]") for i, c in enumerate(row) if i % 2 == 1]
        names = (f"e{at}" if row[0] != 1 or width > 2 else "in[0]", f"o{at}" if width > 3 else "in[1]")
        for name, terms in zip(names, (even, odd)):
            if not name.startswith("in"):
                lines.append(f"const simd_float {name} = {combine(terms)};")
        lines += plus_minus(*names, joint, 1 + 2 * at)
    return [*lines, f"out[{len(matrix) - 1}] = in[{width - 1}];"]


def interpolation_lines(matrix: Matrix, pairs: Sequence[Fraction]) -> list[str]:
    """A^T or G^T: both elements of a pair enter an output by their sum (even rows) or their difference (odd rows)."""
    last = len(matrix[0]) - 1
    lines = []
    for at in range(len(pairs)):
        plus, minus = f"in[{1 + 2 * at}]", f"in[{2 + 2 * at}]"
        lines += [f"const simd_float s{at} = {plus} + {minus};", f"const simd_float d{at} = {plus} - {minus};"]
    for i, row in enumerate(matrix):
        pair_terms = [(row[1 + 2 * at], f"{'sd'[i % 2]}{at}") for at in range(len(pairs))]
        lines.append(f"out[{i}] = {combine([(row[0], 'in[0]'), *pair_terms, (row[last], f'in[{last}]')])};")
    return lines


def plain_lines(matrix: Matrix, to: Sequence[int], source: Sequence[int]) -> list[str]:
    """out[to] = matrix in[source], row by row."""
    return [
        f"out[{i}] = {combine([(c, f'in[{j}]') for c, j in zip(row, source, strict=True)])};"
        for i, row in zip(to, matrix, strict=True)
    ]


def kept_positions(alpha: int, less: int) -> list[int]:
    """Of the points in their order and infinity."""
    return [*range(alpha - 1 - less), alpha - 1]


def zero_lines(to: Iterable[int]) -> list[str]:
    return [f"out[{i}] = simd_zero();" for i in to]


def partial_to_points(alpha: int, less: int, matrix: Matrix) -> list[str]:
    """B^T or A of a tile at the edge: positions left out are zero."""
    kept = kept_positions(alpha, less)
    left_out = [i for i in range(alpha) if i not in kept]
    return [*plain_lines(matrix, kept, range(len(matrix[0]))), *zero_lines(left_out)]


def partial_from_points(alpha: int, less: int, matrix: Matrix) -> list[str]:
    """A^T of a tile at the edge: positions left out are not read, outputs not wanted are zero."""
    wanted = len(matrix)
    return [
        *plain_lines(matrix, range(wanted), kept_positions(alpha, less)),
        *zero_lines(range(wanted, wanted + less)),
    ]


def transpose(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix)]


def function(name: str, formula: str, inputs: int, outputs: int, cases: Sequence[Iterable[str]]) -> str:
    """A transform; several cases are by the number of outputs of a tile that are not wanted."""
    head = (
        f"/* {formula}: {inputs} to {outputs} */\n"
        f"static inline __attribute__((always_inline)) void {name}(simd_float *restrict out,"
        f" const simd_float *restrict in{', int less' if len(cases) > 1 else ''})"
    )
    if len(cases) == 1:
        body = "\n".join(f"    {line}" for line in cases[0])
        return f"{head}\n{{\n{body}\n}}\n"
    blocks = []
    for less, lines in enumerate(cases):
        opening = "if" if less == 0 else "} else if" if less < len(cases) - 1 else "} else"
        test = f" (less == {less})" if opening.endswith("if") else ""
        blocks += [f"    {opening}{test} {{", *(f"        {line}" for line in lines)]
    return "\n".join([head, "{", *blocks, "    }", "}", ""])


def variant_functions(alpha: int, m: int, r: int) -> list[str]:
    """The transforms of F(m, r) but that of the input, which is the same for all of a size."""
    pairs, size = PAIRS[alpha], f"{m}x{r}"
    g, at = filter_matrix(pairs, r), output_matrix(pairs, m)
    edges = [(less, output_matrix(pairs, m, less)) for less in range(1, m)]
    outputs = [partial_from_points(alpha, less, matrix) for less, matrix in edges]
    diffs = [partial_to_points(alpha, less, transpose(matrix)) for less, matrix in edges]
    return [
        function(f"winograd_filter_{size}", f"G of F({m}, {r})", r, alpha, [evaluation_lines(g, pairs)]),
        function(
            f"winograd_output_{size}", f"A^T of F({m}, {r})", alpha, m, [interpolation_lines(at, pairs), *outputs]
        ),
        function(
            f"winograd_diff_{size}", f"A of F({m}, {r})", m, alpha, [evaluation_lines(transpose(at), pairs), *diffs]
        ),
        function(
            f"winograd_gradient_{size}", f"G^T of F({m}, {r})", alpha, r, [interpolation_lines(transpose(g), pairs)]
        ),
    ]


def header() -> str:
    parts = [
        "/* Written by csrc/winograd/generate.py, which derives it; do not edit. One-dimensional Winograd transforms.\n"
        " * Names end in the transformed size, or in output tile and kernel size. Where the last `less` outputs of a\n"
        " * tile are not wanted, as many positions before the last one are left out. */",
        "#ifndef CNN_BODY_WINOGRAD_TRANSFORMS_H\n#define CNN_BODY_WINOGRAD_TRANSFORMS_H\n\n/* clang-format off */",
    ]
    for alpha, pairs in PAIRS.items():
        shown = ", ".join(["0", *(f"+-{p}" for p in pairs), "infinity"])
        parts.append(f"/* ---- {alpha} points: {shown} ---- */\n")
        variants = [(m, r) for m, r in VARIANTS if m + r - 1 == alpha]
        lost = range(1, max(m for m, _ in variants))
        edges = [partial_to_points(alpha, less, input_matrix(pairs, less)) for less in lost]
        parts.append(function(f"winograd_input_{alpha}", "B^T", alpha, alpha, [input_lines(pairs), *edges]))
        for m, r in variants:
            parts += variant_functions(alpha, m, r)
    parts.append("/* clang-format on */\n\n#endif\n")
    return "\n".join(parts)


# ---- which points round best ----------------------------------------------------------------------------------------


def compare(m: int, r: int, channels: int = 64, tiles: int = 200) -> None:
    """Error of float32 against float64 by random numbers: largest over the largest, mean over the mean."""
    import numpy as np

    print(
        f"F({m}x{m}, {r}x{r}), {channels} channels           forward: largest   mean   weight gradient: largest   mean"
    )
    alpha, single = m + r - 1, np.float32
    rng = np.random.default_rng(1)
    d = rng.standard_normal((tiles, alpha, alpha, channels)).astype(single)
    g = rng.standard_normal((r, r, channels, 8)).astype(single)
    dy = rng.standard_normal((tiles, m, m, 8)).astype(single)
    taps = [(i, j, d[:, i : i + m, j : j + m].astype(np.float64)) for i, j in np.ndindex(r, r)]
    y_exact = sum(np.einsum("tyxc,co->tyxo", window, g[i, j].astype(np.float64)) for i, j, window in taps)
    dg_exact = np.stack([np.einsum("tyxc,tyxo->co", window, dy.astype(np.float64)) for _, _, window in taps])

    def both(matrix: Any, values: Any, axis: int) -> Any:
        for each in (axis, axis + 1):
            values = np.moveaxis(np.tensordot(matrix, values, axes=([1], [each])), 0, each)
        return values

    for text in CANDIDATES[alpha]:
        pairs = [Fraction(word) for word in text.split()]
        bt, gm, at = (
            np.array(x, np.float64).astype(single)
            for x in (input_matrix(pairs), filter_matrix(pairs, r), output_matrix(pairs, m))
        )
        v, u, z = both(bt, d, 1), both(gm, g, 0), both(at.T, dy, 1)
        products = np.zeros((tiles, alpha, alpha, 8), single)
        for c in range(channels):
            products += v[..., c, None] * u[:, :, c]
        sums = np.zeros((alpha, alpha, channels, 8), single)
        for t in range(tiles):
            sums += v[t, ..., None] * z[t, :, :, None]
        errors = []
        for result, exact in (
            (both(at, products, 1), y_exact),
            (both(gm.T, sums, 0).reshape(dg_exact.shape), dg_exact),
        ):
            off = np.abs(result - exact)
            errors += [off.max() / np.abs(exact).max(), off.mean() / np.abs(exact).mean()]
        chosen = "*" if tuple(pairs) == PAIRS[alpha] else " "
        print(f"{chosen} +-{text:22}" + "".join(f"{e:14.2e}" for e in errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write {HEADER.name}")
    parser.add_argument("--compare", action="store_true", help="measure the error of candidate points")
    options = parser.parse_args()
    if options.compare:
        for variant in VARIANTS:
            compare(*variant)
    elif options.write:
        HEADER.write_text(header(), encoding="ascii")
    else:
        print(header(), end="")


if __name__ == "__main__":
    main()
