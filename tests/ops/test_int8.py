"""Integer inference against exact whole numbers: every set of instructions, any team, the same bytes."""

from collections.abc import Iterator
from typing import Any

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.ops import int8_oracle as oracle
from tests.ops.int8_oracle import Codes, Layer

BODIES = [*cnncore.available_isas(), "avx512 without VNNI"]
THREADS = (1, 2, 3, 7)
LARGEST = 2**31 - 1


@pytest.fixture(params=BODIES)
def body(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this machine has; where one of AVX-512 has VNNI, with it and without."""
    name, _, without = request.param.partition(" ")
    if name not in cnncore.available_isas():
        pytest.skip(f"this CPU has no {name}")
    before, used = cnncore.isa(), cnncore.uses_vnni()
    cnncore.set_isa(name)
    cnncore.set_vnni(not without)
    yield request.param
    cnncore.set_isa(before)
    cnncore.set_vnni(used or before != "avx512")


def run(op: str, operands: dict[str, NDArray[Any]], geometry: dict[str, Any], batch: int, shape: tuple[int, ...],
        dtype: type = np.uint8, guard: int = 64) -> NDArray[Any]:  # fmt: skip
    """dst of the op, the same for every size of a team; nothing beside it is written."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    results = []
    for threads in THREADS:
        memory = cnncore.aligned_zeros(guard + size + guard, np.uint8)
        memory[:] = 0xA5
        dst = memory[guard : guard + size].view(dtype).reshape(shape)
        cnncore.run_op(op, {"dst": dst, **operands}, geometry, batch, threads=threads)
        assert (memory[:guard] == 0xA5).all() and (memory[guard + size :] == 0xA5).all(), f"{op} wrote outside of dst"
        results.append(dst)
    for threads, dst in zip(THREADS, results, strict=True):
        assert np.array_equal(dst, results[0]), f"{op} has other bytes on {threads} threads"
    return results[0]


# ---- layers --------------------------------------------------------------------------------------------------------


def conv_geometry(h: int, w: int, ic: int, oc: int, kernel: tuple[int, int] = (3, 3), **more: int) -> dict[str, int]:
    g = {
        "h": h, "w": w, "ic": ic, "oc": oc, "kh": kernel[0], "kw": kernel[1], "stride_h": 1, "stride_w": 1,
        "pad_top": 0, "pad_left": 0, "pad_bottom": 0, "pad_right": 0, "dilation_h": 1, "dilation_w": 1, "groups": 1,
        "zero_src": 118, "zero_dst": 30, "low": 0, "high": 255,
    } | more  # fmt: skip
    g["oh"] = (h + g["pad_top"] + g["pad_bottom"] - g["dilation_h"] * (g["kh"] - 1) - 1) // g["stride_h"] + 1
    g["ow"] = (w + g["pad_left"] + g["pad_right"] - g["dilation_w"] * (g["kw"] - 1) - 1) // g["stride_w"] + 1
    return g


def padded(n: int) -> dict[str, int]:
    return dict.fromkeys(("pad_top", "pad_left", "pad_bottom", "pad_right"), n)


def random_geometry(rng: np.random.Generator) -> dict[str, int]:
    """One that fits, with any of what a convolution can have."""
    while True:
        groups = int(rng.choice([1, 1, 1, 2, 3]))
        kernel = int(rng.integers(1, 6)), int(rng.integers(1, 6))
        more = {name: int(rng.integers(0, 4)) for name in ("pad_top", "pad_left", "pad_bottom", "pad_right")}
        more |= {name: int(rng.integers(1, 4)) for name in ("stride_h", "stride_w")}
        more |= {name: int(rng.choice([1, 1, 2, 3])) for name in ("dilation_h", "dilation_w")}
        more |= {"zero_src": int(rng.integers(256)), "zero_dst": int(rng.integers(256))}
        more |= dict(zip(("low", "high"), sorted(rng.integers(0, 256, 2).tolist()), strict=True))
        h, w = int(rng.integers(1, 13)), int(rng.integers(1, 13))
        ic, oc = int(rng.integers(1, 20)) * groups, int(rng.integers(1, 40)) * groups
        if rng.random() < 0.2:
            groups = oc = ic
        g = conv_geometry(h, w, ic, oc, kernel, groups=groups, **more)
        if g["oh"] >= 1 and g["ow"] >= 1 and cnncore.op_fits("conv2d_int8", g):
            return g


def random_layer(g: dict[str, int], rng: np.random.Generator, free: bool) -> Layer:
    """Codes that spread over the range, with multipliers of one or any."""
    shape = g["oc"], g["ic"] // g["groups"], g["kh"], g["kw"]
    count = shape[1] * shape[2] * shape[3]
    spread = int(np.log2(count) / 2) + 7
    multipliers = rng.integers(2**29, 2**31, g["oc"]) if free else np.ones(g["oc"])
    shifts = rng.integers(spread, spread + 3, g["oc"]) + 30 * free
    return Layer(
        g,
        rng.integers(-127, 128, shape, np.int8),
        rng.integers(-(2**14), 2**14, g["oc"], np.int32),
        multipliers.astype(np.int32),
        shifts.astype(np.int32),
    )


def layer_codes(layer: Layer, src: Codes, op: str = "conv2d_int8") -> Codes:
    g, weights = layer.geometry, layer.weights
    if op == "linear_int8":
        g = {"k": g["ic"], "n": g["oc"]} | {name: g[name] for name in ("zero_src", "zero_dst", "low", "high")}
        weights = weights[:, :, 0, 0]
    panels, bias = cnncore.pack_int8(op, g, weights, layer.bias)
    operands = {
        "src": src, "weights": panels, "bias": bias, "multipliers": layer.multipliers, "shifts": layer.shifts,
    }  # fmt: skip
    return run(op, operands, g, len(src), (len(src), layer.geometry["oh"], layer.geometry["ow"], layer.geometry["oc"]))


def check(layer: Layer, src: Codes, op: str = "conv2d_int8") -> None:
    expected, codes = layer(src), layer_codes(layer, src, op)
    wrong = np.argwhere(codes != expected)
    where = tuple(wrong[0]) if len(wrong) else ()
    assert not len(wrong), f"{len(wrong)} of {codes.size}, {where}: {codes[where]}, {expected[where]}, {layer.geometry}"


def draw_codes(g: dict[str, int], rng: np.random.Generator, batch: int) -> Codes:
    return rng.integers(0, 256, (batch, g["h"], g["w"], g["ic"]), np.uint8)


@pytest.mark.parametrize("free", [False, True], ids=["shifts", "multipliers"])
@pytest.mark.parametrize("seed", range(12))
def test_any_convolution(body: str, seed: int, free: bool) -> None:
    rng = np.random.default_rng((seed, free))
    g = random_geometry(rng)
    check(random_layer(g, rng, free), draw_codes(g, rng, int(rng.integers(1, 4))))


USUAL = {
    "first layer": conv_geometry(12, 12, 1, 6, (5, 5), **padded(2)),
    "three channels": conv_geometry(11, 13, 3, 16, **padded(1)),
    "many channels": conv_geometry(6, 7, 64, 70, **padded(1)),
    "a panel and one": conv_geometry(5, 5, 8, 17, **padded(1)),
    "no copy": conv_geometry(7, 9, 12, 33),
    "a pixel": conv_geometry(5, 7, 20, 33, (1, 1)),
    "a pixel of three": conv_geometry(5, 7, 3, 16, (1, 1)),
    "strides": conv_geometry(9, 9, 16, 32, stride_h=2, stride_w=2, **padded(1)),
    "strides of a pixel": conv_geometry(9, 9, 16, 32, (1, 1), stride_h=2, stride_w=2),
    "one row": conv_geometry(3, 30, 8, 64, pad_left=1, pad_right=1),
    "large map": conv_geometry(40, 70, 16, 4, **padded(1)),
    "depthwise": conv_geometry(9, 8, 40, 40, groups=40, **padded(1)),
    "depthwise of few": conv_geometry(9, 8, 3, 3, (5, 5), groups=3, stride_h=2, **padded(2)),
    "depthwise, dilated": conv_geometry(9, 9, 65, 65, groups=65, dilation_h=2, dilation_w=2, **padded(2)),
    "two filters for a channel": conv_geometry(6, 6, 5, 10, groups=5, **padded(1)),
    "groups": conv_geometry(6, 6, 32, 64, groups=4, **padded(1)),
    "dilated": conv_geometry(9, 9, 8, 20, dilation_h=2, dilation_w=2, **padded(2)),
}


@pytest.mark.parametrize("name", USUAL)
def test_usual_convolutions(body: str, name: str) -> None:
    rng = np.random.default_rng(len(name))
    for batch, free in ((1, False), (3, True)):
        check(random_layer(USUAL[name], rng, free), draw_codes(USUAL[name], rng, batch))


WINOGRAD = {
    "one pixel": conv_geometry(1, 1, 1, 1, **padded(1)),
    "whole tiles": conv_geometry(8, 8, 16, 32, **padded(1)),
    "cut tiles": conv_geometry(7, 9, 16, 33, **padded(1)),
    "no padding": conv_geometry(9, 8, 32, 16),
    "wide padding": conv_geometry(3, 4, 16, 17, **padded(3)),
    "padding on one side": conv_geometry(6, 5, 16, 16, pad_top=2, pad_right=1),
    "cut panels": conv_geometry(6, 7, 35, 50, **padded(1)),
    "three channels": conv_geometry(11, 13, 3, 16, **padded(1)),
    "many channels": conv_geometry(4, 4, 160, 80, **padded(1)),
    "many tiles": conv_geometry(30, 34, 16, 4, **padded(1)),
}


@pytest.mark.parametrize("name", WINOGRAD)
def test_convolutions_by_winograd(body: str, name: str) -> None:
    rng = np.random.default_rng(len(name))
    for batch, free in ((1, False), (3, True)):
        g = WINOGRAD[name]
        check(random_layer(g, rng, free), draw_codes(g, rng, batch), "winograd_int8")


@pytest.mark.parametrize("weight", [-127, 127])
def test_winograd_with_the_largest_sums(body: str, weight: int) -> None:
    """Of as many channels as it takes, all of the largest codes and weights: a quarter of them comes back exactly."""
    g = conv_geometry(4, 5, 1024, 16, zero_src=0, **padded(1))
    checker = np.indices((4, 5)).sum(axis=0)[None, :, :, None] % 2 * np.full(1024, 255)
    for src in (np.full((1, 4, 5, 1024), 255), checker, 255 - checker):
        check(extreme(g, weight, 21), src.astype(np.uint8), "winograd_int8")
    signs = extreme(g, weight, 21)
    signs.weights[:] *= np.array([[1, -1, 1], [-1, 1, -1], [1, -1, 1]], np.int8)
    check(signs, checker.astype(np.uint8), "winograd_int8")
    assert not cnncore.op_fits("winograd_int8", g | {"ic": 1025})


def test_winograd_takes_plain_kernels_of_three() -> None:
    g = conv_geometry(9, 9, 16, 16, **padded(1))
    assert cnncore.op_fits("winograd_int8", g)
    for change in (
        conv_geometry(9, 9, 16, 16, stride_h=2, **padded(1)),
        conv_geometry(9, 9, 16, 16, dilation_w=2, **padded(1)),
        conv_geometry(9, 9, 16, 16, groups=2, **padded(1)),
        conv_geometry(9, 9, 16, 16, (3, 5), **padded(1)),
    ):
        assert cnncore.op_fits("conv2d_int8", change) and not cnncore.op_fits("winograd_int8", change)


@pytest.mark.parametrize(("k", "n"), [(1, 1), (4, 10), (7, 16), (84, 10), (256, 33), (1027, 70), (64, 130)])
def test_linear(body: str, k: int, n: int) -> None:
    rng = np.random.default_rng(k)
    g = conv_geometry(1, 1, k, n, (1, 1))
    for batch, free in ((1, False), (2, True), (40, False)):
        check(random_layer(g, rng, free), draw_codes(g, rng, batch), "linear_int8")


def extreme(g: dict[str, int], weight: int, shift: int, multiplier: int = 1, bias: int = 0) -> Layer:
    shape = g["oc"], g["ic"] // g["groups"], g["kh"], g["kw"]
    numbers = (np.full(g["oc"], number, np.int32) for number in (bias, multiplier, shift))
    return Layer(g, np.full(shape, weight, np.int8), *numbers)


@pytest.mark.parametrize("weight", [-127, 127])
@pytest.mark.parametrize("zero", [0, 255])
@pytest.mark.parametrize("groups", [1, 20])
def test_extremes_do_not_saturate(body: str, weight: int, zero: int, groups: int) -> None:
    """Pairs of products of 255 and 127 are beyond 16 bits; sums close to the ends of 32 bits are as good as any."""
    g = conv_geometry(5, 6, 20, 20, groups=groups, zero_src=zero, **padded(1))
    for code in (0, 255):
        src = np.full((1, g["h"], g["w"], g["ic"]), code, np.uint8)
        for shift in (4, 12, 16):
            check(extreme(g, weight, shift), src)
        check(extreme(g, weight, 62, LARGEST), src)
        check(extreme(g, weight, 31, 1), src)
    rest = LARGEST - 255 * 127 * 20 * 9
    check(extreme(g, weight, 46, LARGEST, bias=np.sign(weight) * rest), np.full((1, 5, 6, 20), 255 - zero, np.uint8))


@pytest.mark.parametrize("zero", [0, 100, 255])
@pytest.mark.parametrize(("low", "high"), [(0, 255), (100, 255), (90, 110), (7, 7)])
def test_ties_and_ends(body: str, zero: int, low: int, high: int) -> None:
    """Every sum from -1200 to 1200, halved and more: a half goes to the even code."""
    codes, sums = np.arange(256, dtype=np.uint8), np.arange(-1200, 1200)
    for shift, multiplier in ((0, 1), (1, 1), (2, 1), (3, 1), (30, 1), (31, 2**29), (34, 3 * 2**29), (2, 3), (0, 5)):
        g = conv_geometry(1, 1, 256, len(sums), (1, 1), zero_src=0, zero_dst=zero, low=low, high=high)
        layer = extreme(g, 0, shift, multiplier)
        layer.bias[:] = sums
        check(layer, codes.reshape(1, 1, 1, -1), "linear_int8")


def test_the_twin_agrees(body: str) -> None:
    rng = np.random.default_rng(5)
    drawn = [("conv2d_int8", random_geometry(np.random.default_rng((seed, 9)))) for seed in range(12)]
    for number, (op, g) in enumerate([*drawn, *(("winograd_int8", g) for g in WINOGRAD.values())]):
        layer, src = random_layer(g, rng, bool(number % 2)), draw_codes(g, rng, 2)
        panels, bias = cnncore.pack_int8(op, g, layer.weights, layer.bias)
        dst = np.zeros((2, g["oh"], g["ow"], g["oc"]), np.uint8)
        operands = {
            "dst": dst, "src": src, "weights": panels, "bias": bias, "multipliers": layer.multipliers,
            "shifts": layer.shifts,
        }  # fmt: skip
        cnncore.run_op(op, operands, g, 2, reference=True)
        assert np.array_equal(dst, layer(src)), (op, g)


# ---- the packer ----------------------------------------------------------------------------------------------------


def test_panels_hold_every_weight_once() -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        g = random_geometry(np.random.default_rng((seed, 3)))
        weights = rng.integers(-127, 128, (g["oc"], g["ic"] // g["groups"], g["kh"], g["kw"]), np.int8)
        panels, bias = cnncore.pack_int8("conv2d_int8", g, weights)
        assert panels.ctypes.data % cnncore.ALIGNMENT == 0
        assert panels.nbytes == cnncore.op_operand_bytes("conv2d_int8", g, 1)["weights"]
        assert np.array_equal(np.sort(panels[panels != 0]), np.sort(weights[weights != 0]))
        assert np.array_equal(bias, -g["zero_src"] * weights.astype(np.int64).sum(axis=(1, 2, 3)))


def test_filters_of_winograd_are_four_times_those_of_the_literature() -> None:
    """G w G^T of Lavin & Gray 2016, section 4.1, for each pair of channels."""
    rng = np.random.default_rng(4)
    g = conv_geometry(5, 5, 5, 18, **padded(1))
    weights = rng.integers(-127, 128, (18, 5, 3, 3), np.int8)
    filters, bias = cnncore.pack_int8("winograd_int8", g, weights)
    transform = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    whole = np.zeros((32, 6, 16))
    whole[:18, :5] = 4 * np.einsum("ay,ocyx,bx->ocab", transform, weights, transform).reshape(18, 5, 16)
    assert filters.dtype == np.int16 and filters.ctypes.data % cnncore.ALIGNMENT == 0
    assert np.array_equal(filters.reshape(2, 16, 3, 16, 2), whole.reshape(2, 16, 3, 2, 16).transpose(0, 4, 2, 1, 3))
    assert np.array_equal(bias, -g["zero_src"] * weights.astype(np.int64).sum(axis=(1, 2, 3)))


def test_panels_of_a_linear_layer() -> None:
    g = {"k": 6, "n": 18, "zero_src": 3, "zero_dst": 0, "low": 0, "high": 255}
    weights = np.arange(6 * 18, dtype=np.int8).reshape(18, 6)
    panels, bias = cnncore.pack_int8("linear_int8", g, weights, np.arange(18, dtype=np.int32))
    whole = np.zeros((32, 8), np.int8)
    whole[:18, :6] = weights
    assert np.array_equal(panels.reshape(2, 2, 16, 4), whole.reshape(2, 16, 2, 4).swapaxes(1, 2))
    assert np.array_equal(bias, np.arange(18) - 3 * weights.astype(np.int32).sum(axis=1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"op": "conv2d_forward"}, "expected conv2d_int8, winograd_int8 or linear_int8, got 'conv2d_forward'"),
        ({"weights": np.zeros((4, 4), np.int8)}, r"weights must be int8 of shape \(4, 3\), got int8 \(4, 4\)"),
        ({"weights": np.zeros((4, 3), np.int16)}, r"weights must be int8 of shape \(4, 3\), got int16"),
        ({"bias": np.zeros(3, np.int32)}, r"bias must be int32 of shape \(4,\), got int32 \(3,\)"),
        ({"bias": np.zeros(4, np.int64)}, r"bias must be int32 of shape \(4,\), got int64"),
    ],
)
def test_the_packer_refuses(change: dict[str, Any], words: str) -> None:
    g = {"k": 3, "n": 4, "zero_src": 3, "zero_dst": 0, "low": 0, "high": 255}
    given = {"op": "linear_int8", "geometry": g, "weights": np.zeros((4, 3), np.int8), "bias": None} | change
    with pytest.raises(ValueError, match=words):
        cnncore.pack_int8(**given)


# ---- the other ops ---------------------------------------------------------------------------------------------------


def pool_geometry(h: int, w: int, c: int, kernel: tuple[int, int], stride: tuple[int, int], pad: int) -> dict[str, int]:
    return {
        "h": h, "w": w, "c": c, "kh": kernel[0], "kw": kernel[1], "stride_h": stride[0], "stride_w": stride[1],
        "pad_top": pad, "pad_left": pad, "count_include_pad": 0,
        "oh": (h + 2 * pad - kernel[0]) // stride[0] + 1, "ow": (w + 2 * pad - kernel[1]) // stride[1] + 1,
    }  # fmt: skip


POOLS = [
    pool_geometry(8, 8, 16, (2, 2), (2, 2), 0),
    pool_geometry(9, 7, 5, (2, 2), (2, 2), 0),
    pool_geometry(9, 7, 70, (3, 3), (2, 2), 1),
    pool_geometry(9, 8, 33, (3, 2), (1, 3), 1),
    pool_geometry(7, 7, 64, (7, 7), (1, 1), 0),
    pool_geometry(70, 60, 3, (70, 60), (1, 1), 0),
]


@pytest.mark.parametrize("g", POOLS)
def test_maximum(body: str, g: dict[str, int]) -> None:
    src = np.random.default_rng(3).integers(0, 256, (3, g["h"], g["w"], g["c"]), np.uint8)
    assert np.array_equal(
        run("maxpool2d_int8", {"src": src}, g, 3, (3, g["oh"], g["ow"], g["c"])), oracle.max_pool(src, g)
    )


@pytest.mark.parametrize("g", POOLS)
@pytest.mark.parametrize(("multiplier", "shift"), [(1, 0), (4, 2), (3, 2), (LARGEST, 31), (LARGEST, 62), (1, 41)])
def test_mean(body: str, g: dict[str, int], multiplier: int, shift: int) -> None:
    src = np.random.default_rng(3).integers(0, 256, (2, g["h"], g["w"], g["c"]), np.uint8)
    more = {"zero_src": 77, "zero_dst": 40, "multiplier": multiplier, "shift": shift, "low": 3, "high": 250}
    for included in (0, 1):
        g = g | more | {"count_include_pad": included}
        dst = run("avgpool2d_int8", {"src": src}, g, 2, (2, g["oh"], g["ow"], g["c"]))
        assert np.array_equal(dst, oracle.average_pool(src, g))


def test_mean_of_halves(body: str) -> None:
    src = np.arange(256, dtype=np.uint8).repeat(2)
    src[1::2] += np.uint8(1)
    g = pool_geometry(256, 2, 1, (1, 2), (1, 1), 0)
    g |= {"zero_src": 128, "zero_dst": 128, "multiplier": 1, "shift": 0, "low": 0, "high": 255}
    dst = run("avgpool2d_int8", {"src": src}, g, 1, (1, 256, 1, 1))
    assert np.array_equal(dst, oracle.average_pool(src.reshape(1, 256, 2, 1), g))


@pytest.mark.parametrize(
    ("multipliers", "shift"),
    [((1, 1), 0), ((1, 1), 1), ((4, 1), 2), ((2**21, 2**20), 21), ((2**21, 2**21), 30), ((2**21, 2**21 + 1), 22),
     ((LARGEST, LARGEST), 31), ((3, LARGEST), 62), ((5, 3), 31), ((255, 254), 9)],
)  # fmt: skip
def test_sum(body: str, multipliers: tuple[int, int], shift: int) -> None:
    """Of every pair of codes."""
    a, b = (each.reshape(-1).astype(np.uint8) for each in np.meshgrid(np.arange(256), np.arange(256)))
    a, b = a[::7].copy(), b[::7].copy()
    g = {
        "count": a.size, "zero_a": 130, "zero_b": 3, "zero_dst": 90, "multiplier_a": multipliers[0],
        "multiplier_b": multipliers[1], "shift": shift, "low": 90, "high": 200,
    }  # fmt: skip
    for low, high in ((0, 255), (90, 200)):
        how = g | {"low": low, "high": high}
        assert np.array_equal(run("add_int8", {"a": a, "b": b}, how, 1, a.shape), oracle.add(a, b, how))
    memory = a.copy()
    cnncore.run_op("add_int8", {"dst": memory, "a": memory, "b": b}, g, 1)
    assert np.array_equal(memory, oracle.add(a, b, g))


def test_lookup(body: str) -> None:
    rng = np.random.default_rng(2)
    table, src = rng.integers(0, 256, 256, np.uint8), rng.integers(0, 256, (2, 5001), np.uint8)
    assert np.array_equal(run("lookup_int8", {"src": src, "table": table}, {"count": 5001}, 2, src.shape), table[src])
    memory = src.copy()
    cnncore.run_op("lookup_int8", {"dst": memory, "src": memory, "table": table}, {"count": 5001}, 2)
    assert np.array_equal(memory, table[src])


@pytest.mark.parametrize(("scale", "zero"), [(0.125, 128), (0.1, 0), (3e-3, 255), (2.0**-100, 6), (2.0**100, 4)])
def test_codes_of_numbers(body: str, scale: float, zero: int) -> None:
    rng = np.random.default_rng(7)
    steps = np.arange(-1100, 1100, dtype=np.float32) / np.float32(4)  # halves, quarters, far beyond both ends
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-38], np.float32)
    src = np.concatenate([steps * np.float32(scale), special, rng.normal(0, 40 * scale, 5000).astype(np.float32)])
    g = {"count": src.size, "zero": zero, "scale": scale}
    assert np.array_equal(run("quantize", {"src": src}, g, 1, src.shape), oracle.quantize(src, scale, zero))


