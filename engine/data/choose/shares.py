"""How many samples of each class."""

from __future__ import annotations

import numpy as np

from engine.data.choose.splits import Indices
from engine.data.dataset import Dataset, RawDataset
from engine.errors import UserError


def class_counts(dataset: RawDataset | Dataset) -> Indices:
    """Samples of each class, (classes,)."""
    return np.bincount(dataset.labels, minlength=len(dataset.class_names))


def proportional(counts: Indices, total: int, what: str = "select.count") -> Indices:
    """`total` shared out in proportion to `counts`, by largest remainders (ties: the first).

    UserError, which names `what` the total is, for one that is not from 1 to the sum of the counts.
    """
    whole = int(counts.sum())
    if not 1 <= total <= whole:
        raise UserError(f"{what} must be in 1..{whole}, the number of samples, got {total}")
    quotas = counts.astype(object) * total  # whole numbers of any size: no rounding decides
    shares = np.array([int(quota) // whole for quota in quotas], np.int64)
    remainders = np.array([int(quota) % whole for quota in quotas], np.int64)
    shares[np.argsort(-remainders, kind="stable")[: total - int(shares.sum())]] += 1
    return shares
