"""Stratified splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import model_selection

from engine.data.choose.splits import combine, drawn_split, stratified_folds, stratified_split
from engine.errors import UserError

LABELS = np.repeat(np.arange(4), [40, 20, 20, 20])


def test_split_keeps_the_proportions_and_loses_nothing():
    train, held_out = stratified_split(LABELS, 0.25, seed=1)
    assert sorted([*train, *held_out]) == list(range(100))
    assert np.bincount(LABELS[held_out]).tolist() == [10, 5, 5, 5]
    assert np.array_equal(held_out, stratified_split(LABELS, 0.25, seed=1)[1])
    assert not np.array_equal(held_out, stratified_split(LABELS, 0.25, seed=2)[1])


def test_split_on_several_columns_together():
    databases = np.tile(["x", "y"], 50)
    strata = combine([databases, LABELS])
    assert len(np.unique(strata)) == 8
    _, held_out = stratified_split(strata, 0.2, seed=0)
    assert np.bincount(strata[held_out]).tolist() == [4, 2, 2, 2, 4, 2, 2, 2]


def test_folds_cover_every_sample_once():
    folds = stratified_folds(LABELS, 5, seed=0)
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(100))
    for train, held_out in folds:
        assert not set(train) & set(held_out)
        assert np.bincount(LABELS[held_out]).tolist() == [8, 4, 4, 4]


def test_what_cannot_be_split_is_named():
    for fraction in (0.0, 1.0, 0.01):
        with pytest.raises(UserError):
            stratified_split(LABELS, fraction, seed=0)
    with pytest.raises(UserError, match="smallest class .1."):
        stratified_folds(np.array([0, 0, 0, 1]), 2, seed=0)
    with pytest.raises(UserError):
        combine([])


@pytest.mark.parametrize("fraction", [0.25, 0.7])
def test_a_small_class_is_on_both_sides(fraction):
    labels = np.array([0] * 30 + [1] * 30 + [2] * 2)
    for seed in range(5):
        parts = stratified_split(labels, fraction, seed)
        assert sorted(np.concatenate(parts)) == list(range(62))
        assert all(set(labels[part]) == {0, 1, 2} for part in parts)


def test_the_class_of_one_sample_is_named():
    with pytest.raises(UserError, match="1 in the smallest class, owl"):
        stratified_split(np.array([0, 0, 0, 1]), 0.5, 0, ["cat", "owl"])


# ---- the draws are those that scikit-learn makes, so that a split stays what it was ----

MOST_FOLDS = 6
FEW = st.lists(st.integers(0, 5), min_size=1, max_size=60)
STRATA = FEW.map(lambda few: np.array([*few, *(sorted(set(few)) * MOST_FOLDS)]))
SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None)  # scikit-learn takes a while to load
@given(STRATA, st.floats(0, 1), SEEDS)
def test_a_split_is_scikit_learns(strata, share, seed):
    classes = len(np.unique(strata))
    held_out = classes + int(share * (len(strata) - 2 * classes))
    expected = model_selection.train_test_split(
        np.arange(len(strata)), test_size=held_out, random_state=seed, stratify=strata
    )
    ours = drawn_split(strata, held_out, np.random.RandomState(seed))
    for part, other in zip(ours, expected, strict=True):
        assert np.array_equal(part, np.sort(other))


@settings(deadline=None)  # scikit-learn takes a while to load
@given(STRATA, st.integers(2, MOST_FOLDS), SEEDS)
def test_folds_are_scikit_learns(strata, folds, seed):
    expected = model_selection.StratifiedKFold(folds, shuffle=True, random_state=seed).split(strata, strata)
    ours = stratified_folds(strata, folds, seed)
    for parts, others in zip(ours, expected, strict=True):
        assert all(np.array_equal(part, other) for part, other in zip(parts, others, strict=True))


FOLDS = [[5, 6, 7, 8, 9], [0, 1, 2, 3, 4]]


def test_splits_of_known_seeds_stay_what_they_are():
    """Held against numbers too. A seed of more than 32 bits goes in as two words."""
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 0, 0])
    assert stratified_split(labels, 0.4, 3)[1].tolist() == [0, 1, 2, 6]
    assert stratified_split(labels, 0.4, 2**40 + 3)[1].tolist() == [0, 5, 6, 7]
    assert [held_out.tolist() for _, held_out in stratified_folds(labels, 2, 3)] == FOLDS
