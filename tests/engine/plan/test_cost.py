"""Costs: the arithmetic of transcendental functions counts, alone or fused; so do the positions of Winograd's tiles."""

import pytest

from engine.layers import GELU, BatchNorm, Conv2D, Flatten, Layer, Linear, ReLU, Sigmoid, SiLU, Softplus, Tanh
from engine.network.graph import Sequential
from engine.plan.cost import counts
from engine.plan.cost.estimate import FUNCTION, features, seconds
from engine.plan.plan import Plan

ELEMENTS = 6 * 5 * 7


def plan_of(activation: Layer, training: bool) -> Plan:
    layers = [Conv2D(4, 6, 3, padding=1), activation, Flatten(), Linear(ELEMENTS, 3)]
    return Sequential(layers, (4, 5, 7)).plan(batch=2, training=training)


@pytest.mark.parametrize("activation", [GELU(), GELU("tanh"), SiLU()], ids=["gelu", "gelu_tanh", "silu"])
def test_an_activation_costs_its_arithmetic_alone_and_fused(activation: Layer) -> None:
    training, inference = plan_of(activation, True), plan_of(activation, False)
    (forward,) = [each for each in training.instructions if each.layer == "1" and each.op.endswith("_forward")]
    name = forward.op.removesuffix("_forward")
    assert counts.done(forward, 2) == 2 * ELEMENTS * counts.FUNCTIONS[name][0]
    (fused,) = [each for each in inference.instructions if each.op in ("conv2d_forward", "winograd_forward")]
    assert counts.function_flops(fused, 2) == counts.function_flops(forward, 2) > 0
    (backward,) = [each for each in training.instructions if each.op == f"{name}_backward"]
    assert counts.done(backward, 2) == 2 * ELEMENTS * counts.FUNCTIONS[name][1]
    for each in (forward, backward):
        kind, (moved, operations, calls) = features(each, training.code.values, 2, training.isa)
        arrays = len(each.operands)
        assert (kind, moved, operations, calls) == (FUNCTION, arrays * 2 * ELEMENTS * 4, counts.done(each, 2), 1)


def test_a_fused_function_takes_time_that_relu_does_not() -> None:
    """What else the convolution does is the same."""

    def convolution(activation: Layer) -> float:
        plan = plan_of(activation, False)
        (each,) = [each for each in plan.instructions if each.op in ("conv2d_forward", "winograd_forward")]
        return seconds(each, plan.code.values, 2, "avx512")

    assert convolution(Softplus()) > convolution(GELU()) > convolution(Sigmoid()) > convolution(ReLU())


def test_a_gradient_from_the_output_is_bound_by_memory() -> None:
    plan = Sequential([BatchNorm(4), Tanh(), Flatten(), Linear(4 * 35, 3)], (4, 5, 7)).plan(batch=2, training=True)
    (each,) = [each for each in plan.instructions if each.op == "tanh_backward"]
    assert features(each, plan.code.values, 2, plan.isa)[0] == "stream"
    assert counts.done(each, 2) == counts.flops(each, 2)


@pytest.mark.parametrize(
    ("direction", "side", "pool", "tile", "kernel", "along"),
    [
        ("forward", 8, 0, 4, 3, 12),
        ("forward", 7, 0, 4, 3, 11),
        ("forward", 7, 2, 4, 3, 10),  # the last row is in no window
        ("backward_weights", 7, 2, 4, 3, 10),
        ("backward_data", 7, 2, 4, 3, 11),
        ("forward", 3, 0, 4, 3, 5),
        ("forward", 7, 0, 2, 3, 15),
        ("forward", 10, 0, 4, 5, 22),
    ],
)
def test_a_tile_counts_as_many_positions_as_its_outputs_need(
    direction: str, side: int, pool: int, tile: int, kernel: int, along: int
) -> None:
    extents = dict.fromkeys(("h", "w", "oh", "ow"), side)
    geometry = {**extents, "kh": kernel, "kw": kernel, "pool": pool, "tile": tile}
    assert counts.winograd_positions(direction, geometry) == along * along
