"""What stops a program: NaN, infinity, labels out of range; the error says where."""

import cnncore
import numpy as np
import pytest

from tests.ops.families.optimizers import optimizer_geometry

BAD = (np.nan, np.inf, -np.inf)
everywhere = pytest.mark.parametrize("threads, reference", [(1, False), (3, False), (1, True)])


@everywhere
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", (0, 500, 2999))
def test_nonfinite_input(place: int, bad: float, threads: int, reference: bool, isa: str) -> None:
    src = np.ones((3, 1000), np.float32)
    src.flat[place] = bad
    src.flat[2999] = bad
    with pytest.raises(cnncore.CoreError) as caught:
        geometry = {"count": 1000, "slope": 0.0}
        cnncore.run_op("check_finite", {"src": src}, geometry, 3, threads=threads, reference=reference)
    assert (caught.value.status, caught.value.detail) == ("CNN_NONFINITE_INPUT", place)


@everywhere
@pytest.mark.parametrize("label", (-1, 10, 2**40, -(2**40)))
@pytest.mark.parametrize("sample", (0, 40, 63))
def test_label_out_of_range(sample: int, label: int, threads: int, reference: bool, isa: str) -> None:
    labels = np.arange(64) % 10
    labels[[sample, 63]] = label
    with pytest.raises(cnncore.CoreError) as caught:
        geometry = {"classes": 10, "label_smoothing": 0.0}
        cnncore.run_op("check_labels", {"labels": labels}, geometry, 64, threads=threads, reference=reference)
    assert (caught.value.status, caught.value.detail) == ("CNN_LABEL_OUT_OF_RANGE", sample)


@everywhere
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", (0, 50_000, 99_999))
def test_nonfinite_gradient(place: int, bad: float, threads: int, reference: bool, isa: str) -> None:
    gradients = np.ones(100_000, np.float32)
    gradients[[place, 99_999]] = bad
    with pytest.raises(cnncore.CoreError) as caught:
        geometry = optimizer_geometry(100_000)
        cnncore.run_op("check_gradients", {"gradients": gradients}, geometry, 1, threads=threads, reference=reference)
    assert (caught.value.status, caught.value.detail) == ("CNN_NONFINITE_GRADIENT", place)


@everywhere
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(
    "op, source", [("cross_entropy", "logits"), ("cross_entropy_soft", "logits"), ("mean_squared_error", "src")]
)
def test_nonfinite_loss(op: str, source: str, bad: float, threads: int, reference: bool, isa: str) -> None:
    logits = np.ones((7, 10), np.float32)
    logits[4, 3] = bad
    truth = {"labels": np.full(7, 3)} if op == "cross_entropy" else {"targets": np.full((7, 10), 0.1, np.float32)}
    operands = {f"diff_{source}": np.zeros((7, 10), np.float32), source: logits, **truth}
    with pytest.raises(cnncore.CoreError) as caught:
        geometry = {"classes": 10, "label_smoothing": 0.0}
        cnncore.run_op(op, operands, geometry, 7, threads=threads, reference=reference)
    assert caught.value.status == "CNN_NONFINITE_LOSS"


@everywhere
def test_nan_in_binary_cross_entropy(threads: int, reference: bool, isa: str) -> None:
    logits = np.ones((7, 10), np.float32)
    logits[6, 9] = np.nan
    operands = {
        "diff_logits": np.zeros((7, 10), np.float32), "logits": logits, "targets": np.zeros((7, 10), np.float32)
    }  # fmt: skip
    with pytest.raises(cnncore.CoreError) as caught:
        geometry = {"classes": 10, "label_smoothing": 0.0}
        cnncore.run_op("binary_cross_entropy", operands, geometry, 7, threads=threads, reference=reference)
    assert caught.value.status == "CNN_NONFINITE_LOSS"
