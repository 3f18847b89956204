"""Programs: what a malformed one is told, what a run gives back, and what stops it."""

import gc
import weakref
from typing import Any

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

COUNT = 8
GEOMETRY = {"count": COUNT, "slope": 0.0}
BYTES = 4 * COUNT

Instruction = tuple[str, dict[str, int], dict[str, Any]]
RELU: Instruction = ("relu_forward", {"dst": 1, "src": 0}, GEOMETRY)
OUTSIDE = [("external", 0, BYTES), ("external", 1, BYTES)]


def relu_program(max_batch: int = 1) -> cnncore.Program:
    return cnncore.Program([RELU], [("external", number, BYTES * max_batch) for number in (0, 1)], max_batch, 0, {})


def loss_program(classes: int, max_batch: int) -> cnncore.Program:
    """Checks of input and labels, then cross-entropy: externals logits, labels; the gradient lies in the arena."""
    loss = {"classes": classes, "label_smoothing": 0.0}
    size = 4 * classes * max_batch
    return cnncore.Program(
        [
            ("check_finite", {"src": 0}, {"count": classes, "slope": 0.0}),
            ("check_labels", {"labels": 1}, loss),
            ("cross_entropy", {"diff_logits": 2, "logits": 0, "labels": 1}, loss),
        ],
        [("external", 0, size), ("external", 1, 8 * max_batch), ("arena", 0, size)],
        max_batch, -(-size // 64) * 64, {},
    )  # fmt: skip


def logits_and_labels(batch: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, classes)).astype(np.float32), rng.integers(0, classes, batch)


