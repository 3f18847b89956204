"""Stratified splits, a pure function of labels and seed (scikit-learn does the drawing)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
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
    strata: NDArray[Any], fraction: float, seed: int, names: Sequence[str] = ()
) -> tuple[Indices, Indices]:
    """Indices (train, validation), sorted; `fraction` of every stratum goes to validation.

    UserError where a stratum has one sample only, or the split would leave one side without some stratum.
    names: of the strata in the order of their values, for that error.
    """
    if not 0 < fraction < 1:
        raise UserError(f"the validation fraction must lie between 0 and 1, got {fraction}")
    values, counts = np.unique(strata, return_counts=True)
    held_out = math.ceil(len(strata) * fraction)
    if counts.min() < 2 or min(held_out, len(strata) - held_out) < len(counts):
        raise UserError(
            f"the data cannot be split with a validation fraction of {fraction}: each of the {len(counts)} classes "
            f"needs two samples, and each part one of every class; there are {len(strata)} samples, "
            f"{counts.min()} in the smallest class, {(names or values)[int(counts.argmin())]}"
        )
    indices = np.arange(len(strata))
    draw = _sklearn().train_test_split
    train, validation = draw(indices, test_size=fraction, random_state=_state(seed), stratify=strata)
    # The drawing rounds, and may leave a small stratum to one side: its first sample goes to the other.
    moved_here, moved_there = _firsts_missing(strata, train), _firsts_missing(strata, validation)
    train = np.setdiff1d(np.append(train, moved_here), moved_there)
    return train, np.setdiff1d(indices, train)


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
        name = f", {names[int(counts.argmin())]}" if names else ""
        raise UserError(f"folds must be from 2 to the samples of the smallest class{name} ({smallest}), got {folds}")
    splitter = _sklearn().StratifiedKFold(folds, shuffle=True, random_state=_state(seed))
    return [(np.sort(train), np.sort(held)) for train, held in splitter.split(np.zeros(len(strata)), strata)]


def _sklearn() -> ModuleType:
    from sklearn import model_selection  # takes a second; most runs split nothing

    return model_selection


def _state(seed: int) -> int | np.random.RandomState:
    """scikit-learn takes seeds of 32 bits; a longer one goes in as two words."""
    return seed if seed < 2**32 else np.random.RandomState([seed & 0xFFFFFFFF, seed >> 32])
