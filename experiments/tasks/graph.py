"""The runs of a study as a graph: which there are, and which must have ended before which.

A configuration names the weights of another row or stage as `run:NAME`; what is meant is that run with the same seed of
the study (to which a stage may add an offset for its own draws). Whatever comes to the same key is one run, however
often it is named: a row with `same_as` has the other row's runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from experiments.study.needs import references
from experiments.study.study import Row, Stage, Study, seeds_of
from experiments.tasks.fingerprint import Fingerprints
from experiments.tasks.keys import Run


@dataclass(frozen=True)
class Task:
    """A run, and the runs that it needs: those named in its configuration, by name, and all, by key.

    Apart from `Run`, which goes to other processes and machines and is to carry no graph along.
    """

    run: Run
    named: Mapping[str, Run] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """rows: the task of every row and seed, row by row; tasks: every training once, each behind what it needs."""

    rows: tuple[Task, ...]
    tasks: tuple[Task, ...]

    @property
    def runs(self) -> list[Run]:
        """Every training once, in the order of the tasks."""
        return [task.run for task in self.tasks]

    @cached_property
    def by_key(self) -> dict[str, Task]:
        return {task.run.key: task for task in self.tasks}


def study_graph(
    study: Study, known: Fingerprints | None = None, tuned: Callable[[Run], Run] = lambda run: run
) -> Graph:
    """The graph of all runs of the study. `tuned` puts measured algorithms in place of `tune`.

    UserError where data are missing. That needs are known and go in no circle is seen to where a study is read.
    """
    return _Builder(study, known or Fingerprints(), tuned).graph()


class _Builder:
    def __init__(self, study: Study, known: Fingerprints, tuned: Callable[[Run], Run]):
        self.study, self.known, self.tuned = study, known, tuned
        self.entries = {each.name: each for each in study.trainings}
        self.tasks: dict[tuple[str, int], Task] = {}

    def graph(self) -> Graph:
        rows = tuple(self.task(row.name, seed) for row in self.study.rows for seed in seeds_of(self.study, row))
        # What a task needs was entered before it.
        once: dict[str, Task] = {}
        for task in self.tasks.values():
            once.setdefault(task.run.key, task)
        return Graph(rows, tuple(once.values()))

    def task(self, name: str, seed: int) -> Task:
        if (name, seed) not in self.tasks:
            self.tasks[name, seed] = self.made(self.entries[name], seed)
        return self.tasks[name, seed]

    def made(self, entry: Row | Stage, seed: int) -> Task:
        needed = {name: self.task(name, seed).run for name in entry.needs}
        named = {name: needed[name] for name in references(entry.config)}
        config = entry.config
        if self.study.split_per_seed:
            config = replace(config, split=replace(config.split, seed=seed))
        run = Run(
            entry.name,
            seed + (entry.seed_offset if isinstance(entry, Stage) else 0),
            config,
            entry.score_epoch or self.study.score_epoch,
            self.known.data(config),
            {name: each.identity for name, each in named.items()},
            {name: each.former for name, each in named.items()},
            {name: each.asked for name, each in named.items()},
        )
        return Task(self.tuned(run), named, tuple(each.key for each in needed.values()))
