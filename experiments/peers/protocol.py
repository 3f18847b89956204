"""How a case is measured: compare first, then time the sides in turn, all others stopped."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import UserError
from experiments.measuring.sides import Side
from experiments.peers.cases import Case, has_dropout, network_of, write_job
from experiments.peers.exact import error, exact, write_model
from experiments.peers.frameworks import FRAMEWORKS, OURS, Failed, asked, launch, run_once
from experiments.peers.job import ADAM, INFERENCE, INT8, OURS_FLOAT, SGD, STATIC, TRAINING, Array, Job
from experiments.peers.records import CaseRecord, SideRecord

COMPARED_STEPS = 3
SLOW_STEP = 10.0  # seconds: of such steps two are compared
# Largest difference that counts as the same: of losses relative to how far ours has moved, so that a wrong update shows
# where a step changes little; of outputs relative to the largest of ours. Adam divides by the gradient's size: rounding
# moves a weight with a tiny gradient by a whole step. Outputs of the same network may be coarse: another's are far off.
# With integers an engine may round a code to its neighbour; a side that has not quantised, or has by itself, is further
# away, and only another network is as far as OTHERWISE says.
TOLERANCES = {SGD: 0.01, ADAM: 0.05, INFERENCE: 0.01, INT8: 0.1}
OTHERWISE = {OURS_FLOAT: 1.0, STATIC: 1.0}

FEWEST_ROUNDS = 3
FAR_BEHIND = 4.0  # times the fastest peer: such a side is timed once
SETTLING = 0.1  # seconds of untimed steps at the beginning of a turn, for the caches


@dataclass(frozen=True)
class Settings:
    """At most: rounds, seconds of a side's turn, seconds for all rounds of a case, seconds until an answer."""

    rounds: int = 7
    turn: float = 0.5
    case_seconds: float = 120.0
    limit: float = 900.0


@dataclass(frozen=True)
class Turn:
    """Steps of one side in a round: untimed, then timed."""

    untimed: int
    steps: int


@dataclass(frozen=True)
class Start:
    """What a worker has shown before the rounds."""

    first_result: float
    imports: float
    losses: list[float]
    step_seconds: float


@dataclass(frozen=True)
class Taken:
    """What the rounds of one side took: seconds and CPU seconds per step by round, and seconds of every timed call."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Seconds that `share` per cent of the calls stayed within: a time that was measured, none in between."""
        return float(np.percentile(self.calls, share, method="higher"))


def measure(
    case: Case,
    sides: Sequence[str],
    pythons: Mapping[str, str],
    folder: Path,
    settings: Settings,
    deadline: float = math.inf,
) -> CaseRecord:
    """Time a case on ours and the given peers. A side that fails or differs is left out, with the reason.

    `deadline`, on the clock time.monotonic, cuts rounds, not sides.
    """
    net = network_of(case)
    apart = case.task == TRAINING and has_dropout(net)
    left_out: dict[str, str] = {}
    names = [OURS, *sides]
    differences: dict[str, float] = {}
    if apart:
        plain = write_job(case, net, folder / "plain", dropout=False).folder
        losses = {}
        for name in names:
            try:
                with launch(name, plain, case.threads, pythons[name], settings.limit) as worker:
                    losses[name] = start(worker).losses
            except Failed as failure:
                left_out[name] = str(failure)
                if name == OURS:
                    return CaseRecord(case, {}, left_out, apart, disagrees=True)
        differences = compare(case, {name: np.array(values) for name, values in losses.items()}, left_out)
    job = write_job(case, net, folder)
    expected = None if case.task == TRAINING else expected_of(job, names, left_out)
    with ExitStack() as stack:
        workers: dict[str, Side] = {}
        starts: dict[str, Start] = {}
        for name in names:
            if name in left_out:
                continue
            try:
                if FRAMEWORKS[name].converts:
                    run_once(name, str(folder), folder, pythons[name], settings.limit, "--export")
                worker = stack.enter_context(launch(name, folder, case.threads, pythons[name], settings.limit))
                starts[name] = start(worker)
                workers[name] = worker
            except Failed as failure:
                left_out[name] = str(failure)
                if name == OURS:
                    return CaseRecord(case, {}, left_out, apart, disagrees=True)
        found = {} if apart else results(case, starts, folder)
        if not apart:
            differences = compare(case, found, left_out)
        errors = {} if expected is None else {name: error(expected, said) for name, said in found.items()}
        disagrees = not all(agrees(case, each, name) for name, each in differences.items())
        timed = {name: worker for name, worker in workers.items() if name not in left_out}
        seconds_left = min(settings.case_seconds, deadline - time.monotonic())
        rounds, turns = schedule({name: starts[name].step_seconds for name in timed}, settings, seconds_left)
        taken = take_rounds(timed, rounds, turns, left_out)
        records: dict[str, SideRecord] = {}
        for name, each in taken.items():
            try:
                memory = asked(timed[name], memory=1)
            except Failed as failure:
                left_out[name] = str(failure)
                continue
            records[name] = SideRecord(
                each.seconds, each.cpu_seconds, starts[name].first_result, starts[name].imports, memory["peak"],
                memory["planned"], differences[name], errors.get(name), each.percentile(95), each.percentile(99),
                len(each.calls),
            )  # fmt: skip
    return CaseRecord(case, records, left_out, apart, disagrees or OURS not in records)


