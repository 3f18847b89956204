"""Runs the rows of a study over its seeds. What is on record is not run again, and what was cut off goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from engine.errors import UserError, warn
from engine.network.checkpoint import read
from experiments.records.locks import only_runner
from experiments.records.planned import planned_graph
from experiments.records.result import Result, checkpoint_of
from experiments.records.store import Store
from experiments.running.execute import Job
from experiments.running.executors import Executor, InProcess
from experiments.running.order import longest_first
from experiments.running.progress import Progress
from experiments.study.needs import resolved
from experiments.study.study import Study
from experiments.tasks.graph import Graph, Task
from experiments.tasks.keys import Run


def run_study(
    study: Study,
    store: Store,
    progress: Progress,
    *,
    executor: Executor | None = None,
    fail_fast: bool = False,
    accept_code: bool = False,
) -> list[Result]:
    """Plan the study and run its graph: the results of all `planned_runs`, in their order."""
    graph = planned_graph(study, store)
    return run_graph(graph, store, progress, executor=executor, fail_fast=fail_fast, accept_code=accept_code)


def run_graph(
    graph: Graph,
    store: Store,
    progress: Progress,
    *,
    executor: Executor | None = None,
    fail_fast: bool = False,
    accept_code: bool = False,
    begin: Callable[[], object] = lambda: None,
    pictures: Path | None = None,
) -> list[Result]:
    """Results of the graph's rows, in their order.

    A run with a final result in the store is not repeated; one that was cut off goes on from its last checkpoint. A run
    that diverges or fails gets a result that says so, and the study goes on, but for the runs that need it; with
    `fail_fast` the study stops there, and the results are those that there are until then.

    executor: what trains (default: this process); it is closed here. One that trains several runs at a time gets the
        longest ones first.
    accept_code: results that another version of the code gave count as well.
    begin: called once the store is this runner's alone, before anything else.
    pictures: the folder for drawings of what the first seed of every row learned, which a report shows; they are made
        where the run's samples are at hand.
    """
    with only_runner(store.root), closing(executor or InProcess()) as trainer:
        begin()
        return row_results(graph, _Runner(graph, store, progress, trainer, fail_fast, pictures).go(accept_code))


class _Runner:
    """One call of `run_graph`: what has ended (`results`), what runs, what waits."""

    def __init__(
        self,
        graph: Graph,
        store: Store,
        progress: Progress,
        executor: Executor,
        fail_fast: bool,
        pictures: Path | None,
    ):
        self.store, self.progress, self.executor, self.fail_fast = store, progress, executor, fail_fast
        shown = {task.run.row: task.run.key for task in reversed(graph.rows)}.values()
        self.pictures = dict.fromkeys(shown, pictures)
        self.waiting = list(graph.tasks)
        self.running: dict[str, Task] = {}
        self.results: dict[str, Result] = {}

    def go(self, accept_code: bool) -> dict[str, Result]:
        self._take_from_store(accept_code)
        if self.executor.capacity > 1:
            self.waiting = longest_first(self.waiting)
        while self.waiting or self.running:
            self._submit()
            if self.running:
                result = self.executor.wait(lambda job, record: self.progress.epoch(job.run, record))
                if result is not None:
                    self._end(self.running.pop(result.key), result)
            if self.fail_fast and any(each.status != "finished" for each in self.results.values()):
                break
        return self.results

    def _take_from_store(self, accept_code: bool) -> None:
        """Results on record first: nothing has to run for them."""
        needed: set[str] = set()
        # What needs a run stands behind it.
        for task in reversed(self.waiting):
            result = self.store.result(task.run, accept_code)
            if result is None or not result.final or (task.run.key in needed and lost(task.run, result)):
                needed.update(task.needs)
            else:
                self.results[task.run.key] = result
        for task in list(self.waiting):
            if task.run.key in self.results:
                self.waiting.remove(task)
                self.progress.start(task.run)
                self.progress.finish(task.run, self.results[task.run.key], repeated=True)

    def _submit(self) -> None:
        """Begin what can begin, in the order in which they wait; what never can has failed."""
        for task in list(self.waiting):
            if len(self.running) >= self.executor.capacity:
                return
            if not all(key in self.results for key in task.needs):
                continue
            self.waiting.remove(task)
            self.progress.start(task.run)
            hindered = blocked(task, self.results)
            if hindered is not None:
                self._end(task, hindered)
                continue
            self.running[task.run.key] = task
            job = prepared(task, self.results, self.store.folder(task.run))
            self.executor.submit(dataclasses.replace(job, pictures=self.pictures.get(task.run.key)))

    def _end(self, task: Task, result: Result) -> None:
        self.store.finish(task.run, result)
        self.results[task.run.key] = result
        self.progress.finish(task.run, result, repeated=False)


def row_results(graph: Graph, results: Mapping[str, Result]) -> list[Result]:
    """The results of the rows, each under its row's name."""
    return [
        dataclasses.replace(results[task.run.key], row=task.run.row) for task in graph.rows if task.run.key in results
    ]


def lost(run: Run, result: Result) -> bool:
    """Whether the network of a finished run, which another run needs, is no longer there; a warning says so."""
    if result.status != "finished":
        return False
    try:
        read(checkpoint_of(result, run))
    except UserError as error:
        warn(f"{error}; {run.label} is trained again, as others need it")
        return True
    return False


def blocked(task: Task, results: Mapping[str, Result]) -> Result | None:
    """The result of a task that cannot run, because a run that it needs did not finish."""
    for key in task.needs:
        needed = results[key]
        if needed.status != "finished":
            run = task.run
            error = f"not run: it needs {needed.row!r}, seed {needed.seed}, which {needed.status} ({needed.error})"
            return Result(run.key, run.row, run.seed, "failed", error=error)
    return None


def prepared(task: Task, results: Mapping[str, Result], folder: Path) -> Job:
    """The task as a job: with the checkpoints of finished runs in place of their names."""

    def file_of(name: str) -> str:
        run = task.named[name]
        return str(checkpoint_of(results[run.key], run))

    return Job(task.run, resolved(task.run.config, file_of), folder)
