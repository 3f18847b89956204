"""What was measured, as data, and the statistics over it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.peers.cases import Case
from experiments.peers.frameworks import OURS
from experiments.peers.job import OURS_FLOAT
from experiments.stats import spread

FIVE_DIGITS = 1e-5  # the largest error of five correct digits, as a share of the largest value


@dataclass(frozen=True)
class SideRecord:
    """One side of a case.

    seconds, cpu_seconds   per step, by round: the median of the round's steps, and the mean
    first_result, imports  seconds from the start of the process to its first loss or output, and of these for imports
    peak_bytes             largest resident memory beyond that after the imports
    planned_bytes          what the side planned to use, where it plans
    difference             of its first losses or outputs to ours, as protocol.difference has it
    error                  of its outputs, as exact.error has it; None for training, and where it was not measured
    p95, p99, calls        seconds that 95 and 99 % of all timed calls stayed within, and how many these were
    """

    seconds: list[float]
    cpu_seconds: list[float]
    first_result: float
    imports: float
    peak_bytes: int
    planned_bytes: int | None
    difference: float
    error: float | None = None
    p95: float | None = None
    p99: float | None = None
    calls: int | None = None

    @property
    def precise(self) -> bool:
        """Whether nothing is known against five correct digits; False for an error that is NaN."""
        return self.error is None or self.error <= FIVE_DIGITS


@dataclass(frozen=True)
class CaseRecord:
    """One case: its sides, and the reasons for those that are missing. Without ours there is nothing to compare."""

    case: Case
    sides: dict[str, SideRecord]
    left_out: dict[str, str] = field(default_factory=dict)
    dropout_apart: bool = False  # compared without dropout, timed with it
    disagrees: bool = False  # a side was left out as its results are not ours, or ours has failed

    def ratios(self, side: str) -> list[float]:
        """Time of `side` by ours, round by round; a side that is far behind has fewer rounds."""
        ours = self.sides[OURS].seconds
        return [theirs / own for theirs, own in zip(self.sides[side].seconds, ours, strict=False)]

    @property
    def peers(self) -> list[str]:
        return [side for side in self.sides if side != OURS] if OURS in self.sides else []

    @property
    def best(self) -> str | None:
        """The peer with the smallest median ratio, of those with five correct digits."""
        precise = [side for side in self.peers if side != OURS_FLOAT and self.sides[side].precise]
        return min(precise, key=lambda side: spread(self.ratios(side)).median, default=None)

    def ranking(self) -> dict[str, int | None]:
        """Side → its place by the median ratio, the fastest first; behind them, without a place, those that have not
        five correct digits."""
        order = sorted(self.sides, key=lambda side: spread(self.ratios(side)).median)
        precise = [side for side in order if self.sides[side].precise]
        places: dict[str, int | None] = {side: place for place, side in enumerate(precise, 1)}
        return places | {side: None for side in order if side not in places}


@dataclass(frozen=True)
class Run:
    """A whole run: its circumstances, the versions of the sides, the sides that are not installed."""

    facts: dict[str, str]
    versions: dict[str, str]
    missing: dict[str, str]
    records: list[CaseRecord]
    skipped: list[Case] = field(default_factory=list)  # for want of time


def geometric_mean(values: Sequence[float]) -> float | None:
    """None for no values."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else None


def best_ratio(record: CaseRecord) -> float | None:
    """Median ratio to the best peer; None where no peer was timed."""
    return None if record.best is None else spread(record.ratios(record.best)).median


def to_json(run: Run) -> dict[str, Any]:
    """The run as plain data, with the ratios worked out for other readers."""
    data = dataclasses.asdict(run)
    for record, entry in zip(run.records, data["records"], strict=True):
        for side in record.peers:
            entry["sides"][side]["ratio"] = dataclasses.asdict(spread(record.ratios(side)))
        entry["best"] = record.best
    return data


def from_json(data: dict[str, Any]) -> Run:
    """The run that `to_json` described; KeyError, TypeError or ValueError for anything else."""
    records = []
    for entry in data["records"]:
        known = {each.name for each in dataclasses.fields(SideRecord)}
        sides = {
            name: SideRecord(**{key: value for key, value in side.items() if key in known})
            for name, side in entry["sides"].items()
        }
        records.append(
            CaseRecord(Case(**entry["case"]), sides, entry["left_out"], entry["dropout_apart"], entry["disagrees"])
        )
    skipped = [Case(**case) for case in data["skipped"]]
    return Run(data["facts"], data["versions"], data["missing"], records, skipped)


def merged(runs: Sequence[Run]) -> Run:
    """Several runs in one; of a case that was measured twice, the later. Circumstances that differ are all kept."""
    records = {record.case: record for run in runs for record in run.records}
    skipped = dict.fromkeys(case for run in runs for case in run.skipped if case not in records)
    facts: dict[str, str] = {}
    for key in dict.fromkeys(key for run in runs for key in run.facts):
        facts[key] = "; ".join(dict.fromkeys(run.facts[key] for run in runs if key in run.facts))
    versions = {name: text for run in runs for name, text in run.versions.items()}
    missing = {name: text for run in runs for name, text in run.missing.items() if name not in versions}
    return Run(facts, versions, missing, list(records.values()), list(skipped))
