"""Runs the rows of a study over its seeds. What is on record is not run again, and what was cut off goes on."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from engine.config import TrainConfig
from engine.plan import Choices
from engine.train import make_trainer
from experiments.config import Study
from experiments.execute import DataCache, train_run
from experiments.fingerprint import Fingerprints
from experiments.graph import Graph, Task, checkpoint_of, study_graph
from experiments.keys import Run
from experiments.locks import only_runner
from experiments.progress import Progress
from experiments.store import Result, Store
from experiments.study.needs import resolved

# Where the disk is full no run can go on: the study stops, and the same command goes on once there is room.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def planned_runs(study: Study, store: Store | None = None) -> list[Run]:
    """The runs of the study's rows: row by row, and within a row seed by seed."""
    return [task.run for task in planned_graph(study, store).rows]


def planned_graph(study: Study, store: Store | None = None) -> Graph:
    """All runs of the study and what they need; with a store, what it has measured before is not measured again."""
    if store is None:
        return study_graph(study)

    def tuned(run: Run) -> Run:
        return store.tuned(run, partial(measured_algorithms, run.config))

    return study_graph(study, Fingerprints(store.notes("data")), tuned)


def run_study(
    study: Study, store: Store, progress: Progress, *, fail_fast: bool = False, accept_code: bool = False
) -> list[Result]:
    """Plan the study and run its graph: the results of all `planned_runs`, in their order."""
    return run_graph(planned_graph(study, store), store, progress, fail_fast=fail_fast, accept_code=accept_code)


def run_graph(
    graph: Graph, store: Store, progress: Progress, *, fail_fast: bool = False, accept_code: bool = False
) -> list[Result]:
    """Results of the graph's rows, in their order.

    A run with a final result in the store is not repeated; one that was cut off goes on from its last checkpoint. A run
    that diverges or fails gets a result that says so, and the study goes on, but for the runs that need it; with
    `fail_fast` the study stops there, and the results are those that there are until then.

    accept_code: results that another version of the code gave count as well.
    """
    results: dict[str, Result] = {}
    cache = DataCache()
    with only_runner(store.root):
        for task in graph.tasks:
            run = task.run
            result = store.result(run, accept_code)
            repeated = result is not None and result.final
            progress.start(run)
            if result is None or not repeated:
                result = blocked(task, results)
                if result is None:
                    result = attempt(prepared(task, results), run, store, cache, progress)
                store.finish(run, result)
            results[run.key] = result
            progress.finish(result, repeated)
            if fail_fast and result.status != "finished":
                break
    return row_results(graph, results)


def row_results(graph: Graph, results: Mapping[str, Result]) -> list[Result]:
    """The results of the rows, each under its row's name."""
    return [
        dataclasses.replace(results[task.run.key], row=task.run.row) for task in graph.rows if task.run.key in results
    ]


def blocked(task: Task, results: Mapping[str, Result]) -> Result | None:
    """The result of a task that cannot run, because a run that it needs did not finish."""
    for key in task.needs:
        needed = results[key]
        if needed.status != "finished":
            run = task.run
            error = f"not run: it needs {needed.row!r}, seed {needed.seed}, which {needed.status} ({needed.error})"
            return Result(run.key, run.row, run.seed, "failed", error=error)
    return None


def prepared(task: Task, results: Mapping[str, Result]) -> Run:
    """The task's run with the checkpoints of finished runs in place of their names; its key stays."""

    def file_of(name: str) -> str:
        run = task.named[name]
        return str(checkpoint_of(results[run.key], run))

    return dataclasses.replace(task.run, config=resolved(task.run.config, file_of))


def attempt(ready: Run, run: Run, store: Store, cache: DataCache, progress: Progress) -> Result:
    """Train a run whose checkpoints are in place. An error of its own becomes a failed result; a full disk does not."""
    try:
        result = train_run(ready, store.folder(run), cache, lambda record: progress.epoch(run, record))
    except OSError as error:
        if error.errno in FULL_DISK:
            raise
        result = failed(run, error)
    except Exception as error:  # whatever it is, the other runs do not share it
        result = failed(run, error)
    return dataclasses.replace(result, key=run.key)


def failed(run: Run, error: Exception) -> Result:
    """The result of a run that ended with an error."""
    text = " ".join(str(error).split())
    return Result(
        run.key, run.row, run.seed, "failed", error=f"{type(error).__name__}: {text}" if text else repr(error)
    )


def measured_algorithms(config: TrainConfig) -> Choices:
    """The algorithms that are the fastest on this machine in the configuration's training step."""
    trainer = make_trainer(dataclasses.replace(config, initialize_from=None), Path())
    return trainer.net.tuned_choices(trainer.loss, trainer.optimizer, config.batch_size)
