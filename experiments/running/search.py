"""Search beyond a grid: Optuna chooses the settings of a row, and each trial is a run like any other.

A trial has the key of its configuration, so one that a row or an earlier search has trained is not trained again. What
a search has done is written nowhere else: the settings of a trial depend on the search's seed, the trial's number and
how earlier trials went, and that stands in the runs' records and logs. The same command goes through all of it again,
without training what is there, and goes on where it was cut off, to the same trials as if it had not been. That holds
for one version of Optuna. All that it decides of a trial's result is the settings, and these stand in its key: what
another version chose is found again only where this one chooses the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from engine.draws import generator
from engine.errors import UserError
from engine.training.folder import trained_seconds
from engine.training.metrics import direction, is_better
from engine.training.resume import trained_epochs
from experiments.records.planned import planned_graph
from experiments.records.result import Result
from experiments.records.store import Store
from experiments.running.runner import run_graph
from experiments.study.search import Range, Search, with_values
from experiments.study.study import Stage, Study
from experiments.tasks.keys import Run

if TYPE_CHECKING:
    import optuna


SAMPLER = 302  # purpose of the sampler's seeds (engine.draws.generator)

Ended = Literal["finished", "pruned", "diverged", "failed"]


@dataclass(frozen=True)
class Trial:
    """A configuration that was tried. `value`: of the study's metric (None unless it finished); `epochs` trained."""

    number: int
    values: Mapping[str, Any]
    status: Ended
    value: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""


class Pruned(BaseException):
    """Ends a run before its time. No Exception, like KeyboardInterrupt: the runner must not take it for a failure."""


class _Watch:
    """Tells Optuna of every epoch once, whether it comes from a log or from training, and ends what it gives up."""

    def __init__(self, trial: optuna.Trial, metric: str, row: str):
        self.trial, self.metric, self.row = trial, metric, row
        self.epochs = 0

    def see(self, record: Mapping[str, Any]) -> None:
        """An epoch with its record; Pruned where the trial is to end. One that was seen before tells nothing new."""
        if record["epoch"] <= self.epochs:
            return
        if self.metric not in record:
            raise UserError(f"search: no epoch has the metric {self.metric}; it has {', '.join(record)}")
        self.epochs = record["epoch"]
        self.trial.report(record[self.metric], self.epochs)
        if self.trial.should_prune():
            raise Pruned

    # ---- as the runner's listener ----

    def start(self, run: Run) -> None:
        pass

    def epoch(self, run: Run, record: Mapping[str, Any]) -> None:
        if run.row == self.row:
            self.see(record)

    def finish(self, run: Run, result: Result, repeated: bool) -> None:
        pass

    def close(self) -> None:
        pass


def run_search(study: Study, store: Store, listener: Callable[[Trial], None] = lambda trial: None) -> list[Trial]:
    """All trials of the study's search, in their order; the listener hears of each when it has ended.

    A trial that diverges counts for the sampler like one that was pruned: as worse than those that finished.
    UserError where Optuna is missing or the study has no search.
    """
    search = study.search
    if search is None:
        raise UserError(f"study {study.name} has no search; write one into its file (search: …)")
    optuna = _optuna()
    row = next((each for each in study.rows if each.name == search.row), None)
    if row is None:
        raise UserError(f"the search varies the row {search.row!r}, which is not among the rows that were chosen")
    goal = direction(study.metric, row.config.mode)
    pruner = optuna.pruners.NopPruner()
    if search.prune:
        pruner = optuna.pruners.MedianPruner(search.startup_trials, search.warmup_epochs)
    history = optuna.create_study(direction="minimize" if goal == "min" else "maximize", pruner=pruner)
    trials = []
    for number in range(search.trials):
        history.sampler = _sampler(search, number)
        asked = history.ask()
        values = {name: _suggested(asked, name, each) for name, each in search.ranges.items()}
        trial = _run_trial(study, search, store, asked, values)
        if trial.status == "finished":
            history.tell(asked, trial.value)
        else:
            given_up = trial.status in ("pruned", "diverged")
            history.tell(asked, state=optuna.trial.TrialState.PRUNED if given_up else optuna.trial.TrialState.FAIL)
        trials.append(trial)
        listener(trial)
    return trials


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError("a search needs Optuna: pip install 'cnn-engine[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _sampler(search: Search, number: int) -> optuna.samplers.BaseSampler:
    """A tree-structured Parzen estimator with draws of its own for each trial, so that it can begin at any of them."""
    seed = int(generator(search.seed, SAMPLER, 0, number).integers(2**31))
    return _optuna().samplers.TPESampler(seed=seed, n_startup_trials=search.startup_trials)


def _suggested(trial: optuna.Trial, name: str, given: Range) -> Any:
    if given.kind == "choice":  # by place: a value may be a mapping
        return given.values[trial.suggest_categorical(name, range(len(given.values)))]
    low, high = given.values
    if given.kind == "integer":
        return trial.suggest_int(name, low, high)
    return trial.suggest_float(name, low, high, log=given.kind == "log")


def _run_trial(study: Study, search: Search, store: Store, asked: optuna.Trial, values: Mapping[str, Any]) -> Trial:
    """Train the trial, or take what is on record of it. UserError where neither its log nor a checkpoint tells its
    epochs: without all of them the sampler would choose other trials than before."""
    number = asked.number
    graph = planned_graph(_as_study(study, search, number, values), store)
    run = graph.rows[0].run
    watch, folder = _Watch(asked, study.metric, run.row), store.folder(run)
    try:
        for record in trained_epochs(folder):
            watch.see(record)
        (result,) = run_graph(graph, store, watch)
    except Pruned:
        seconds = trained_seconds([each for each in trained_epochs(folder) if each["epoch"] <= watch.epochs])
        return Trial(number, values, "pruned", None, watch.epochs, seconds)
    value = result.metrics.get(study.metric) if result.status == "finished" else None
    return Trial(number, values, result.status, value, result.epochs, result.seconds, result.error)


def _as_study(study: Study, search: Search, number: int, values: Mapping[str, Any]) -> Study:
    """A study of one row and one seed: the trial. Rows that it needs are stages to it."""
    row = next(each for each in study.rows if each.name == search.row)
    config = with_values(row.config, values, f"trial {number} of {row.name!r}")
    trial = dataclasses.replace(row, name=f"{row.name} trial {number}", config=config, same_as=None)
    others = (Stage(each.name, each.config, each.needs) for each in study.rows if each is not row)
    return dataclasses.replace(study, rows=(trial,), seeds=study.seeds[:1], stages=(*study.stages, *others))


# ---- what came of it ----


def best_trial(study: Study, trials: list[Trial]) -> Trial | None:
    """The finished trial with the best value, the earlier one of equals."""
    mode = direction(study.metric, next((row.config.mode for row in study.rows), None))
    best: Trial | None = None
    for trial in trials:
        if trial.value is not None and is_better(trial.value, None if best is None else best.value, mode):
            best = trial
    return best
