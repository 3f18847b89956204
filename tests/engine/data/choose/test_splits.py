"""Stratified splits."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
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
    with pytest.raises(UserError, match=r"'owl' has one; add samples of it, or leave the class out$"):
        stratified_split(np.array([0, 0, 0, 1]), 0.5, 0, ["cat", "owl"])


@pytest.mark.parametrize(("fraction", "part"), [(0.2, "validation"), (0.8, "training")])
def test_a_part_that_would_lack_a_class_is_named_with_its_size(fraction, part):
    with pytest.raises(UserError, match=f"of 4 samples the {part} part would get .*, fewer than one of each of the 2"):
        stratified_split(np.array([0, 0, 1, 1]), fraction, 0)


SIZES = st.lists(st.integers(2, 40), min_size=1, max_size=12)
FRACTION = st.floats(0.02, 0.98)


def drawn_by_sklearn(labels, fraction, seed):
    split = model_selection.StratifiedShuffleSplit(1, test_size=fraction, random_state=seed)
    return tuple(np.sort(part) for part in next(split.split(labels, labels)))


def splittable(counts, fraction):
    held_out = int(np.ceil(sum(counts) * fraction))
    return min(held_out, sum(counts) - held_out) >= len(counts)


@settings(deadline=None)
@given(SIZES, FRACTION, st.integers(0, 2**32 - 1))
@example([2] * 10 + [30], 0.25, 0)
def test_every_class_is_on_both_sides_in_its_share(counts, fraction, seed):
    assume(splittable(counts, fraction))
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    train, held_out = stratified_split(labels, fraction, seed)
    again = stratified_split(labels, fraction, seed)
    assert np.array_equal(train, again[0]) and np.array_equal(held_out, again[1])
    assert np.array_equal(np.sort(np.concatenate([train, held_out])), np.arange(len(labels)))
    here, there = (np.bincount(labels[part], minlength=len(counts)) for part in (train, held_out))
    assert here.min() >= 1 and there.min() >= 1
    # The whole of the part is rounded up, which adds less than a sample to all classes together.
    assert (abs(there - fraction * np.array(counts)) <= 1 + np.array(counts) / len(labels)).all()


@settings(deadline=None)
@given(SIZES, FRACTION, st.integers(0, 2**32 - 1))
def test_a_split_that_leaves_no_class_out_is_sklearns(counts, fraction, seed):
    assume(splittable(counts, fraction))
    labels = np.repeat(np.arange(len(counts)), counts)
    expected = drawn_by_sklearn(labels, fraction, seed)
    found = stratified_split(labels, fraction, seed)
    lost = [set(range(len(counts))) - set(labels[part]) for part in expected]
    if not any(lost):
        assert all(map(np.array_equal, found, expected))
        return
    # A class that sklearn leaves out of one side has one sample there; all others are as they were.
    for part, other, theirs, missing in zip(found, found[::-1], expected, lost):
        assert set(theirs) - set(other) <= set(part)
        assert np.bincount(labels[part], minlength=len(counts))[list(missing)].tolist() == [1] * len(missing)


@settings(deadline=None)
@given(st.lists(st.integers(3, 40), min_size=1, max_size=8), st.integers(2, 3), st.integers(0, 2**32 - 1))
def test_every_fold_has_its_share_of_every_class(counts, folds, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    for train, held_out in stratified_folds(labels, folds, seed):
        there = np.bincount(labels[held_out], minlength=len(counts))
        assert (there >= 1).all() and (abs(there - np.array(counts) / folds) < 1).all()
        assert set(labels[train]) == set(range(len(counts)))


def test_folds_name_the_smallest_class():
    with pytest.raises(UserError, match="the samples of the smallest class .'owl', 1., got 2"):
        stratified_folds(np.array([0, 0, 0, 1]), 2, 0, ["cat", "owl"])


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
