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
from experiments.peers.job import Job
from experiments.peers.protocol import Settings, schedule, take_rounds
from experiments.stats import spread

SIDES = (OURS, "torch", "torch-cl")
TOLERANCE = 1e-3  # of our loss
LIMIT = 900.0  # seconds until an answer


def losses_of(worker: Side, steps: int) -> tuple[list[float], float]:
    """(losses of the first steps, seconds of the quickest of them but the first, which prepares)."""
    first = asked(worker, first=1)["loss"]
    answer = asked(worker, steps=max(steps - 1, 1))
    return [first, *answer["losses"]][:steps], min(answer["seconds"])


def differences(losses: Mapping[str, Sequence[float]]) -> list[float]:
    """The largest difference to ours in each step, relative to ours; infinite where a loss is none."""
    table = np.array(list(losses.values()), np.float64)
    found: list[float] = np.abs(table / np.array(losses[OURS]) - 1.0).max(axis=0).tolist()
    return [each if each == each else float("inf") for each in found]


def loss_table(losses: Mapping[str, Sequence[float]]) -> list[str]:
    lines = [f"{'step':>4}" + "".join(f"{side:>12}" for side in losses) + f"{'difference':>12}"]
    for step, worst in enumerate(differences(losses)):
        values = "".join(f"{each[step]:12.6f}" for each in losses.values())
        lines.append(f"{step + 1:4}{values}{worst:12.1e}")
    return lines


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
    return {side: seconds for side, (seconds, _) in taken.items()}


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
        workers = {side: stack.enter_context(launch(side, job.folder, threads, pythons[side], LIMIT)) for side in SIDES}
        started = {side: losses_of(worker, options.steps) for side, worker in workers.items()}
        losses = {side: each for side, (each, _) in started.items()}
        worst = max(differences(losses))
        agree = worst <= TOLERANCE
        print("\n".join(loss_table(losses)))
        print(f"largest difference {worst:.1e}, allowed {TOLERANCE:g}", flush=True)
        if agree and options.rounds:
            settings = Settings(options.rounds, options.turn, options.seconds)
            seconds = rounds_of(workers, {side: quickest for side, (_, quickest) in started.items()}, settings)
            print("\n".join(time_table(seconds, job.batch, "step")), flush=True)
    if agree and options.epoch:
        whole = make_job(config, train, None, threads, folder / f"{study}-epoch")
        steps = len(whole.arrays["y"])
        epochs = {side: [epoch_of(side, whole, pythons[side], steps)] for side in SIDES}
        print("\n".join(time_table(epochs, steps * job.batch, "epoch")), flush=True)
    return agree


def check(options: argparse.Namespace) -> int:
    pythons = {OURS: sys.executable, **dict.fromkeys(SIDES[1:], options.python or sys.executable)}
    with tempfile.TemporaryDirectory(prefix="recipes-") as scratch:
        versions, missing = probe(list(SIDES), pythons, Path(scratch))
        for side, reason in missing.items():
            raise UserError(f"{side} does not run: {reason}; --python names an interpreter that has PyTorch")
        print(f"Recipes: {', '.join(dict.fromkeys(versions.values()))}, {cnncore.get_num_threads()} threads")
        try:
            agreed = {study: compare(study, options, pythons, Path(scratch)) for study in options.studies}
        except Failed as failure:
            raise UserError(str(failure)) from None
    differ = [study for study, agrees in agreed.items() if not agrees]
    print("\nverdict: " + (f"FAILED: losses differ in {', '.join(differ)}" if differ else "the same losses"))
    return 1 if differ else 0
