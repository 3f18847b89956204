"""Stratified splits, a pure function of labels and seed.

The draws are, number by number, those of scikit-learn's train_test_split and StratifiedKFold, from NumPy's RandomState,
whose stream is frozen: a split does not change with the version of any package.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError

Indices = NDArray[np.int64]


def combine(columns: Sequence[NDArray[Any]]) -> Indices:
    """One number for each distinct row of the columns: strata for a split on several columns together."""
    if not columns:
        raise UserError("a stratified split needs at least one column")
    codes = np.stack([np.unique(column, return_inverse=True)[1].reshape(-1) for column in columns], axis=1)
    return np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def stratified_split(
    strata: NDArray[Any], fraction: float, seed: int, names: Sequence[str] = (), *, slack: float = 0.0
) -> tuple[Indices, Indices]:
    """Indices (train, validation), sorted; `fraction` of every stratum goes to validation.

    UserError where a stratum has one sample only, or the split would leave one side without some stratum.
    names: of the strata in the order of their values, for that error. slack: how much too large a fraction may be that
    was computed; what is to be held out is rounded up without it.
    """
    if not 0 < fraction < 1:
        raise UserError(f"the validation fraction must lie between 0 and 1, got {fraction}")
    values, counts = np.unique(strata, return_counts=True)
    held_out = math.ceil(len(strata) * (fraction - slack))
    beginning = f"the data cannot be split with a validation fraction of {fraction}: "
    if counts.min() < 2:
        smallest = str((names or values)[int(counts.argmin())])
        raise UserError(
            f"{beginning}each of the {len(counts)} classes needs two samples, one to learn from and one to validate "
            f"with, and {smallest!r} has one; add samples of it, or leave the class out"
        )
    if min(held_out, len(strata) - held_out) < len(counts):
        part, size = ("validation", held_out) if held_out < len(counts) else ("training", len(strata) - held_out)
        raise UserError(
            f"{beginning}of {len(strata)} samples the {part} part would get {size}, fewer than one of each of the "
            f"{len(counts)} classes; add samples, or take another fraction"
        )
    train, validation = drawn_split(strata, held_out, _state(seed))
    # The drawing rounds, and may leave a small stratum to one side: its first sample goes to the other.
    moved_here, moved_there = _firsts_missing(strata, train), _firsts_missing(strata, validation)
    train = np.setdiff1d(np.append(train, moved_here), moved_there)
    return train, np.setdiff1d(np.arange(len(strata)), train)


def drawn_split(strata: NDArray[Any], held_out: int, state: np.random.RandomState) -> tuple[Indices, Indices]:
    """Sorted indices (train, validation), `held_out` of them for validation, every stratum in its share."""
    places, counts = np.unique(strata, return_inverse=True, return_counts=True)[1:]
    kept = _shares(counts, len(strata) - held_out, state)
    held = _shares(counts - kept, held_out, state)
    train, validation = [], []
    for stratum, (first, second) in enumerate(zip(kept, held, strict=True)):
        members = np.flatnonzero(places.reshape(-1) == stratum)
        members = members[state.permutation(len(members))]
        train.append(members[:first])
        validation.append(members[first : first + second])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation))


def _shares(counts: Indices, size: int, state: np.random.RandomState) -> Indices:
    """How many of each stratum make a sample of `size`: largest remainders, equal ones drawn."""
    exact = counts / counts.sum() * size
    shares = np.floor(exact)
    remainders = exact - shares
    missing = int(size - shares.sum())
    for value in np.unique(remainders)[::-1]:
        if missing > 0:
            (equal,) = np.nonzero(remainders == value)
            added = state.choice(equal, size=min(len(equal), missing), replace=False)
            shares[added] += 1
            missing -= len(added)
    return shares.astype(np.int64)


def _firsts_missing(strata: NDArray[Any], side: Indices) -> Indices:
    """The first sample of every stratum that has none on this side."""
    values, firsts = np.unique(strata, return_index=True)
    return firsts[~np.isin(values, strata[side])]


def stratified_folds(
    strata: NDArray[Any], folds: int, seed: int, names: Sequence[str] = ()
) -> list[tuple[Indices, Indices]]:
    """`folds` pairs (train, validation) of sorted indices; every sample is in exactly one validation part.

    UserError where a stratum has fewer samples than there are folds. names: as for `stratified_split`.
    """
    counts = np.unique(strata, return_counts=True)[1]
    smallest = int(counts.min())
    if not 2 <= folds <= smallest:
        name = f"{names[int(counts.argmin())]!r}, " if names else ""
        raise UserError(f"folds must be from 2 to the samples of the smallest class ({name}{smallest}), got {folds}")
    state = _state(seed)
    first, places = np.unique(strata, return_index=True, return_inverse=True)[1:]
    numbers = np.argsort(np.argsort(first))[places.reshape(-1)]  # strata by the order in which they first occur
    # Round the folds through the samples sorted by stratum: parts of a stratum differ by one at most, and so do folds.
    dealt = np.sort(numbers)
    parts = np.array([np.bincount(dealt[fold::folds], minlength=len(first)) for fold in range(folds)])
    fold_of = np.empty(len(numbers), np.int64)
    for stratum, sizes in enumerate(parts.T):
        drawn = np.repeat(np.arange(folds), sizes)
        state.shuffle(drawn)
        fold_of[numbers == stratum] = drawn
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(folds)]


def _state(seed: int) -> np.random.RandomState:
    """RandomState takes seeds of 32 bits; a longer one goes in as two words."""
    return np.random.RandomState(seed if seed < 2**32 else [seed & 0xFFFFFFFF, seed >> 32])