def test_numbers_of_codes(body: str) -> None:
    src = np.arange(256, dtype=np.uint8).repeat(3)
    for scale, zero in ((0.125, 128), (0.1, 0), (3e-3, 255)):
        g = {"count": src.size, "zero": zero, "scale": scale}
        dst = run("dequantize", {"src": src}, g, 1, src.shape, np.float32)
        assert np.array_equal(dst, oracle.dequantize(src, scale, zero))


def test_layouts_of_codes(body: str) -> None:
    rng = np.random.default_rng(4)
    for h, w, c in ((1, 1, 1), (9, 7, 3), (16, 16, 64), (5, 31, 65)):
        src = rng.integers(0, 256, (3, c, h, w), np.uint8)
        turned, g = np.ascontiguousarray(src.transpose(0, 2, 3, 1)), {"h": h, "w": w, "c": c}
        assert np.array_equal(run("nchw_to_nhwc_int8", {"src": src}, g, 3, turned.shape), turned)
        assert np.array_equal(run("nhwc_to_nchw_int8", {"src": turned}, g, 3, src.shape), src)


def test_slices_of_codes(body: str) -> None:
    src = np.random.default_rng(4).integers(0, 256, (2, 9, 7), np.uint8)
    g = {"rows": 9, "channels": 5, "src_stride": 7, "src_offset": 1, "dst_stride": 11, "dst_offset": 4}
    expected = np.full((2, 9, 11), 0xA5, np.uint8)
    expected[:, :, 4:9] = src[:, :, 1:6]
    assert np.array_equal(run("copy_channels_int8", {"src": src}, g, 2, expected.shape), expected)