# ---- malformed descriptions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "instruction, message",
    [
        (("reluu_forward", {"dst": 1, "src": 0}, GEOMETRY), "unknown op 'reluu_forward'"),
        (("relu_forward", {"dst": 1}, GEOMETRY), "relu_forward: operand 'src' is missing"),
        (("relu_forward", {"dst": 1, "src": 0, "bias": 0}, GEOMETRY), "relu_forward: no operand is named 'bias'"),
        (("relu_forward", {"dst": 1, "src": 0}, {"count": COUNT}), "elementwise.*'count', 'slope'"),
        (("relu_forward", {"dst": 1, "src": 0}, {**GEOMETRY, "size": 1}), "elementwise.*'count', 'slope'"),
    ],
)
def test_malformed_instruction(instruction: Instruction, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cnncore.Program([instruction], OUTSIDE, 1, 0, {})


@pytest.mark.parametrize(
    "operands, spaces",
    [
        ([("external", 0, BYTES)], {}),  # index 1 is missing
        ([("arena", 0, BYTES), ("external", 1, BYTES)], {}),  # the arena has no bytes
        ([("buffers", 0, BYTES), ("external", 1, BYTES)], {}),  # the space is not given
        ([("buffers", 4, BYTES), ("external", 1, BYTES)], {"buffers": 256}),  # not on 64 bytes
        ([("buffers", 64, BYTES), ("external", 1, BYTES)], {"buffers": 64}),  # behind the end
        ([("buffers", -64, BYTES), ("external", 1, BYTES)], {"buffers": 256}),
    ],
)
def test_operand_that_does_not_fit(operands: list[tuple[str, int, int]], spaces: dict[str, int]) -> None:
    memory = {name: cnncore.aligned_zeros(size // 4) for name, size in spaces.items()}
    with pytest.raises(cnncore.CoreError, match="relu_forward") as caught:
        cnncore.Program([RELU], operands, 1, 0, memory)
    assert (caught.value.status, caught.value.detail) == ("CNN_BAD_PROGRAM", 0)


def test_unknown_space() -> None:
    with pytest.raises(ValueError, match="unknown space 'heap'.*parameters"):
        cnncore.Program([RELU], [("heap", 0, BYTES), OUTSIDE[1]], 1, 0, {})
    with pytest.raises(ValueError, match="unknown space 'heap'"):
        cnncore.Program([RELU], OUTSIDE, 1, 0, {"heap": cnncore.aligned_zeros(16)})


@pytest.mark.parametrize("number", (-1, cnncore.MAX_EXTERNALS))
def test_external_number_out_of_range(number: int) -> None:
    with pytest.raises(ValueError, match=f"expected 0 to {cnncore.MAX_EXTERNALS - 1}.*{number}"):
        cnncore.Program([RELU], [("external", number, BYTES), OUTSIDE[1]], 1, 0, {})


def test_misaligned_space() -> None:
    with pytest.raises(ValueError, match="space buffers.*aligned to 64 bytes"):
        cnncore.Program([RELU], OUTSIDE, 1, 0, {"buffers": cnncore.aligned_zeros(64)[1:]})
    with pytest.raises(ValueError, match="space buffers.*contiguous"):
        cnncore.Program([RELU], OUTSIDE, 1, 0, {"buffers": cnncore.aligned_zeros(64)[::2]})


@pytest.mark.parametrize("max_batch", (0, -1))
def test_largest_batch_below_one(max_batch: int) -> None:
    with pytest.raises(cnncore.CoreError) as caught:
        relu_program(max_batch)
    assert caught.value.status == "CNN_BAD_BATCH"


# ---- runs -----------------------------------------------------------------------------------------------------------


def test_smaller_batches_run_and_larger_ones_do_not() -> None:
    program = relu_program(max_batch=3)
    src, dst = np.full((3, COUNT), 2.0, np.float32), np.zeros((3, COUNT), np.float32)
    for batch in (1, 2, 3):
        dst[:] = 0
        assert program.run(batch, [src, dst]) == 0.0
        assert (dst[:batch] == 2).all() and (dst[batch:] == 0).all()
    for batch in (0, -1, 4):
        with pytest.raises(cnncore.CoreError) as caught:
            program.run(batch, [src, dst])
        assert caught.value.status == "CNN_BAD_BATCH"


def test_missing_external() -> None:
    src = np.zeros((1, COUNT), np.float32)
    for externals in ([], [src], [src, None]):
        with pytest.raises(ValueError, match="uses external [01], which is not given"):
            relu_program().run(1, externals)
    with pytest.raises(ValueError, match="external 0 must be C-contiguous"):
        relu_program().run(1, [np.zeros((COUNT, 2), np.float32)[:, 0], src])


def test_loss_and_gradient() -> None:
    program = loss_program(10, 7)
    logits, labels = logits_and_labels(7, 10)
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    expected = -np.log(probabilities[np.arange(7), labels]).mean()
    assert program.run(7, [logits, labels]) == pytest.approx(expected, rel=1e-5)
    assert program.elapsed > 0
    gradient = program.arena[: 4 * 70].view(np.float32).reshape(7, 10)
    np.testing.assert_allclose(gradient, (probabilities - np.eye(10)[labels]) / 7, atol=1e-6)


@pytest.mark.parametrize("bad", (np.nan, np.inf, -np.inf))
def test_nonfinite_input(bad: float) -> None:
    logits, labels = logits_and_labels(7, 10)
    logits[5, 2] = bad
    with pytest.raises(cnncore.CoreError, match="52") as caught:
        loss_program(10, 7).run(7, [logits, labels])
    assert (caught.value.status, caught.value.detail) == ("CNN_NONFINITE_INPUT", 52)


@pytest.mark.parametrize("label", (-1, 10))
def test_label_out_of_range(label: int) -> None:
    logits, labels = logits_and_labels(7, 10)
    labels[4] = label
    with pytest.raises(cnncore.CoreError) as caught:
        loss_program(10, 7).run(7, [logits, labels])
    assert (caught.value.status, caught.value.detail) == ("CNN_LABEL_OUT_OF_RANGE", 4)


def test_a_program_runs_on_after_an_error() -> None:
    program = loss_program(10, 7)
    logits, labels = logits_and_labels(7, 10)
    before = program.run(7, [logits, labels])
    with pytest.raises(cnncore.CoreError):
        program.run(7, [logits, labels + 10])
    assert program.run(7, [logits, labels]) == before


def test_check_outputs_finds_the_instruction() -> None:
    size = 64
    spaces = {"buffers": cnncore.aligned_zeros(48)}
    buffers = spaces["buffers"].view(np.float32)
    buffers[:COUNT] = 3e38
    operands = [("buffers", 0, BYTES), ("buffers", size, BYTES), ("buffers", 2 * size, BYTES)]
    instructions: list[Instruction] = [
        ("relu_forward", {"dst": 1, "src": 0}, GEOMETRY),
        ("add", {"dst": 2, "a": 0, "b": 1}, GEOMETRY),  # 3e38 + 3e38 is infinite in float32
        ("relu_forward", {"dst": 2, "src": 2}, GEOMETRY),
    ]
    program = cnncore.Program(instructions, operands, 1, 0, spaces)
    program.run(1, [])
    with pytest.raises(cnncore.CoreError) as caught:
        program.run(1, [], check_outputs=True)
    assert (caught.value.status, caught.value.detail) == ("CNN_NONFINITE_OUTPUT", 1)


def test_seconds_of_each_instruction() -> None:
    program = loss_program(10, 7)
    seconds = np.zeros(3)
    program.run(7, logits_and_labels(7, 10), seconds=seconds)
    assert (seconds >= 0).all() and 0 < seconds.sum() <= program.elapsed * 1.5
    with pytest.raises(ValueError, match="expected 3 elements, got 2"):
        program.run(7, logits_and_labels(7, 10), seconds=np.zeros(2))


def test_what_workers_wait_in_each_instruction() -> None:
    program = loss_program(10, 7)
    seconds, waited = np.zeros(3), np.zeros((4, 2))
    try:
        for threads in (1, 2):
            cnncore.set_num_threads(threads)
            waited[:] = 0
            program.run(7, logits_and_labels(7, 10), seconds=seconds, waited=waited)
            assert 1 <= program.workers <= threads
            assert (waited >= 0).all() and waited[:3].sum(axis=0).max() <= program.elapsed and waited[3, 0] > 0
            assert program.workers > 1 or not waited[:3].any()
        program.run(7, logits_and_labels(7, 10), seconds=seconds, waited=np.zeros((4, 1)))
    finally:
        cnncore.set_num_threads(0)
    for wrong, times in ((np.zeros((3, 2)), seconds), (np.zeros((4, 0)), seconds), (waited, None)):
        with pytest.raises(ValueError, match="waited: expected seconds beside it, and a row more than 3"):
            program.run(7, logits_and_labels(7, 10), seconds=times, waited=wrong)


def test_spaces_live_as_long_as_the_program() -> None:
    memory = cnncore.aligned_zeros(64)
    memory[:COUNT] = 1.0
    alive = weakref.ref(memory)
    program = cnncore.Program([RELU], [("buffers", 0, BYTES), ("buffers", 64, BYTES)], 1, 0, {"buffers": memory})
    del memory
    gc.collect()
    kept = alive()
    assert kept is not None
    program.run(1, [])
    assert (kept[16 : 16 + COUNT] == 1).all()


def test_arena_view_keeps_the_program() -> None:
    program = loss_program(10, 7)
    program.run(7, logits_and_labels(7, 10))
    view = program.arena
    before = view.copy()
    del program
    gc.collect()
    assert np.array_equal(view, before)


def test_same_bits_on_any_team() -> None:
    program = loss_program(62, 129)
    externals = logits_and_labels(129, 62)
    results = set()
    try:
        for team in (1, 2, 3, 5):
            cnncore.set_num_threads(team)
            results.add((program.run(129, externals), program.arena.tobytes()))
    finally:
        cnncore.set_num_threads(0)
    assert len(results) == 1


def test_same_bits_whoever_runs_an_instruction() -> None:
    loss = {"classes": 62, "label_smoothing": 0.0}
    size = 4 * 62 * 129
    instructions: list[Instruction] = [
        ("check_finite", {"src": 0}, {"count": 62, "slope": 0.0}),
        ("relu_forward", {"dst": 2, "src": 0}, {"count": 62, "slope": 0.0}),
        ("cross_entropy", {"diff_logits": 3, "logits": 2, "labels": 1}, loss),
    ]
    half = -(-size // 64) * 64
    operands = [("external", 0, size), ("external", 1, 8 * 129), ("arena", 0, size), ("arena", half, size)]
    externals = logits_and_labels(129, 62)
    results = set()
    try:
        cnncore.set_num_threads(3)
        for alone in ((), (0,), (1,), (0, 1), (2,), (0, 1, 2)):
            program = cnncore.Program(instructions, operands, 129, 2 * half, {}, alone)
            results.add((program.run(129, externals), program.arena.tobytes()))
    finally:
        cnncore.set_num_threads(0)
    assert len(results) == 1


# ---- single ops -----------------------------------------------------------------------------------------------------


def test_run_op_checks_names_and_types() -> None:
    src, dst = np.zeros(COUNT, np.float32), np.zeros(COUNT, np.float32)
    with pytest.raises(ValueError, match="unknown op 'relu'"):
        cnncore.run_op("relu", {"dst": dst, "src": src}, GEOMETRY, 1)
    with pytest.raises(ValueError, match="relu_forward: operand 'src' is missing"):
        cnncore.run_op("relu_forward", {"dst": dst}, GEOMETRY, 1)
    with pytest.raises(ValueError, match="src must be a C-contiguous float32"):
        cnncore.run_op("relu_forward", {"dst": dst, "src": src.astype(np.float64)}, GEOMETRY, 1)
    with pytest.raises(ValueError, match="src must be a C-contiguous float32"):
        cnncore.run_op("relu_forward", {"dst": dst, "src": np.zeros(2 * COUNT, np.float32)[::2]}, GEOMETRY, 1)
    with pytest.raises(cnncore.CoreError) as caught:
        cnncore.run_op("relu_forward", {"dst": dst, "src": src}, GEOMETRY, 1, threads=0)
    assert caught.value.status == "CNN_BAD_THREADS"


def test_op_fits_says_what_a_program_would_be_refused_for() -> None:
    for count, fits in ((1, True), (0, False)):
        geometry = {"count": count, "slope": 0.0}
        assert cnncore.op_fits("relu_forward", geometry) is fits
        try:
            cnncore.Program([("relu_forward", {"dst": 0, "src": 0}, geometry)], [("arena", 0, 64)], 1, 64, {})
        except cnncore.CoreError as error:
            assert not fits and error.status == "CNN_BAD_PROGRAM"
        else:
            assert fits
    with pytest.raises(ValueError, match="unknown op 'relu'"):
        cnncore.op_fits("relu", {"count": 1, "slope": 0.0})
    with pytest.raises(ValueError, match="expected the fields"):
        cnncore.op_fits("relu_forward", {"count": 1})


def test_aligned_zeros() -> None:
    for count, dtype in [(0, np.float32), (1, np.float32), (1000, np.float64), (3, cnncore.SEGMENT_DTYPE)]:
        array = cnncore.aligned_zeros(count, dtype)
        assert array.shape == (count,) and array.dtype == dtype
        assert count == 0 or array.ctypes.data % cnncore.ALIGNMENT == 0  # NumPy puts empty slices anywhere
        assert not array.view(np.uint8).any()


def test_registry() -> None:
    for name, info in cnncore.OPS.items():
        assert info.name == name and info.geometry in cnncore.GEOMETRIES
        names = [operand.name for operand in info.operands]
        assert len(set(names)) == len(names)
    operands = {name: {operand.name: operand for operand in info.operands} for name, info in cnncore.OPS.items()}
    argmax = operands["conv2d_forward"]["argmax"]
    assert (argmax.dtype, argmax.optional, argmax.read, argmax.written) == (np.uint8, True, False, True)
    running_mean = operands["batchnorm_forward_training"]["running_mean"]
    assert (running_mean.dtype, running_mean.optional) == (np.float32, False)
    assert running_mean.read and running_mean.written and not running_mean.in_place
    assert operands["sgd"]["segments"].dtype == cnncore.SEGMENT_DTYPE and not operands["sgd"]["segments"].written
    assert operands["check_labels"]["labels"].dtype == np.int64 and operands["add"]["b"].in_place
    assert cnncore.OPS["cross_entropy"].may_stop and not cnncore.OPS["relu_forward"].may_stop
    assert cnncore.GEOMETRIES["elementwise"] == ("count", "slope")


def test_a_geometry_takes_every_field_and_its_type() -> None:
    norm = {"rows": 1, "c": 1, "w": 0, "activation": 0, "pool": 0, "eps": 1e-5, "momentum": 0.1}
    assert cnncore.op_fits("batchnorm_backward", norm)
    assert not cnncore.op_fits("batchnorm_backward", norm | {"c": 0})
    assert not cnncore.op_fits("batchnorm_backward", norm | {"pool": 3})
    with pytest.raises(TypeError):
        cnncore.op_fits("batchnorm_backward", norm | {"c": "one"})
    with pytest.raises(ValueError, match="geometry of kind norm: expected the fields"):
        cnncore.op_fits("batchnorm_backward", norm | {"slope": 0.0})


def test_an_external_is_an_output_wherever_the_registry_says_so() -> None:
    """Here the second operand of an op that writes two, in a read-only array."""
    geometry = dict.fromkeys(cnncore.GEOMETRIES["pool2d"], 0) | dict.fromkeys(("h", "w", "kh", "kw"), 2)
    geometry |= dict.fromkeys(("c", "oh", "ow", "stride_h", "stride_w"), 1)
    operands = [("arena", 0, 4), ("external", 0, 1), ("external", 1, 16)]
    instruction = ("maxpool2d_forward", {"dst": 0, "argmax": 1, "src": 2}, geometry)
    program = cnncore.Program([instruction], operands, 1, 64, {})
    argmax, src = np.zeros((1, 1), np.uint8), np.array([[1, 2, 4, 3]], np.float32)
    src.flags.writeable = False
    program.run(1, [argmax, src])
    assert argmax == 2
    argmax.flags.writeable = False
    with pytest.raises(ValueError, match="external 0 is an output, but the array is read-only"):
        program.run(1, [argmax, src])
