"""What the core says of how it does its work: variants, blocks, register tiles."""

import cnncore
import numpy as np
import pytest
from cnncore import PANEL, CoreError


def convolution(ic: int, oc: int, side: int = 24, kernel: int = 3, **changes: int) -> dict[str, int]:
    """A convolution whose output is as large as its input."""
    pads = dict.fromkeys(("pad_top", "pad_left", "pad_bottom", "pad_right"), kernel // 2)
    once = dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w", "groups"), 1)
    extents = {"h": side, "w": side, "oh": side, "ow": side, "kh": kernel, "kw": kernel, "ic": ic, "oc": oc}
    return {**extents, **pads, **once, "activation": 0, "pool": 0, "tile": 0, **changes}


STRIDED = {"stride_h": 2, "stride_w": 2, "oh": 12, "ow": 12}


@pytest.mark.parametrize(
    ("direction", "geometry", "variant"),
    [
        ("forward", convolution(3, 6), "lanes"),
        ("forward", convolution(3, 6, **STRIDED), "usual"),
        ("forward", convolution(4, 6, groups=2), "usual"),
        ("forward", convolution(3, 6, kernel=1), "usual"),
        ("forward", convolution(3, 6, side=9), "lanes"),
        ("forward", convolution(3, 8, side=9), "usual"),  # 9 of 16 lanes, 8 of 16 columns
        ("forward", convolution(3, 32, pool=2), "usual"),
        ("backward_data", convolution(3, 32), "usual"),
        ("backward_data", convolution(3, 32, pool=2), "sparse"),
        ("backward_data", convolution(3, 32, pool=2, **STRIDED), "usual"),
        ("backward_weights", convolution(3, 32), "usual"),
        ("backward_weights", convolution(3, 32, pool=2), "pick"),
        ("backward_weights", convolution(3, 32, pool=2, **STRIDED), "sparse"),
        ("backward_weights", convolution(32, 32, pool=2), "sparse"),
        ("backward_weights", convolution(32, 32, pool=2, groups=2), "usual"),
        ("forward", convolution(8, 8, groups=8, pool=2), "depthwise"),
        ("backward_data", convolution(8, 8, groups=8, **STRIDED), "depthwise"),
        ("backward_weights", convolution(8, 8, groups=8, pool=2), "depthwise"),
        ("forward", convolution(8, 16, groups=8), "usual"),  # two filters for each channel
        ("backward_weights", convolution(1, 1), "usual"),
    ],
)
def test_the_variant_of_a_convolution(direction: str, geometry: dict[str, int], variant: str) -> None:
    blocking = cnncore.op_blocking(f"conv2d_{direction}", geometry, 4)
    assert blocking.variant == variant
    assert bool(blocking.lane_channels) == bool(blocking.lane_vectors) == (variant == "lanes")


def test_one_or_two_samples_of_a_linear_layer_are_a_pass_over_the_weights() -> None:
    geometry = {"k": 100, "n": 10, "activation": 0}
    variants = [cnncore.op_blocking("linear_forward", geometry, batch).variant for batch in (1, 2, 3)]
    assert variants == ["few_rows", "few_rows", "usual"]
    assert cnncore.op_blocking("linear_backward_data", geometry, 1).variant == "usual"


def test_winograd_cuts_the_map_that_it_writes_into_tiles() -> None:
    valid = convolution(8, 200, tile=4, oh=22, ow=22, **dict.fromkeys(("pad_top", "pad_left"), 0))
    valid = {**valid, "pad_bottom": 0, "pad_right": 0}
    forward, data = (cnncore.op_blocking(f"winograd_{name}", valid, 5) for name in ("forward", "backward_data"))
    assert (forward.tiles, data.tiles) == (5 * 6 * 6, 5 * 6 * 6)
    small = {**valid, "oh": 20, "ow": 20, "h": 22, "w": 22}
    forward, data = (cnncore.op_blocking(f"winograd_{name}", small, 5) for name in ("forward", "backward_data"))
    assert (forward.tiles, data.tiles) == (5 * 5 * 5, 5 * 6 * 6)
    assert 0 < forward.tile_block < data.tile_block  # the gradient reads 200 channels: filters of more bytes


def test_winograd_makes_no_tile_for_a_row_that_no_pool_takes() -> None:
    geometry = convolution(8, 8, tile=4, side=9, pool=2)
    assert cnncore.op_blocking("winograd_forward", geometry, 5).tiles == 5 * 2 * 2
    assert cnncore.op_blocking("winograd_backward_weights", geometry, 5).tiles == 5 * 2 * 2
    assert cnncore.op_blocking("winograd_backward_data", geometry, 5).tiles == 5 * 3 * 3


@pytest.mark.parametrize(("ic", "oc"), [(1, 1), (16, 40), (129, 300), (512, 512)])
def test_blocks_of_the_weight_gradient_hold_all_channels(ic: int, oc: int) -> None:
    blocking = cnncore.op_blocking("winograd_backward_weights", convolution(ic, oc, tile=2), 3)
    assert blocking.tiles == 3 * 12 * 12 and 0 < blocking.tile_block <= blocking.tiles
    assert blocking.oc_block % PANEL == 0 and (blocking.oc_blocks - 1) * blocking.oc_block < oc
    assert blocking.oc_blocks * blocking.oc_block >= oc and 1 <= blocking.ic_blocks <= -(-ic // PANEL)
    one = cnncore.op_blocking("winograd_backward_weights", convolution(ic, oc, side=4, tile=4), 1)
    assert one.tiles == one.tile_block == 1


def test_the_columns_of_a_filter_lie_side_by_side_as_it_is_said() -> None:
    geometry = convolution(5, 48, tile=4)
    together = cnncore.op_blocking("winograd_filter", geometry, 1).filter_columns
    column, rows = together - 1, geometry["ic"]
    weights = np.zeros((48 // PANEL, 9 * rows, PANEL), np.float32)
    weights[column // PANEL, :, column % PANEL] = 1.0
    dst = np.zeros(36 * rows * 48, np.float32)
    cnncore.run_op("winograd_filter", {"dst": dst, "weights": weights}, geometry, 1)
    first = dst[: 36 * rows * together].reshape(36, together // PANEL, rows, PANEL)
    assert np.count_nonzero(dst) == np.count_nonzero(first[:, column // PANEL, :, column % PANEL]) > 0


def test_an_op_without_variants_or_blocks_says_so() -> None:
    blocking = cnncore.op_blocking("relu_forward", {"count": 7, "slope": 0.0}, 2)
    assert blocking.variant == "usual" and not any(blocking[1:])


def test_no_blocking_of_what_cannot_run() -> None:
    for geometry, batch in ((convolution(3, 6), 0), (convolution(3, 6, groups=2), 1)):
        with pytest.raises(CoreError, match="conv2d_forward"):
            cnncore.op_blocking("conv2d_forward", geometry, batch)
    with pytest.raises(ValueError, match="unknown op"):
        cnncore.op_blocking("conv3d", {}, 1)


def test_the_instruction_set_in_use_changes_no_blocking() -> None:
    before, found = cnncore.isa(), set()
    try:
        for name in cnncore.available_isas():
            cnncore.set_isa(name)
            found.add(cnncore.op_blocking("conv2d_forward", convolution(3, 6), 8))
            found.add(cnncore.op_blocking("winograd_backward_weights", convolution(64, 64, tile=4), 8))
    finally:
        cnncore.set_isa(before)
    assert len(found) == 2


@pytest.mark.parametrize("name", ["reference", "portable", "avx2", "avx512", "neon"])
def test_every_instruction_set_has_a_register_tile(name: str) -> None:
    tile = cnncore.register_tile(name)
    assert tile.rows > 0 and tile.columns % PANEL == 0 and PANEL % tile.width == 0


def test_an_unknown_instruction_set_has_none() -> None:
    with pytest.raises(ValueError, match="unknown instruction set 'avx1024'"):
        cnncore.register_tile("avx1024")


@pytest.mark.parametrize("kernel", [(15, 17), (16, 16), (1, 255), (1, 256)])
def test_a_window_that_is_too_large_for_positions_of_maxima(kernel: tuple[int, int]) -> None:
    kh, kw = kernel
    extents = {"h": kh, "w": kw, "c": 1, "kh": kh, "kw": kw, "oh": 1, "ow": 1, "stride_h": 1, "stride_w": 1}
    geometry = {**extents, "pad_top": 0, "pad_left": 0, "count_include_pad": 1}
    assert cnncore.op_fits("maxpool2d_forward", geometry) == (kh * kw <= cnncore.MAX_POOL_AREA)
    assert cnncore.op_fits("avgpool2d_forward", geometry)
