"""Metrics against hand-computed values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from engine.errors import UserError
from engine.training.metrics import (
    accuracy,
    confusion_matrix,
    direction,
    evaluation_chunk,
    format_confusion,
    is_better,
    macro_f1,
    per_class,
    predicted_classes,
    ranked_classes,
)

TRUTH = np.array([0, 0, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 1, 0])


def test_accuracy():
    assert accuracy(TRUTH, PREDICTED) == 0.6


def test_macro_f1_by_hand():
    # class 0: 2*1/(2+1+1) = 0.5; class 1: 2*2/(4+1+0) = 0.8; class 2 is never met: 0
    assert macro_f1(TRUTH, PREDICTED) == pytest.approx((0.5 + 0.8 + 0.0) / 3)


PAIRS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=60).map(np.array)


@pytest.mark.filterwarnings("ignore:A single label")
@settings(deadline=None)  # scikit-learn takes a while to load
@given(PAIRS)
def test_metrics_are_scikit_learns_to_the_bit(pairs):
    truth, predicted = pairs.T
    assert macro_f1(truth, predicted) == sklearn.f1_score(truth, predicted, average="macro", zero_division=0.0)
    both = sklearn.precision_recall_fscore_support
    precision, recall, _, _ = both(truth, predicted, labels=np.unique(truth), zero_division=0.0)
    expected = [recall.mean(), recall.min(), precision.mean(), precision.min()]
    assert list(per_class(truth, predicted).values()) == expected
    for classes in (int(truth.max()) + 1, 45):
        matrix = confusion_matrix(truth, predicted, classes)
        assert np.array_equal(matrix, sklearn.confusion_matrix(truth, predicted, labels=np.arange(classes)))


def test_confusion_matrix_counts_true_rows_and_predicted_columns():
    matrix = confusion_matrix(TRUTH, PREDICTED, 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_formatted_confusion_matrix_lines_up():
    text = format_confusion(np.array([[10, 0], [3, 250]]), ["cat", "a long name"])
    lines = text.splitlines()
    assert len(lines) == 3 and len({len(line) for line in lines}) == 1
    assert lines[2].split()[-1] == "250"


def test_empty_or_unequal_arrays_are_refused():
    with pytest.raises(UserError):
        accuracy(TRUTH, PREDICTED[:3])
    with pytest.raises(UserError):
        macro_f1(TRUTH[:0], PREDICTED[:0])


@pytest.mark.parametrize(
    ("value", "best", "mode", "better"),
    [
        (1.0, None, "min", True),
        (1.0, math.nan, "max", True),
        (math.nan, None, "min", False),
        (math.nan, math.inf, "min", False),
        (0.9, 1.0, "min", True),
        (1.0, 1.0, "min", False),
        (0.9, 1.0, "max", False),
        (math.inf, 1.0, "min", False),
    ],
)
def test_what_better_means(value, best, mode, better):
    assert is_better(value, best, mode) is better


def test_direction_by_name():
    assert direction("val_loss") == "min" and direction("val_macro_f1") == "max"
    assert direction("val_loss", "max") == "max"
    with pytest.raises(UserError):
        direction("val_loss", "down")


def test_metrics_by_class_are_over_the_classes_of_the_truth():
    truth, predicted = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 2])
    measured = per_class(truth, predicted)
    assert measured["macro_recall"] == pytest.approx((3 / 4 + 1 / 2) / 2) and measured["min_recall"] == 0.5
    assert measured["macro_precision"] == pytest.approx((1 + 1 / 2) / 2) and measured["min_precision"] == 0.5
    assert per_class(np.array([0, 1]), np.array([0, 0]))["min_precision"] == 0.0


def test_ranked_classes_begin_with_the_predicted_one_and_keep_the_order_of_equal_ones():
    scores = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.0, 0.0, 0.0]], np.float32)
    assert ranked_classes(scores, 3).tolist() == [[1, 2, 0], [0, 2, 1], [0, 1, 2]]
    assert ranked_classes(scores, 1)[:, 0].tolist() == predicted_classes(scores).tolist()
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(UserError, match="sample 1"):
            ranked_classes(np.array([[0.0, 1.0], [0.0, value]]), 2)


# ---- what a caller may give ---

METRICS = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "per_class": per_class,
    "confusion_matrix": lambda truth, predicted: confusion_matrix(truth, predicted, 3),
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_lists_and_arrays_of_any_integers_give_the_same(metric):
    truth, predicted = np.array([1, 2, 1, 0]), np.array([1, 2, 2, 0])
    expected = metric(truth, predicted)
    for make in (list, tuple, lambda a: a.astype(np.uint8), lambda a: a.astype(np.uint64), lambda a: a.astype("i2")):
        for other in (make(predicted), predicted):
            assert np.array_equal(metric(make(truth), other), expected) or metric(make(truth), other) == expected


NO_LABELS = {
    "a column": (np.array([[1], [2]]), np.array([1, 2])),
    "scores": (np.array([1, 2]), np.eye(2)),
    "two columns": (np.array([[1], [2]]), np.array([[1], [2]])),
    "a number": (1, 1),
    "floats": (np.array([1.0, 2.0]), np.array([1, 2])),
    "texts": (["a", "b"], ["a", "b"]),
    "rows of two lengths": ([[1], [1, 2]], [1, 2]),
    "nothing": ([], []),
    "fewer": ([1, 2], [1]),
    "masked": (np.ma.masked_array([1, 2], [True, False]), [1, 2]),
}


@pytest.mark.parametrize(("truth", "predicted"), NO_LABELS.values(), ids=NO_LABELS)
@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_what_are_no_labels_is_refused(metric, truth, predicted):
    with pytest.raises(UserError, match=r"a metric needs|labels"):
        metric(truth, predicted)


def test_a_list_and_a_column_have_the_accuracy_that_they_have():
    assert accuracy([1, 2, 1], [1, 2, 2]) == pytest.approx(2 / 3)


def test_an_evaluation_takes_fewer_samples_of_large_maps_at_a_time():
    chunks = [evaluation_chunk(each) for each in [(10,), (2, 64, 64), (21, 512, 512), (2, 4096, 4096)]]
    assert chunks == [1024, 512, 1, 1]
