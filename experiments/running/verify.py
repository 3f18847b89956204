"""Trains runs of a ledger anew and holds them against its lines, bit for bit.

Equal weights are equal, whatever trained them. Other weights are a difference where nothing that may decide a bit
differs: the promise of the same bits is for one build and one instruction set, and holds of the same code, data and
libraries. Where something does differ, the metrics are compared instead: with where one more run of the row is expected
by all its lines (`prediction_interval`, at a confidence that allows for the number of runs).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.draws import generator
from engine.errors import UserError
from experiments.records.ledger import ASKED, Entry, entry_of
from experiments.records.recalled import asked_graph, matching, with_seeds
from experiments.records.result import Result
from experiments.stats import CONFIDENCE, MIN_VERDICT, prediction_interval
from experiments.study.read import select
from experiments.study.study import Study
from experiments.tasks.graph import Graph, Task
from experiments.tasks.keys import Run, digest

SHOWN = 16  # characters of a hash
DRAW = 303  # purpose of the draw of runs (engine.draws.generator)

Word = Literal["verified", "differs", "agrees", "outside", "not comparable", "failed"]
BAD: tuple[Word, ...] = ("differs", "outside", "not comparable", "failed")


@dataclass(frozen=True)
class Check:
    """What became of one line.

    verified        weights and metrics have the same bits
    differs         they have not, though nothing differs that may decide a bit
    agrees, outside of another machine, build or code: the metric lies in the interval of the ledger's runs, or not
    not comparable  likewise, but the ledger has too few runs of the row for an interval
    failed          the training here ended otherwise
    """

    label: str
    word: Word
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.label}: {self.word}{f' ({self.detail})' if self.detail else ''}"


def drawn(study: Study, entries: Sequence[Entry], count: int, seed: int | None) -> list[Entry]:
    """Which lines of the study's rows are trained anew, under the names that the study has for them: so many, drawn by
    `seed`, or the cheapest first (None), what they need counted in. UserError where there are fewer."""
    graph = asked_graph(with_seeds(study, [(each.row, each.seed) for each in entries]))
    found = matching(graph, entries)
    rows = {task.run.asked[:ASKED]: task.run.row for task in reversed(graph.rows)}  # rows may share runs
    asked = dict.fromkeys(task.run.asked[:ASKED] for task in graph.rows)
    there = [found[each] for each in asked if each in found and found[each].status == "finished"]
    known = [dataclasses.replace(each, row=rows[each.asked]) for each in there]
    if count > len(known):
        raise UserError(f"--verify {count}: the ledger has {len(known)} finished runs of these rows and settings")
    if seed is not None:
        order = generator(seed, DRAW, 0).permutation(len(known))
        return [known[place] for place in sorted(order[:count])]
    keys = {task.run.asked[:ASKED]: task.run.key for task in graph.tasks}
    costs = {each.asked: _seconds(graph, keys[each.asked], found) for each in known}
    return sorted(known, key=lambda each: costs[each.asked])[:count]


def _seconds(graph: Graph, key: str, found: Mapping[str, Entry]) -> float:
    """Of a run and all that it needs, as the ledger has them; what it has not counts nothing."""
    entries = [found.get(graph.by_key[each].run.asked[:ASKED]) for each in closure(graph, [key])]
    return sum(each.seconds for each in entries if each is not None)


def closure(graph: Graph, keys: Sequence[str]) -> list[str]:
    """The keys and those of all runs that they need, each behind what it needs."""
    wanted = set(keys)
    for task in reversed(graph.tasks):
        if task.run.key in wanted:
            wanted.update(task.needs)
    return [task.run.key for task in graph.tasks if task.run.key in wanted]


def reduced(study: Study, chosen: Sequence[Entry]) -> Study:
    """The study with no other rows and seeds than those of the chosen lines: other rows' data need not be there."""
    names = {each.row for each in chosen}
    seeds = tuple(dict.fromkeys(each.seed for each in chosen))
    rows = [row.name for row in study.rows if row.name in names]
    plain = dataclasses.replace(study, rows=tuple(dataclasses.replace(row, more_seeds=()) for row in study.rows))
    return select(plain, rows, seeds)


def part(graph: Graph, chosen: Sequence[Entry]) -> Graph:
    """What of the graph trains the chosen lines anew."""
    wanted = {(each.row, each.seed) for each in chosen}
    rows = [task for task in graph.rows if (task.run.row, task.run.seed) in wanted]
    keys = set(closure(graph, [task.run.key for task in rows]))
    tasks = tuple(task for task in graph.tasks if task.run.key in keys)
    return Graph(tuple(rows), tasks)


