"""A study's runs as a ledger has them: neither data nor folders of runs are needed; and a ledger as runs make it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cnncore

from engine.network.checkpoint import read, stored_hash
from engine.recipe.config import TrainConfig
from experiments.records.ledger import ASKED, Entry, entry_of
from experiments.records.origin import Origin
from experiments.records.result import KEY_CHARACTERS, Result, checkpoint_of
from experiments.records.standing import Standing
from experiments.study.study import Row, Study
from experiments.tasks.comparability import other_training
from experiments.tasks.fingerprint import Fingerprints, code_hash
from experiments.tasks.graph import Graph, study_graph
from experiments.tasks.keys import Run

UNREAD = "unread"


class Unread(Fingerprints):
    """Stands for data that are not at hand: what is asked of a run is known without them."""

    def data(self, config: TrainConfig) -> str:
        return UNREAD


@dataclass(frozen=True)
class RecalledRun(Run):
    """A run whose key is told, as the data that it is made of are not at hand (empty: there is no such run)."""

    told_key: str = ""

    @cached_property
    def key(self) -> str:
        return self.told_key


@dataclass(frozen=True)
class Recalled:
    """What a ledger says of a study.

    study    with the seeds that the ledger has of each row beyond the study's
    runs     of all rows, as they stand in the ledger
    passed   how many lines are of rows or settings that the study does not have (any more)
    """

    study: Study
    runs: tuple[Standing, ...]
    passed: int = 0


def recalled(study: Study, entries: Sequence[Entry], root: Path) -> Recalled:
    """The runs of the study's rows with the results in the ledger; `root`/runs is where folders of theirs would lie."""
    whole = with_seeds(study, [(each.row, each.seed) for each in entries])
    graph = asked_graph(whole)
    found = matching(graph, entries)
    runs = [_standing(task.run, found.get(task.run.asked[:ASKED]), root / "runs") for task in graph.rows]
    own = set(study.seeds)
    runs = [each for each in runs if each.seed in own or each.result is not None]
    seeds = {row.name: tuple(each.seed for each in runs if each.row == row.name) for row in study.rows}
    rows = [dataclasses.replace(row, more_seeds=tuple(sorted(set(seeds[row.name]) - own))) for row in whole.rows]
    known = {task.run.asked[:ASKED] for task in graph.tasks}
    passed = sum(each.asked not in known for each in entries)
    sequential = any(row.more_seeds for row in rows)
    return Recalled(dataclasses.replace(whole, rows=tuple(rows), sequential=sequential), tuple(runs), passed)


def _standing(asked: Run, entry: Entry | None, folder: Path) -> Standing:
    config = asked.config
    if entry is None:
        return Standing(
            RecalledRun(asked.row, asked.seed, config, asked.score_epoch, UNREAD), "missing", folder / "missing"
        )
    run = RecalledRun(asked.row, asked.seed, config, asked.score_epoch, entry.data, told_key=entry.key)
    result = dataclasses.replace(entry.result(folder / entry.key[:KEY_CHARACTERS]), row=asked.row)
    return Standing.ended(run, result)


def asked_graph(study: Study) -> Graph:
    """The graph of the study with keys that hold nothing of the data."""
    return study_graph(study, Unread())


def matching(graph: Graph, entries: Sequence[Entry]) -> Mapping[str, Entry]:
    """The entries by what they were asked for, of the runs of the graph."""
    asked = {task.run.asked[:ASKED] for task in graph.tasks}
    return {each.asked: each for each in entries if each.asked in asked}


def with_seeds(study: Study, known: Collection[tuple[str, int]]) -> Study:
    """The study with the seeds, beyond its own, that its rows have among these pairs of row and seed."""

    def row_with(row: Row) -> Row:
        seeds = {seed for name, seed in known if name in (row.name, row.same_as)} - set(study.seeds)
        return dataclasses.replace(row, more_seeds=tuple(sorted(seeds)))

    rows = tuple(map(row_with, study.rows))
    return dataclasses.replace(study, rows=rows, sequential=any(row.more_seeds for row in rows))


def entries_of(study: Study, standings: Sequence[Standing]) -> list[Entry]:
    """A line for each run of the study that has ended at full length; `standings` are those of its graph's tasks. A
    configuration that measures its algorithms (`tune`) has none: what a machine measures decides its bits."""
    asked = {(task.run.row, task.run.seed): task.run for task in asked_graph(study).tasks}
    short = {each.name: other_training(study, each) != "" or each.config.tune for each in study.trainings}
    found = []
    for each in standings:
        run = asked.get((each.row, each.seed))
        if each.result is None or run is None or short[each.row]:
            continue
        entry = entry_of(run, _with_origin(each))
        if entry is not None:
            found.append(entry)
    return found


def _with_origin(standing: Standing) -> Result:
    """The result with its origin. Of one that was recorded before there were origins, this is what its key tells, and
    the weights where their checkpoint is still there."""
    result, run = standing.result, standing.run
    assert result is not None
    if result.origin is not None or result.status != "finished" or result.key != run.key:
        return result
    path = checkpoint_of(result, run)
    if not path.is_file():
        return result
    weights = stored_hash(read(path))
    return dataclasses.replace(result, origin=Origin(weights, run.data, cnncore.isa(), "", code_hash(), "", ""))
