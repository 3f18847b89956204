"""Instructions that run on some samples of the batch: their windows."""

from collections.abc import Iterator
from typing import Any

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

ROWS, C, BATCH = 64, 3, 12
NORM = {"rows": ROWS, "c": C, "w": 8, "activation": 1, "pool": 2, "eps": 1e-5, "momentum": 0.1}
EACH = {"src": ROWS * C, "diff_src": ROWS * C, "dst": ROWS // 4 * C, "diff_dst": ROWS // 4 * C}  # of a sample
VECTORS = ("weights", "bias", "running_mean", "running_var", "diff_weights", "diff_bias", "save_inv_std")
PAIRS = ("save_mean", "squares", "sums", "products", "factors")

AFFINE, SAVED = ("weights", "bias"), ("save_mean", "save_inv_std")
PARTS = (  # of a normalisation and its gradient: op, what it has of each sample, what else; the last window first
    ("batchnorm_moments", ("src",), (*SAVED, "squares", "running_mean", "running_var"), False),
    ("batchnorm_normalize", ("src", "dst", "argmax"), (*SAVED, *AFFINE), True),
    ("batchnorm_sums", ("src", "diff_dst", "argmax"),
     (*SAVED, *AFFINE, "diff_weights", "diff_bias", "sums", "products", "factors"), False),
    ("batchnorm_data", ("src", "diff_dst", "argmax", "diff_src"), (*SAVED, *AFFINE, "factors"), True),
)  # fmt: skip


class Memory:
    """Arrays in the states of a program, by name, and operands of them; argmax lies in the arena."""

    def __init__(self) -> None:
        counts = {**{name: count * BATCH for name, count in EACH.items()}, **dict.fromkeys(VECTORS, C),
                  **dict.fromkeys(PAIRS, 2 * C)}  # fmt: skip
        self.places, end = {}, 0
        for name, count in counts.items():
            self.places[name] = end, count
            end += -(-count // 16) * 16
        self.states = cnncore.aligned_zeros(end)
        self.operands: list[tuple[str, int, int]] = []
        self.known: dict[tuple[Any, ...], int] = {}

    def array(self, name: str) -> NDArray[np.float32]:
        start, count = self.places[name]
        return self.states[start : start + count]

    def operand(self, name: str, window: tuple[int, int] | None = None) -> int:
        first, samples = window or (0, BATCH)
        if name == "argmax":
            each = EACH["dst"]
            operand = ("arena", first * each, samples * each)
        elif name in EACH:
            operand = ("states", 4 * (self.places[name][0] + first * EACH[name]), 4 * samples * EACH[name])
        else:
            operand = ("states", 4 * self.places[name][0], 4 * self.places[name][1])
        if operand not in self.known:
            self.known[operand] = len(self.operands)
            self.operands.append(operand)
        return self.known[operand]


def normalization(memory: Memory, windows: list[tuple[int, int]]) -> cnncore.Program:
    """A training-mode normalisation with ReLU and pool, and its gradient, in these windows."""
    made = []
    for op, cut, whole, back in PARTS:
        for window in reversed(windows) if back else windows:
            operands = {name: memory.operand(name, window) for name in cut}
            made.append(((op, operands | {name: memory.operand(name) for name in whole}, NORM), window))
    return cnncore.Program(
        [each for each, _ in made], memory.operands, BATCH, BATCH * EACH["dst"], {"states": memory.states},
        windows={number: window for number, (_, window) in enumerate(made)}, exact=True,
    )  # fmt: skip


def whole(memory: Memory, batch: int) -> dict[str, NDArray[Any]]:
    """What the two ops for a whole batch give."""
    given = {name: memory.array(name)[: EACH[name] * batch].copy() for name in EACH}
    given |= {name: memory.array(name).copy() for name in (*VECTORS, *PAIRS)}
    given["argmax"] = np.zeros(EACH["dst"] * batch, np.uint8)
    for op in ("batchnorm_forward_training", "batchnorm_backward"):
        operands = {each.name: given[each.name] for each in cnncore.OPS[op].operands if each.name in given}
        cnncore.run_op(op, operands, NORM, batch)
    return given


@pytest.fixture(params=[*cnncore.available_isas(), "reference"])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = cnncore.isa()
    cnncore.set_isa(request.param)
    yield request.param
    cnncore.set_isa(before)


@pytest.mark.parametrize("batch", (1, 3, 4, 5, 9, BATCH))
@pytest.mark.parametrize("windows", [[(0, 12)], [(0, 4), (4, 4), (8, 4)], [(0, 8), (8, 4)]], ids=str)
def test_a_normalization_in_windows_is_that_of_the_whole_batch(
    batch: int, windows: list[tuple[int, int]], isa: str
) -> None:
    memory, rng = Memory(), np.random.default_rng(batch)
    memory.states[:] = rng.uniform(0.5, 1.5, memory.states.size)
    memory.array("src")[:] += rng.normal(3, 1, memory.array("src").size)
    untouched = {name: memory.array(name)[EACH[name] * batch :].copy() for name in ("dst", "diff_src")}
    expected = whole(memory, batch)
    normalization(memory, windows).run(batch, [])
    for name in ("dst", "diff_src"):
        found = memory.array(name)
        np.testing.assert_allclose(found[: EACH[name] * batch], expected[name], rtol=1e-4, atol=2e-5, err_msg=name)
        assert (found[EACH[name] * batch :] == untouched[name]).all(), f"{name}: behind the batch"
    for name in ("running_mean", "running_var", "diff_weights", "diff_bias", "save_inv_std"):
        np.testing.assert_allclose(memory.array(name), expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_windows_have_the_same_bits_on_any_team() -> None:
    found = []
    try:
        for threads in (1, 2, 3, 7):
            cnncore.set_num_threads(threads)
            memory = Memory()
            memory.states[:] = np.random.default_rng(0).normal(size=memory.states.size)
            normalization(memory, [(0, 8), (8, 4)]).run(11, [])
            found.append(memory.states.copy())
    finally:
        cnncore.set_num_threads(0)
    assert all(np.array_equal(each, found[0]) for each in found)


def test_draws_are_those_of_the_whole_batch() -> None:
    count, states = 16, cnncore.aligned_zeros(BATCH * 16)
    dropout = {"count": count, "draws": count, "stream": 0, "rate": 0.5}
    results = []
    for windows in ([(0, BATCH)], [(0, 5), (5, 7)]):
        operands = [("states", 4 * count * first, 4 * count * samples) for first, samples in windows]
        made = cnncore.Program(
            [("dropout", {"dst": i, "src": i}, dropout) for i in range(len(windows))], operands, BATCH, 0,
            {"states": states}, windows=dict(enumerate(windows)),
        )  # fmt: skip
        states[:] = 1
        made.run(BATCH - 1, [], seed=3, step=2)
        results.append(states.copy())
    assert (results[0] == results[1]).all() and (results[0] == 0).any()
    assert (results[0][-count:] == 1).all()  # of the sample that the batch lacks


@pytest.mark.parametrize("window", [(-1, 4), (0, 13), (9, 4), (12, 1), (0, -1), (3, 0)], ids=str)
def test_a_window_outside_of_the_batch_is_refused(window: tuple[int, int]) -> None:
    relu = ("relu_forward", {"dst": 0, "src": 1}, {"count": 16, "slope": 0.0})
    operands = [("arena", 0, 64 * BATCH), ("arena", 64 * BATCH, 64 * BATCH)]
    cnncore.Program([relu], operands, BATCH, 128 * BATCH, {}, windows={0: (0, BATCH)})
    with pytest.raises(cnncore.CoreError) as caught:
        cnncore.Program([relu], operands, BATCH, 128 * BATCH, {}, windows={0: window})
    assert (caught.value.status, caught.value.detail) == ("CNN_BAD_PROGRAM", 0)


def test_an_external_has_no_window() -> None:
    relu = ("relu_forward", {"dst": 0, "src": 1}, {"count": 16, "slope": 0.0})
    operands = [("arena", 0, 64 * BATCH), ("external", 0, 64 * BATCH)]
    cnncore.Program([relu], operands, BATCH, 64 * BATCH, {})
    with pytest.raises(cnncore.CoreError, match="relu_forward"):
        cnncore.Program([relu], operands, BATCH, 64 * BATCH, {}, windows={0: (0, 4)})


def test_positions_of_maxima_are_read_for_the_samples_that_they_were_written_for() -> None:
    """Others of them could lie anywhere."""
    pool = {"h": 4, "w": 4, "c": 4, "kh": 2, "kw": 2, "oh": 2, "ow": 2, "stride_h": 2, "stride_w": 2, "pad_top": 0,
            "pad_left": 0, "count_include_pad": 0}  # fmt: skip
    operands = [("arena", 0, 4 * 256), ("arena", 1024, 4 * 64), ("arena", 1280, 4 * 16)]
    program = [
        ("maxpool2d_forward", {"dst": 1, "argmax": 2, "src": 0}, pool),
        ("maxpool2d_backward", {"diff_src": 0, "diff_dst": 1, "argmax": 2}, pool),
    ]

    def make(forward: tuple[int, int], backward: tuple[int, int]) -> None:
        cnncore.Program(program, operands, 12, 1408, {}, windows={0: forward, 1: backward})

    make((4, 4), (4, 4))
    for forward, backward in (((4, 4), (0, 4)), ((4, 4), (4, 3)), ((4, 3), (4, 4))):
        with pytest.raises(cnncore.CoreError) as caught:
            make(forward, backward)
        assert (caught.value.status, caught.value.detail) == ("CNN_BAD_PROGRAM", 1)
