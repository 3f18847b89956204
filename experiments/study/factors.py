"""Rows from crossed factors.

    factors:
      optimizer.lr: [0.01, 0.001]                    # the values of one key: lr=0.01, lr=0.001
      steps:                                         # or named changes: plain, reversed
        plain: {}
        reversed: {preprocess: {steps: [reverse]}}

gives the four rows lr=0.01/plain, lr=0.01/reversed, lr=0.001/plain and lr=0.001/reversed: the last factor changes
fastest.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from engine.errors import UserError
from engine.reading.schema import nested
from engine.reading.settings import joined
from engine.recipe.config import TrainConfig
from experiments.study.schema import RowFile


def crossed_rows(factors: Mapping[str, Any], where: str) -> tuple[RowFile, ...]:
    """A row for every combination of the factors' values; none without factors."""
    if not factors:
        return ()
    levels = [_levels(name, values, f"{where}: factors.{name}") for name, values in factors.items()]
    return tuple(_row(combination) for combination in product(*levels))


def _levels(name: str, values: Any, where: str) -> list[tuple[str, dict[str, Any]]]:
    """(name, changes) of each value of a factor."""
    if not isinstance(values, (list, Mapping)):
        raise UserError(f"{where}: expected a list of values or a mapping of names to changes, got {values!r}")
    if not values:
        raise UserError(f"{where}: the factor has no values")
    if isinstance(values, list):
        return [(f"{name.rpartition('.')[2]}={value}", nested(name, value)) for value in values]
    for level, changes in values.items():
        if not isinstance(changes, Mapping):
            raise UserError(f"{where}.{level}: expected a mapping of keys to values, got {changes!r}")
    return [(str(level), dict(changes)) for level, changes in values.items()]


def _row(levels: tuple[tuple[str, dict[str, Any]], ...]) -> RowFile:
    return RowFile("/".join(name for name, _ in levels), joined(TrainConfig, (changes for _, changes in levels)))