def expected_of(job: Job, names: Sequence[str], left_out: dict[str, str]) -> Array | None:
    """What the sides should predict, by the ONNX model that is written for those that read it; without one they go to
    `left_out`, with the reason, and nothing is known about the errors of the others. Of integers none is expected: what
    differs from ours is shown."""
    try:
        write_model(job)
        return None if job.task == INT8 else exact(job)
    except UserError as reason:
        left_out |= {name: str(reason) for name in names if FRAMEWORKS[name].reads}
        return None


def start(worker: Side) -> Start:
    """The first result of a process that has just been launched, and the steps that are compared."""
    begun = time.perf_counter()
    first = asked(worker, first=1)
    first_result = time.perf_counter() - begun - first["saving"]
    losses: list[float] = [first["loss"]]
    seconds: list[float] = []
    while len(losses) < COMPARED_STEPS and sum(seconds) < SLOW_STEP:
        answer = asked(worker, steps=1)
        losses += answer["losses"]
        seconds += answer["seconds"]
    return Start(first_result, first["imports"], losses, min(seconds))


def results(case: Case, starts: Mapping[str, Start], folder: Path) -> dict[str, Any]:
    """By side: the losses of the first steps, or the outputs."""
    if case.task != TRAINING:
        return {name: np.load(folder / f"{name}.npy") for name in starts}
    return {name: np.array(each.losses) for name, each in starts.items()}


def compare(case: Case, values: Mapping[str, Any], left_out: dict[str, str]) -> dict[str, float]:
    """Differences to ours; a side whose results are not the same goes to `left_out`."""
    if OURS not in values:
        return {}
    differences = {name: difference(case, values[OURS], theirs) for name, theirs in values.items()}
    for name, each in differences.items():
        if not agrees(case, each, name):
            what = "losses differ" if case.task == TRAINING else "outputs differ"
            left_out[name] = f"{what} from ours by {each:.2g}, at most {tolerance(case, name):g} is allowed"
    return differences


def tolerance(case: Case, side: str = "") -> float:
    return OTHERWISE.get(side, TOLERANCES[case.optimizer or case.task])


def agrees(case: Case, difference: float, side: str = "") -> bool:
    """False for NaN, too."""
    return difference <= tolerance(case, side)


def difference(case: Case, ours: Any, theirs: Any) -> float:
    """Largest difference; infinite where the shapes do not fit. Losses are compared as far as both sides have gone."""
    if case.task == TRAINING:
        common = min(len(ours), len(theirs))
        ours, theirs = ours[:common], theirs[:common]
    if ours.shape != theirs.shape:
        return math.inf
    scale = np.abs(ours - ours[0]).max() if case.task == TRAINING else np.abs(ours).max()
    return float(np.abs(theirs - ours).max() / scale) if scale > 0 else math.inf


def schedule(
    step_seconds: Mapping[str, float], settings: Settings, seconds: float
) -> tuple[dict[str, int], dict[str, Turn]]:
    """(rounds of every side, its turn) for so many seconds: fewer rounds for slow cases, one for a side far behind."""
    turns = {}
    for name, step in step_seconds.items():
        untimed = 0 if step > settings.turn else max(1, round(SETTLING / step))
        turns[name] = Turn(untimed, max(1, round(settings.turn / step)))
    cost = {name: (turn.untimed + turn.steps) * step_seconds[name] for name, turn in turns.items()}
    peers = {name: step for name, step in step_seconds.items() if name != OURS}
    once = {name for name, step in peers.items() if step > FAR_BEHIND * min(peers.values()) and step > settings.turn}
    left = seconds - sum(cost[name] for name in once)
    possible = int(left / sum(each for name, each in cost.items() if name not in once))
    rounds = max(min(FEWEST_ROUNDS, settings.rounds), min(settings.rounds, possible))
    return {name: 1 if name in once else rounds for name in turns}, turns


def take_rounds(
    workers: Mapping[str, Side], rounds: Mapping[str, int], turns: Mapping[str, Turn], left_out: dict[str, str]
) -> dict[str, Taken]:
    """What every side took; the sides begin in turn."""
    taken = {name: Taken() for name in workers}
    for number in range(max(rounds.values())):
        order = [name for name in workers if number < rounds[name] and name in taken]
        first = number % max(1, len(order))
        for name in order[first:] + order[:first]:
            turn = turns[name]
            try:
                if turn.untimed:
                    asked(workers[name], steps=turn.untimed)
                answer = asked(workers[name], steps=turn.steps)
            except Failed as failure:
                left_out[name] = str(failure)
                del taken[name]
                continue
            taken[name].seconds.append(statistics.median(answer["seconds"]))
            taken[name].cpu_seconds.append(answer["cpu_seconds"] / turn.steps)
            taken[name].calls.extend(answer["seconds"])
    return taken
