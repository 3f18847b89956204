"""The planner, pass by pass: layouts, fusion, gradients, memory, costs."""

from __future__ import annotations

import math
from itertools import combinations

import cnncore
import numpy as np
import pytest

from engine.layers import (
    Add,
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2D,
    ReLU,
    Softmax,
)
from engine.losses import CrossEntropy
from engine.models import MODELS, make_model
from engine.models.numtadb import lenet
from engine.network.graph import Graph, Network, Sequential
from engine.optim import SGD, Adam, AdamW
from engine.plan import INFERENCE, Request, algorithms, team
from engine.plan.cost import counts
from engine.plan.gradients import RULES
from engine.plan.layout import assign_slots, flattened_maps
from engine.plan.memory.arena import live_intervals
from engine.plan.plan import Plan
from engine.plan.table import quantity
from engine.plan.update import make_segments
from engine.program.code import ARENA, EXTERNAL, IN_PLACE
from engine.program.slots import column_scale, pack, unpack
from tests.engine.small import ISAS, plan_for


def ops(plan: Plan) -> list[str]:
    return [instruction.op for instruction in plan.instructions]


def small(*layers: Layer, shape: tuple[int, ...] = (3, 8, 8)) -> Network:
    return Sequential(layers, input_shape=shape)


# ---- layouts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        Conv2D(3, 5, (3, 2)),
        Conv2D(6, 34, 3, groups=2),
        Conv2D(5, 5, 3, groups=5),
        Conv2D(18, 18, 3, groups=18),
        Conv2D(2, 16, 1),
    ],
    ids=str,
)
def test_convolution_weights_in_panels(layer: Conv2D) -> None:
    slots, _ = assign_slots(small(layer, shape=(layer.in_channels, 8, 8)).topology)
    slot = slots["0.weights"]
    public = np.arange(math.prod(slot.spec.shape), dtype=np.float32).reshape(slot.spec.shape) + 1
    packed = pack(slot, public)
    outputs, inputs, kernel_h, kernel_w = public.shape
    groups = 1 if inputs == 1 and outputs == layer.groups else layer.groups
    per_group = outputs // groups
    panels = packed.reshape(groups, -(-per_group // 16), kernel_h, kernel_w, inputs, 16)
    for oc, ic, kh, kw in np.ndindex(public.shape):
        group, column = divmod(oc, per_group)
        assert panels[group, column // 16, kh, kw, ic, column % 16] == public[oc, ic, kh, kw]
    assert np.count_nonzero(packed) == public.size
    assert np.array_equal(unpack(slot, packed), public)


def test_linear_behind_a_free_flatten_reads_channels_last() -> None:
    net = small(Flatten(), Linear(3 * 4 * 5, 18), shape=(3, 4, 5))
    slot = net.store.slots["1.weights"]
    public = np.arange(18 * 60, dtype=np.float32).reshape(18, 60) + 1
    panels = pack(slot, public).reshape(2, 4, 5, 3, 16)
    for n, c, h, w in np.ndindex(18, 3, 4, 5):
        assert panels[n // 16, h, w, c, n % 16] == public[n, (c * 4 + h) * 5 + w]
    assert np.array_equal(unpack(slot, pack(slot, public)), public)


def test_column_scale_reaches_every_channel() -> None:
    net = small(Conv2D(4, 34, 3, groups=2), shape=(4, 8, 8))
    slot = net.store.slots["0.weights"]
    scale = np.arange(34.0) + 1
    public = np.ones(slot.spec.shape, np.float32)
    panels = pack(slot, public).reshape(2, 2, slot.rows, 16) * column_scale(slot, scale)
    assert np.array_equal(
        unpack(slot, panels.astype(np.float32).reshape(-1)), public * scale[:, None, None, None].astype(np.float32)
    )


def test_parameters_start_on_cache_lines_and_gaps_stay_zero() -> None:
    net = small(Conv2D(3, 5, 3), BatchNorm(5), ReLU(), Flatten(), Linear(180, 7))
    covered = np.zeros(net.store.count, bool)
    for slot in net.store.slots.values():
        assert slot.offset % 16 == 0 and not covered[slot.offset : slot.offset + slot.count].any()
        covered[slot.offset : slot.offset + slot.count] = True
    session = net.training_session(CrossEntropy(), AdamW(lr=0.1, weight_decay=0.5), 4)
    x = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    for step in range(3):
        session.step(x, np.arange(4), 0.1, step, 0)
    assert not net.store.data[~covered].any()
    missing = pack(net.store.slots["0.weights"], np.ones((5, 3, 3, 3), np.float32)) == 0
    slot = net.store.slots["0.weights"]
    assert not net.store.data[slot.offset : slot.offset + slot.count][missing].any()


@pytest.mark.parametrize(
    ("layers", "free"),
    [
        ([Flatten(), Linear(192, 4)], True),
        ([Flatten(), ReLU(), Dropout(0.1), Linear(192, 4)], True),
        ([Flatten(), BatchNorm(192), Linear(192, 4)], False),
        ([Flatten()], False),
        ([Flatten(), ReLU()], False),
    ],
)
def test_a_flatten_is_free_only_before_linear_layers(layers: list[Layer], free: bool) -> None:
    net = small(*layers)
    names, orders = flattened_maps(net.topology)
    assert (names == {"0"}) is free
    assert ("nhwc_to_nchw" not in ops(net.plan())) is free
    assert set(orders) == ({name for name, layer in net.layers.items() if isinstance(layer, Linear)} if free else set())


# ---- fusion -------------------------------------------------------------------------------------------------------


def test_convolution_relu_and_pool_become_one_op() -> None:
    plan = small(Conv2D(3, 4, 3), ReLU(), MaxPool2D(2, 2)).plan(batch=2, algorithm="direct")
    (conv,) = [i for i in plan.instructions if i.op == "conv2d_forward"]
    assert (conv.geometry["activation"], conv.geometry["pool"], conv.layer) == (1, 2, "0+1+2")
    assert "argmax" in conv.operands
    assert ops(plan) == ["check_finite", "nchw_to_nhwc", "conv2d_forward", "nhwc_to_nchw"]


@pytest.mark.parametrize(
    "pool", [MaxPool2D(2, 1), MaxPool2D(3, 2), MaxPool2D(2, 2, 1), MaxPool2D(2, 2, ceil_mode=True)], ids=str
)
def test_other_pools_stay_ops_of_their_own(pool: MaxPool2D) -> None:
    assert "maxpool2d_forward" in ops(small(Conv2D(3, 4, 4), ReLU(), pool).plan())


def test_a_value_with_two_readers_is_not_fused_away() -> None:
    graph = Graph((3, 8, 8))
    conv = graph.add(Conv2D(3, 3, 1), graph.input)
    relu = graph.add(ReLU(), conv)
    graph.output = graph.add(Add(), conv, relu)
    assert ops(graph.plan())[2:5] == ["conv2d_forward", "relu_forward", "add"]


def test_batch_normalisation_is_folded_for_inference_only() -> None:
    net = small(Conv2D(3, 20, 3), BatchNorm(20), ReLU(), Flatten(), Linear(720, 5), BatchNorm(5), Softmax())
    plan = net.plan()
    assert not any("batchnorm" in op for op in ops(plan))
    assert [fold.norm for fold in plan.folds] == ["1", "5"]
    assert [i.layer for i in plan.instructions if "forward" in i.op][:2] == ["0+1+2", "4+5"]
    assert ops(net.plan(training=True)).count("batchnorm_forward_training") == 2


def test_folded_weights_follow_every_change() -> None:
    net = small(Conv2D(3, 20, 3, bias=False), BatchNorm(20), Flatten(), Linear(720, 5, bias=False), BatchNorm(5))
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 3, 8, 8)).astype(np.float32)

    def unfolded() -> np.ndarray:
        graph = Graph((3, 8, 8))  # a second reader of the convolution keeps batch normalisation an op
        conv = graph.add(Conv2D(3, 20, 3, bias=False), graph.input)
        norm = graph.add(BatchNorm(20), conv)
        graph.add(Concat(), norm, conv, name="both")
        flat = graph.add(Flatten(), "both")
        weights = net.parameters()["3.weights"]
        linear = graph.add(Linear(1440, 5, bias=False), flat, name="linear")
        graph.output = graph.add(BatchNorm(5), linear, name="last")
        known = net.parameters()
        graph.load_parameters(
            {
                "0.weights": known["0.weights"],
                "1.weights": known["1.weights"],
                "1.bias": known["1.bias"],
                "linear.weights": np.hstack([weights, np.zeros_like(weights)]),
                "last.weights": known["4.weights"],
                "last.bias": known["4.bias"],
            }
        )
        statistics = net.buffers()
        graph.load_buffers({key.replace("4.", "last."): array for key, array in statistics.items()})
        return graph.predict(x)

    for _ in range(3):
        assert np.allclose(net.predict(x), unfolded(), atol=1e-4)
        net.training_session(CrossEntropy(), SGD(lr=0.5), 3).step(x, np.array([0, 1, 2]), 0.5, 0, 0)
    net.load_buffers({key: random.uniform(0.5, 2, a.shape).astype(np.float32) for key, a in net.buffers().items()})
    assert np.allclose(net.predict(x), unfolded(), atol=1e-4)


# ---- gradients ----------------------------------------------------------------------------------------------------


def test_every_forward_op_has_a_gradient_rule() -> None:
    forward = {name for name in cnncore.OPS if name.endswith("_forward")} | {"dropout", "scale", "multiply"}
    forward |= {"scale_channels", "add", "copy_channels"}
    assert forward - {"winograd_forward"} <= set(RULES)  # which comes in after gradients have been planned


def test_the_input_gets_no_gradient() -> None:
    plan = lenet().plan(training=True, algorithm="direct")
    assert ops(plan).count("conv2d_backward_weights") == 2 and ops(plan).count("conv2d_backward_data") == 1
    plan = small(AvgPool2D(2), ReLU(), Conv2D(3, 3, 2), Flatten(), Linear(27, 2)).plan(training=True)
    assert "relu_backward" not in ops(plan) and "avgpool2d_backward" not in ops(plan)


def test_contributions_of_several_readers_are_added() -> None:
    graph = Graph((2, 4, 4))
    conv = graph.add(Conv2D(2, 2, 1), graph.input)
    graph.add(Add(), conv, conv, conv, name="sum")
    graph.output = graph.add(Linear(32, 3), graph.add(Flatten(), "sum"))
    x = np.random.default_rng(1).normal(size=(2, 2, 4, 4)).astype(np.float32)
    y = np.array([0, 2])
    value, gradients = graph.loss_and_gradients(x, y, CrossEntropy())
    parameters = graph.parameters()
    for key, index in (("0.weights", (1, 0, 0, 0)), ("0.bias", (1,))):
        losses = []
        for shift in (1e-2, -1e-2):
            moved = {name: array.copy() for name, array in parameters.items()}
            moved[key][index] += shift
            graph.load_parameters(moved)
            losses.append(graph.loss_and_gradients(x, y, CrossEntropy())[0])
        assert gradients[key][index] == pytest.approx((losses[0] - losses[1]) / 2e-2, rel=2e-2, abs=1e-4)
    assert value > 0


# ---- memory -------------------------------------------------------------------------------------------------------

MEMORY_CASES = ["lenet", "mnist_cnn", "scene_15", "midas_cnn"]


@pytest.mark.parametrize("name", MEMORY_CASES)
@pytest.mark.parametrize("training", [False, True])
def test_values_that_live_together_do_not_overlap(name: str, training: bool) -> None:
    plan = make_model(name).plan(batch=7, training=training, optimizer=Adam() if training else None)
    intervals = live_intervals(plan.code)
    for one, other in combinations(intervals, 2):
        (first, last), (other_first, other_last) = intervals[one], intervals[other]
        if max(first, other_first) > min(last, other_last):
            continue
        start, other_start = plan.arena.offsets[one], plan.arena.offsets[other]
        end = start + plan.code.values[one].bytes(7)
        other_end = other_start + plan.code.values[other].bytes(7)
        if start == other_start and max(first, other_first) == min(last, other_last):
            assert IN_PLACE[plan.instructions[max(first, other_first)].op]
            continue
        assert end <= other_start or other_end <= start
    assert all(offset % 64 == 0 for offset in plan.arena.offsets.values())
    ends = [plan.arena.offsets[value] + plan.code.values[value].bytes(7) for value in intervals]
    assert max(ends) <= plan.arena_bytes <= max(ends) + 7 * 64


@pytest.mark.parametrize("name", MEMORY_CASES)
def test_memory_grows_in_proportion_to_the_batch(name: str) -> None:
    net = make_model(name)
    # The same algorithms: others need other filters.
    plans = [net.plan(batch=batch, training=True, algorithm="direct") for batch in (1, 5, 64)]
    formulas = {(plan.arena.fixed_bytes, plan.arena.sample_bytes) for plan in plans}
    ((fixed, sample),) = formulas
    for plan in plans:
        assert plan.arena_bytes == fixed + sample * plan.batch
        assert f"{fixed:,} B + {sample:,} B x batch" in str(plan)


@pytest.mark.parametrize("name", MEMORY_CASES)
def test_the_printed_memory_is_all_that_a_program_takes(name: str) -> None:
    net = make_model(name)
    session = net.training_session(CrossEntropy(), Adam(), 3)
    inference = net.programs.compile(Request(INFERENCE, 3))
    x = np.zeros((3, *net.input_shape), np.float32)
    cnncore.set_num_threads(2)
    try:
        session.step(x, np.zeros(3, np.int64), 0.1, 0, 0)
        inference.program.run(3, (x, None, np.empty((3, *net.output_shape), np.float32)))
    finally:
        cnncore.set_num_threads(0)
    persistent = net.store.data.nbytes + net.store.buffers.nbytes
    learning = net.store.gradients.nbytes + len(Adam().states) * net.store.data.nbytes
    for compiled, arrays in ((session.compiled, persistent + learning), (inference, persistent)):
        plan, program = compiled.plan, compiled.program
        threads = 1 if len(plan.alone) == len(plan.instructions) else 2
        taken = arrays + compiled.constants.nbytes + program.arena_bytes + program.workspace_bytes
        assert plan.footprint.bytes(threads) == taken
        assert f"with one thread {quantity(plan.footprint.bytes())}B: arena {quantity(plan.arena_bytes)}B" in str(plan)


def test_inference_needs_no_more_than_two_neighbouring_maps() -> None:
    net = small(*[Conv2D(8, 8, 3, padding=1)] * 6, shape=(8, 16, 16))
    assert net.plan(batch=4).arena_bytes == 2 * 4 * 8 * 16 * 16 * 4


def test_every_value_is_written_before_it_is_read() -> None:
    for name in MODELS:
        plan = make_model(name).plan(training=True) if not name.startswith("vgg") else lenet().plan(training=True)
        written: set[int] = set()
        for instruction in plan.instructions:
            for value in instruction.sources():
                place = plan.code.values[value]
                assert place.space != ARENA or value in written, f"{name}: {instruction}"
            written.update(instruction.outputs())


# ---- updates, costs, tables ---------------------------------------------------------------------------------------


def test_segments_cover_all_parameters_once() -> None:
    net = small(Conv2D(3, 5, 3), BatchNorm(5), ReLU(), Flatten(), Linear(180, 7))
    segments = make_segments(net.store.slots, SGD(lr=0.1, weight_decay=0.25, l2={"conv": 0.5, "linear": 0.125}))
    assert [(s.l2, s.weight_decay) for s in segments] == [(1.25, 0.0), (0.25, 0.0), (0.5, 0.0), (0.25, 0.0)]
    assert segments[0].offset == 0 and sum(s.count for s in segments) == net.store.count
    for segment, after in zip(segments, segments[1:]):
        assert segment.offset + segment.count == after.offset
    assert len(make_segments(net.store.slots, AdamW(weight_decay=0.1))) == 1
    assert make_segments(net.store.slots, AdamW(weight_decay=0.1))[0].weight_decay == 0.1


def test_costs_of_a_convolution() -> None:
    plan = small(Conv2D(4, 6, 3, groups=2, padding=1), shape=(4, 5, 7)).plan(batch=3)
    (conv,) = [i for i in plan.instructions if i.op == "conv2d_forward"]
    outputs = 5 * 7 * 6
    assert counts.flops(conv, 3) == 3 * (2 * outputs * 9 * 2 + outputs)
    weights = 2 * 16 * 9 * 2 * 4
    assert counts.bytes_touched(conv, plan.code.values, 3) == 3 * (140 + outputs) * 4 + weights + 6 * 4


def test_every_op_has_a_cost() -> None:
    assert set(counts.PER_SAMPLE) | set(counts.PER_RUN) == set(cnncore.OPS)


def test_choices_name_the_algorithm_of_every_convolution() -> None:
    choices = lenet().plan(training=True, algorithm="direct").choices
    assert choices["isa"] == cnncore.isa()
    assert choices["convolutions"] == {
        "0": {"forward": "direct", "backward_weights": "direct"},
        "3": {"forward": "direct", "backward_data": "direct", "backward_weights": "direct"},
    }


def test_a_printed_plan_shows_every_instruction() -> None:
    plan = lenet().plan(batch=64, training=True, optimizer=SGD(lr=0.1, momentum=0.9), algorithm="direct")
    text = str(plan)
    assert "the input of layer '12' (the logits)" in text and "batch up to 64" in text
    table = text.split("\n\n")[1].splitlines()
    assert len(table) == len(plan.instructions) + 2
    assert "direct+relu+maxpool" in text and table[-1].split()[0] == "total"


def test_plans_are_a_function_of_network_and_request() -> None:
    assert str(lenet().plan(training=True)) == str(lenet(seed=5).plan(training=True))


# ---- one worker or all ----------------------------------------------------------------------------------------------


def together(plan: Plan) -> set[str]:
    """Ops that the whole team runs."""
    return {instruction.op for instruction in plan.instructions if not instruction.alone}


@pytest.mark.parametrize("isa", ISAS)
def test_a_small_program_is_one_workers(isa: str) -> None:
    net = Sequential([Conv2D(1, 4, 3), ReLU(), MaxPool2D(2, 2), Flatten(), Linear(4, 2)], (1, 4, 4))
    plan = plan_for(isa, net, 1)
    assert not together(plan) and plan.alone == set(range(len(plan.instructions))) and plan.most_workers == 1
    assert "relu+maxpool+alone" in str(plan)


@pytest.mark.parametrize("isa", ISAS)
def test_a_program_has_as_many_workers_as_make_it_faster(isa: str) -> None:
    one, many = plan_for(isa, lenet(), 1), plan_for(isa, lenet(), 64)
    assert 2 <= one.most_workers < many.most_workers


def test_the_best_number_of_workers_takes_the_least_time() -> None:
    seconds, alone = [40e-6, 0.1e-6, 0.1e-6, 90e-6, 0.1e-6], [False, True, True, False, True]

    def total(workers: int) -> float:
        return 130e-6 / workers + (team.OPENING + 4) * team.MEETING * workers

    best = team.most_workers(seconds, alone)
    assert best == 12 and min(total(best), total(best + 1)) == min(map(total, range(1, 100)))
    assert team.most_workers(seconds, [True] * 5) == 1
    assert team.most_workers([], []) == 1


@pytest.mark.parametrize("isa", ISAS)
def test_a_large_program_leaves_its_small_instructions_to_one_worker(isa: str) -> None:
    plan = plan_for(isa, make_model("vgg3"), 1)
    assert any(algorithms.pass_of(op) for op in together(plan)) and "linear_forward" in together(plan)
    alone = [instruction for instruction in plan.instructions if instruction.alone]
    assert "softmax_forward" in {instruction.op for instruction in alone}
    assert [i.geometry["n"] for i in alone if i.op == "linear_forward"] == [10]
    step = plan_for(isa, make_model("vgg3"), 64, training=True)
    assert together(step) >= {i.op for i in step.instructions if algorithms.pass_of(i.op)} | {"sgd"}


def test_a_brief_program_leaves_a_sleeping_team_alone() -> None:
    for isa in ISAS:
        assert plan_for(isa, lenet(), 1).brief
        assert not plan_for(isa, make_model("vgg3"), 64).brief
        assert not plan_for(isa, lenet(), 1, training=True).brief
    # Brief, but large enough that a team that is awake helps: with the times of one instruction set.
    plan = plan_for("avx2", make_model("mnist_cnn"), 1)
    assert plan.brief and together(plan)
    assert not plan_for("avx2", lenet(), 64).brief


def test_external_operands_are_input_targets_and_output() -> None:
    plan = lenet().plan(loss=CrossEntropy())
    external = {v.offset: v.shape for v in plan.code.values if v.space == EXTERNAL}
    assert external == {0: (3, 28, 28), 1: (), 2: (10,)}
