"""What these commands share: their options, a study that is trained whole, and figures over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import cnncore

from engine.cli import command_parser
from engine.errors import UserError
from engine.recipe.crossval import parse_seeds
from experiments.records.planned import planned_graph
from experiments.records.result import Result
from experiments.records.store import Store
from experiments.running.progress import progress_for
from experiments.running.runner import run_graph
from experiments.stats import Estimate, Interval, estimate, paired_interval
from experiments.study.check import check_study
from experiments.study.read import load_study, select
from experiments.study.study import Row, Stage, Study
from experiments.tasks.graph import Graph
from experiments.tasks.keys import Run

Entry = TypeVar("Entry", Row, Stage)


@dataclass(frozen=True)
class Options:
    """seeds: none for those of the study; epochs: of the (last) training, or None for those that are stated; settings:
    KEY=VALUE on top."""

    seeds: tuple[int, ...]
    epochs: int | None
    out: Path
    data_root: Path | None
    settings: tuple[str, ...]


def main(name: str, description: str, check: Callable[[Options], int], arguments: Sequence[str] | None = None) -> int:
    """The command `experiments.methods.NAME`: read its options and call `check`, which gives the exit status."""
    parser = command_parser(f"experiments.methods.{name}", description=description)
    parser.add_argument("settings", metavar="KEY=VALUE", nargs="*", help="settings on top of every configuration")
    parser.add_argument("--seeds", metavar="S,S,…", help="instead of the study's")
    parser.add_argument("--epochs", type=int, metavar="N", help="fewer or more than stated, for a trial")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)")
    parser.add_argument("--out", type=Path, default=Path("runs") / name, metavar="DIR", help="where runs are kept")
    given = parser.parse_intermixed_args(arguments)

    if given.epochs is not None and given.epochs < 1:
        raise UserError(f"--epochs must be 1 or more, got {given.epochs}")
    chosen = parse_seeds(given.seeds) if given.seeds else ()
    return check(Options(chosen, given.epochs, given.out, given.data_root, tuple(given.settings)))


# ---- studies ----


@dataclass(frozen=True)
class Trained:
    """A study of which every run has finished."""

    study: Study
    store: Store
    graph: Graph
    results: tuple[Result, ...]

    def of(self, row: str) -> list[Result]:
        """The results of a row, in the order of the seeds."""
        return [each for each in self.results if each.row == row]

    def values(self, row: str, metric: str) -> list[float]:
        """A metric of a row's runs, at the epoch that counts."""
        return [each.metrics[metric] for each in self.of(row)]

    def result(self, run: Run) -> Result:
        """The result of a run of the graph, a stage's too."""
        found = self.store.result(run)
        assert found is not None
        return found

    @cached_property
    def cost(self) -> str:
        """How many runs there were, how long their training took, and on what."""
        seconds = sum(self.result(task.run).seconds for task in self.graph.tasks)
        return f"training of all {len(self.graph.tasks)} runs: {seconds / 60:.1f} minutes; {environment()}"


def load(name: str, options: Options) -> Study:
    """The study of this name with the options' seeds and settings."""
    root = [] if options.data_root is None else [f"data_root={json.dumps(str(options.data_root))}"]
    return select(load_study(name, [*root, *options.settings]), seeds=options.seeds)


def with_epochs(study: Study, epochs: Mapping[str, int]) -> Study:
    """The study with so many epochs of the rows and stages named."""

    def changed(entry: Entry) -> Entry:
        config = replace(entry.config, epochs=epochs.get(entry.name, entry.config.epochs))
        return replace(entry, config=config)

    return replace(study, rows=tuple(map(changed, study.rows)), stages=tuple(map(changed, study.stages)))


def train(study: Study, out: Path) -> Trained:
    """Train what is missing under `out`; UserError for the first run that cannot begin, fails or diverges."""
    check_study(study)
    store = Store(out)
    graph = planned_graph(study, store)
    with closing(progress_for([task.run for task in graph.tasks], study.metric)) as progress:
        results = run_graph(graph, store, progress, fail_fast=True)
    for task in graph.tasks:
        ended = store.result(task.run)
        if ended is not None and ended.status != "finished":
            raise UserError(f"{task.run.label}: {ended.status}: {ended.error}")
    return Trained(study, store, graph, tuple(results))


def published(study: Study, row: str, metric: str) -> float:
    """The published value of a row that has one."""
    return next(each for each in study.rows if each.name == row).published[metric].value


# ---- figures ----


def mean(values: Sequence[float]) -> Estimate:
    """Mean and standard deviation of one value or more."""
    found = estimate(values)
    assert found is not None
    return found


def difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """The 95 % interval of first[i] - second[i], one pair or more."""
    found = paired_interval(first, second)
    assert found is not None
    return found


def difference_text(found: Interval, scale: float = 1.0, digits: int = 4) -> str:
    """`+0.0012 ± 0.0009 (95 %, 5 pairs, Student's t)`, in units of 1 / scale."""
    if found.half_width is None:
        return f"{found.mean * scale:+.{digits}f} (one pair has no interval)"
    return (
        f"{found.mean * scale:+.{digits}f} ± {found.half_width * scale:.{digits}f} "
        f"(95 %, {found.count} pairs, Student's t)"
    )


def environment() -> str:
    """Instruction set and threads, which decide how long it takes (and the set also the bits)."""
    return f"instruction set {cnncore.isa()}, {cnncore.get_num_threads()} threads"