def lines_by_row(study: Study, entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """By row and stage the ledger's lines of its finished runs with any seed: those that were asked for as the study
    asks, whatever name they have. Lines of the row with other settings say nothing of it."""
    seeds = dict.fromkeys(each.seed for each in entries)
    whole = with_seeds(study, [(row.name, seed) for row in study.rows for seed in seeds])
    graph = asked_graph(whole)
    found = matching(graph, entries)
    lines: dict[str, list[Entry]] = {}
    for task in graph.tasks:
        entry = found.get(task.run.asked[:ASKED])
        if entry is not None and entry.status == "finished":
            lines.setdefault(task.run.row, []).append(entry)
    return lines


def checks(
    graph: Graph,
    results: Mapping[str, Result],
    asked: Mapping[tuple[str, int], Run],
    entries: Sequence[Entry],
    lines: Mapping[str, Sequence[Entry]],
) -> list[Check]:
    """What became of the ledger's lines of all runs of the graph, also of those that others need.

    results: by key; asked: the runs as `asked_graph` has them, by row and seed; lines: those of `lines_by_row`.
    """
    known = {each.asked: each for each in entries}
    pairs = []
    for task in graph.tasks:
        entry = known.get(asked[task.run.row, task.run.seed].asked[:ASKED])
        if entry is not None and task.run.key in results:
            pairs.append((task, entry))
    return [
        _check(task, entry, results[task.run.key], lines.get(task.run.row, ()), len(pairs)) for task, entry in pairs
    ]


def _check(task: Task, entry: Entry, result: Result, lines: Sequence[Entry], count: int) -> Check:
    ours = entry_of(task.run, result)
    if ours is None or ours.status != entry.status:
        return Check(entry.label, "failed", f"{result.status} here: {result.error}")
    if ours.weights == entry.weights:
        wrong = [name for name in _FIGURES if getattr(ours, name) != getattr(entry, name)]
        wrong += [name for name in {**ours.metrics, **entry.metrics} if _other(ours, entry, name)]
        if not wrong:
            return Check(entry.label, "verified")
        told = ", ".join(f"{name} {_figure(entry, name)} in the ledger, {_figure(ours, name)} here" for name in wrong)
        return Check(entry.label, "differs", f"the same weights, but {told}")
    reasons = _reasons(task.run, entry, ours)
    if not reasons:
        return Check(entry.label, "differs", f"weights {entry.weights[:12]}… in the ledger, {ours.weights[:12]}… here")
    return _by_metric(entry, ours, lines, f"bits cannot be compared: {'; '.join(reasons)}", count)


_FIGURES = ("best_epoch", "epochs", "parameters")


def _other(ours: Entry, entry: Entry, name: str) -> bool:
    first, second = ours.metrics.get(name), entry.metrics.get(name)
    return first != second and not (first is not None and second is not None and first != first and second != second)


def _figure(entry: Entry, name: str) -> object:
    return getattr(entry, name) if name in _FIGURES else entry.metrics.get(name)


def _reasons(run: Run, entry: Entry, ours: Entry) -> list[str]:
    """What may decide a bit and differs, in words."""
    names = {"isa": "instruction set", "build": "build", "code": "code", "data": "data"}
    differing = [name for name in names if getattr(entry, name) != getattr(ours, name)]
    reasons = [
        f"{names[name]} {getattr(entry, name)[:SHOWN]} in the ledger, {getattr(ours, name)[:SHOWN]} here"
        for name in differing
    ]
    if not {"isa", "data"} & set(differing) and digest({"identity": run.identity, "code": entry.code}) != entry.key:
        reasons.append("other versions of the libraries that prepare the data, or of the runs that this one needs")
    return reasons


def _by_metric(entry: Entry, ours: Entry, lines: Sequence[Entry], why: str, count: int) -> Check:
    """Where one more run of the row is expected by its lines, and whether ours lies there: by every accuracy and F1 of
    held-out samples. All `count` runs together are inside with 95 % probability, where nothing but chance differs."""
    names = [name for name in sorted(set(entry.metrics) & set(ours.metrics)) if name.startswith(("val_", "test_"))]
    names = [name for name in names if not name.endswith("_loss")]
    told, outside = [], False
    for name in names:
        values = [each.metrics[name] for each in lines if name in each.metrics]
        confidence = 1 - (1 - CONFIDENCE) / (count * len(names))  # Bonferroni
        bounds = prediction_interval(values, confidence) if len(values) >= MIN_VERDICT else None
        if bounds is not None:
            inside = ours.metrics[name] in bounds
            outside |= not inside
            within = f"{'in' if inside else 'NOT in'} {bounds.low:.4f} … {bounds.high:.4f}"
            told.append(f"{name} {ours.metrics[name]:.4f} {within}")
    if not told:
        return Check(entry.label, "not comparable", f"{why}; fewer than {MIN_VERDICT} runs of the row for an interval")
    return Check(entry.label, "outside" if outside else "agrees", f"{why}; {', '.join(told)}")


def outcome(found: Sequence[Check]) -> str:
    """One line for all."""
    words: dict[Word, int] = {}
    for each in found:
        words[each.word] = words.get(each.word, 0) + 1
    verified = words.pop("verified", 0)
    others = "".join(f", {count} {word}" for word, count in words.items())
    return f"{verified} of {len(found)} verified bit for bit{others}"
