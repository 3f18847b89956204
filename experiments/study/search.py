"""The `search:` of a study: which settings of which row are varied, and between which values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.errors import UserError, unknown
from engine.reading.schema import nested
from engine.reading.settings import joined, laid_over
from engine.recipe.build import build_loss, build_optimizer, build_schedule
from engine.recipe.config import TrainConfig, read_config
from experiments.study.own_keys import refuse_own_keys

KINDS = ("uniform", "log", "integer", "choice")


@dataclass(frozen=True)
class Search:
    """A search, as a file gives it.

    row             the row whose configuration is varied
    space           by setting, such as optimizer.lr: {uniform: [low, high]}, {log: [low, high]} (uniform in the
                    logarithm), {integer: [low, high]} (both included) or {choice: [values]}
    trials          how many configurations are tried
    seed            of the sampler; the runs have the first seed of the study
    prune           whether a trial ends early that is worse than the median of earlier ones at the same epoch
    startup_trials  trials that are drawn at random and not pruned, before the sampler and the pruner learn from them
    warmup_epochs   epochs of a trial before it may be pruned
    """

    row: str
    space: dict[str, Any]
    trials: int = 20
    seed: int = 0
    prune: bool = True
    startup_trials: int = 5
    warmup_epochs: int = 3

    def __post_init__(self) -> None:
        if not self.space:
            raise UserError("space is empty; name a setting to vary, such as optimizer.lr: {log: [0.001, 0.1]}")
        if self.trials < 1:
            raise UserError(f"trials must be 1 or more, got {self.trials}")
        for name in ("seed", "startup_trials", "warmup_epochs"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must not be negative, got {getattr(self, name)}")

    @property
    def ranges(self) -> dict[str, Range]:
        """What each setting varies over. UserError for a range that is none."""
        return {name: _range(name, given) for name, given in self.space.items()}


@dataclass(frozen=True)
class Range:
    """The values of one setting: `values` are the two ends, or all that there are to choose from."""

    kind: Literal["uniform", "log", "integer", "choice"]
    values: tuple[Any, ...] = field(default=())


def _range(name: str, given: object) -> Range:
    place = f"space.{name}"
    if not isinstance(given, Mapping) or len(given) != 1:
        raise UserError(f"{place}: expected one of {', '.join(f'{{{kind}: [...]}}' for kind in KINDS)}, got {given!r}")
    ((kind, values),) = given.items()
    if kind not in KINDS:
        raise UserError(f"{place}: {unknown('kind of range', str(kind), KINDS)}")
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise UserError(f"{place}: expected a list of values, got {values!r}")
    if kind != "choice":
        _check_ends(place, kind, values)
    return Range(kind, tuple(values))


def _check_ends(place: str, kind: str, ends: Sequence[Any]) -> None:
    numbers = int if kind == "integer" else (int, float)
    right = len(ends) == 2 and all(isinstance(end, numbers) and not isinstance(end, bool) for end in ends)
    if not right or not all(map(math.isfinite, ends)) or ends[0] >= ends[1]:
        what = "whole numbers" if kind == "integer" else "numbers"
        raise UserError(f"{place}: {kind} takes two {what}, the lower one first, got {list(ends)}")
    if kind == "log" and ends[0] <= 0:
        raise UserError(f"{place}: log takes numbers above 0, got {list(ends)}")


def with_values(config: TrainConfig, values: Mapping[str, Any], where: str) -> TrainConfig:
    """The configuration with settings such as optimizer.lr replaced; UserError where it is none then."""
    changes = joined(TrainConfig, (nested(name, value) for name, value in values.items()))
    changed = read_config(laid_over(TrainConfig, config.to_dict(), changes), where)
    build_optimizer(changed.optimizer)
    build_schedule(changed.schedule)
    build_loss(changed.loss)
    return changed


def check_search(
    search: Search, configs: Mapping[str, TrainConfig], where: str, *, split_per_seed: bool = False
) -> None:
    """UserError unless the search names a row (configs: by row), and each value of its space is one of the setting."""
    place = f"{where}: search"
    if search.row not in configs:
        raise UserError(f"{place}: {unknown('row', search.row, configs)}")
    try:
        ranges = search.ranges
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    for name, each in ranges.items():
        refuse_own_keys(nested(name, each.values), f"{place}: space", split_per_seed=split_per_seed)
        for value in each.values:
            try:
                with_values(configs[search.row], {name: value}, f"{place}: {name}={value}")
            except UserError as error:
                raise UserError(f"{place}: space.{name}: {error}") from None
