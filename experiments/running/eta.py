"""When a study will have ended, from what its runs have taken so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import fmean

from engine.recipe.build import build_loss, build_network, build_optimizer
from engine.recipe.config import TrainConfig
from experiments.records.result import Result
from experiments.tasks.keys import Run


class Eta:
    """Follows the runs of a study.

    A row's epochs are expected to take what its own took on average, this time by the clock or in results on record.
    Those of a row that has had none yet are expected to take as much more, or less, than the others' as its training
    step does by the cost model of the planner. The same number of samples in all rows is assumed.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        jobs: int = 1,
        modelled: Callable[[TrainConfig], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._jobs, self._clock = jobs, clock
        self._modelled = modelled or modelled_seconds
        self._left = {run.key: run.config.epochs for run in runs}
        self._rows = {run.key: run.row for run in runs}
        self._configs = {run.row: run.config for run in runs}
        self._costs: dict[str, float] = {}
        self._seen: dict[str, list[float]] = {}
        self._since: dict[str, float] = {}

    def start(self, run: Run) -> None:
        self._since[run.key] = self._clock()

    def epoch(self, run: Run, epoch: int) -> None:
        """Epoch `epoch` (from 1) of a run has ended."""
        now = self._clock()
        resumed = self._left[run.key] - (run.config.epochs - epoch) > 1
        if not resumed:  # otherwise part of it was trained earlier
            self._seen.setdefault(run.row, []).append(now - self._since[run.key])
        self._since[run.key] = now
        self._left[run.key] = run.config.epochs - epoch

    def finish(self, run: Run, result: Result, repeated: bool) -> None:
        self._left[run.key] = 0
        if repeated and result.seconds_per_epoch is not None:
            self._seen.setdefault(run.row, []).append(result.seconds_per_epoch)

    @property
    def seconds(self) -> float | None:
        """Until the end; None before the first epoch has ended."""
        if not self._seen:
            return None
        per_epoch = {row: fmean(seen) for row, seen in self._seen.items()}
        waiting = {self._rows[key] for key, left in self._left.items() if left}
        if not waiting <= set(per_epoch):
            factor = fmean(per_epoch.values()) / fmean([self._cost(row) for row in per_epoch])
            per_epoch |= {row: factor * self._cost(row) for row in waiting - set(per_epoch)}
        total = sum(left * per_epoch[self._rows[key]] for key, left in self._left.items() if left)
        at_once = min(self._jobs, max(1, sum(left > 0 for left in self._left.values())))
        return total / at_once

    def _cost(self, row: str) -> float:
        if row not in self._costs:
            self._costs[row] = self._modelled(self._configs[row])
        return self._costs[row]


def modelled_seconds(config: TrainConfig) -> float:
    """Seconds per sample of a training step on one core, by the planner's cost model."""
    net = build_network(config.model, config.seed)
    plan = net.plan(
        batch=config.batch_size,
        training=True,
        loss=build_loss(config.loss),
        optimizer=build_optimizer(config.optimizer),
        algorithm=config.algorithm,
    )
    return sum(plan.estimates) / config.batch_size
