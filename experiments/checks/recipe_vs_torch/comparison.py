"""Losses side by side, interleaved rounds, and whole epochs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import cnncore
import numpy as np

from engine.errors import UserError
from experiments.checks.recipe_vs_torch.jobs import configuration, make_job, training_set
from experiments.measuring.sides import Side
from experiments.peers.frameworks import OURS, Failed, asked, launch, probe
from experiments.peers.job import EXACT, Job
from experiments.peers.protocol import Settings, schedule, take_rounds
from experiments.stats import spread

PEERS = ("torch", "torch-cl")
SIDES = (OURS, *PEERS)
COMPARED = (*SIDES, EXACT)
TOLERANCE = 1e-3  # of the loss in float64
ROOM = 10.0  # times the rounding of the peers: Winograd's algorithm rounds more than a direct sum
LIMIT = 900.0  # seconds until an answer


def losses_of(worker: Side, steps: int) -> tuple[list[float], float]:
    """(losses of the first steps, seconds of the quickest of them but the first, which prepares)."""
    first = asked(worker, first=1)["loss"]
    answer = asked(worker, steps=max(steps - 1, 1))
    return [first, *answer["losses"]][:steps], min(answer["seconds"])


def off(losses: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """How far each side's losses are from those in float64, relative to these; infinite where a loss is none."""
    exact = np.array(losses[EXACT], np.float64)
    found = {side: np.abs(np.array(each) / exact - 1.0) for side, each in losses.items() if side != EXACT}
    return {side: np.where(np.isnan(each), np.inf, each).tolist() for side, each in found.items()}


def allowed(errors: Mapping[str, Sequence[float]]) -> list[float]:
    """How far ours may be off in each step: by TOLERANCE, or ROOM times what a peer has been off until then.

    Rounding that decides the winner of a max-pool or the side of a kink parts two trainings, whoever rounds.
    """
    peers = np.array([errors[side] for side in PEERS]).max(axis=0)
    limits: list[float] = np.maximum(TOLERANCE, ROOM * np.maximum.accumulate(peers)).tolist()
    return limits


def loss_table(losses: Mapping[str, Sequence[float]]) -> list[str]:
    errors = off(losses)
    limits = allowed(errors)
    lines = [f"{'step':>4}" + "".join(f"{side:>11}" for side in losses) + f"{'ours off':>10}{'peers':>9}{'allowed':>9}"]
    for step, limit in enumerate(limits):
        values = "".join(f"{each[step]:11.6f}" for each in losses.values())
        peers = max(errors[side][step] for side in PEERS)
        lines.append(f"{step + 1:4}{values}{errors[OURS][step]:10.1e}{peers:9.1e}{limit:9.1e}")
    return lines


def agreed(losses: Mapping[str, Sequence[float]]) -> bool:
    """Whether ours takes the steps of the training in float64, but for rounding; False for NaN, too."""
    errors = off(losses)
    return all(error <= limit < np.inf for error, limit in zip(errors[OURS], allowed(errors), strict=True))


def time_table(seconds: Mapping[str, Sequence[float]], images: int, what: str) -> list[str]:
    """A line for each side: the median over its rounds, and its ratios to ours by round."""
    lines = [f"{'':10}{f'ms per {what}':>16}{'images/s':>10}{'time / ours':>12}{'range':>16}"]
    for side, taken in seconds.items():
        middle = spread(taken).median
        ratios = spread([theirs / own for theirs, own in zip(taken, seconds[OURS], strict=True)])
        between = f"{ratios.least:.2f} ... {ratios.most:.2f}"
        lines.append(f"{side:10}{middle * 1e3:16.2f}{images / middle:10.0f}{ratios.median:12.2f}{between:>16}")
    return lines


def rounds_of(workers: Mapping[str, Side], step: Mapping[str, float], settings: Settings) -> dict[str, list[float]]:
    """Seconds per step by round, every side as often as ours."""
    counts, turns = schedule(step, settings, settings.case_seconds)
    left_out: dict[str, str] = {}
    taken = take_rounds(workers, dict.fromkeys(counts, max(counts.values())), turns, left_out)
    for side, reason in left_out.items():
        raise UserError(f"{side}: {reason}")
    return {side: each.seconds for side, each in taken.items()}


def epoch_of(side: str, job: Job, python: str, steps: int) -> float:
    """Seconds of an epoch's steps, on its batches from the second to the first, after a step that prepares."""
    with launch(side, job.folder, job.threads, python, LIMIT) as worker:
        asked(worker, first=1)
        return float(sum(asked(worker, steps=steps)["seconds"]))


def compare(study: str, options: argparse.Namespace, pythons: Mapping[str, str], folder: Path) -> bool:
    """Print what one study's recipe gives; whether all sides have the same losses."""
    config = configuration(study, options.row, options.seed, options.overrides)
    threads = options.threads or cnncore.get_num_threads()
    train = training_set(config, options.data_root)
    job = make_job(config, train, options.steps, threads, folder / study)
    print(f"\n{study}: batch {job.batch}, seed {config.seed}; {config.optimizer}")
    with ExitStack() as stack:
        workers = {
            side: stack.enter_context(launch(side, job.folder, threads, pythons[side], LIMIT)) for side in COMPARED
        }
        started = {side: losses_of(worker, options.steps) for side, worker in workers.items()}
        losses = {side: each for side, (each, _) in started.items()}
        agree = agreed(losses)
        print("\n".join(loss_table(losses)), flush=True)
        if agree and options.rounds:
            settings = Settings(options.rounds, options.turn, options.seconds)
            timed = {side: workers[side] for side in SIDES}
            seconds = rounds_of(timed, {side: started[side][1] for side in SIDES}, settings)
            print("\n".join(time_table(seconds, job.batch, "step")), flush=True)
    if agree and options.epoch:
        whole = make_job(config, train, None, threads, folder / f"{study}-epoch")
        steps = len(whole.arrays["y"])
        epochs = {side: [epoch_of(side, whole, pythons[side], steps)] for side in SIDES}
        print("\n".join(time_table(epochs, steps * job.batch, "epoch")), flush=True)
    return agree


def check(options: argparse.Namespace) -> int:
    pythons = {OURS: sys.executable, **dict.fromkeys(COMPARED[1:], options.python or sys.executable)}
    with tempfile.TemporaryDirectory(prefix="recipes-") as scratch:
        versions, missing = probe(list(COMPARED), pythons, Path(scratch))
        for side, reason in missing.items():
            raise UserError(f"{side} does not run: {reason}; --python names an interpreter that has PyTorch")
        print(f"Recipes: {', '.join(dict.fromkeys(versions.values()))}, {cnncore.get_num_threads()} threads")
        try:
            agrees = {study: compare(study, options, pythons, Path(scratch)) for study in options.studies}
        except Failed as failure:
            raise UserError(str(failure)) from None
    differ = [study for study, same in agrees.items() if not same]
    print("\nverdict: " + (f"FAILED: losses differ in {', '.join(differ)}" if differ else "the same losses"))
    return 1 if differ else 0
