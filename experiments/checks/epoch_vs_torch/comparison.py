"""Epochs of every side in turn, the table of what they took, and the verdict."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import cnncore
import numpy as np

from engine.errors import UserError
from experiments.checks.epoch_vs_torch.cases import SIDES, Case, chosen
from experiments.checks.epoch_vs_torch.sets import load_sets, read_case
from experiments.checks.epoch_vs_torch.training import BATCH
from experiments.measuring.sides import Side, turns
from experiments.peers.adapters.torch_network import torch

LOSS_TOLERANCE = 0.05  # of the first epoch's mean loss: rounding grows over a thousand steps

Results = dict[str, list[dict[str, float]]]  # side -> what each of its epochs answered


def compare(case: Case, folder: Path, rounds: int, threads: int) -> Results:
    """Epochs of every side in turn; UserError where the first epoch's losses do not agree."""

    def start(side: str) -> Side:
        options = ["--serve", side, "--networks", case.name, "--folder", str(folder), "--threads", str(threads)]
        return Side(side, ["-m", "experiments.checks.epoch_vs_torch", *options], {"OMP_NUM_THREADS": str(threads)})

    results: Results = {side: [] for side in SIDES}
    with ExitStack() as stack:
        sides = [stack.enter_context(start(side)) for side in SIDES]
        for number, order in enumerate(turns(sides, rounds)):
            for side in order:
                results[side.name].append(side.ask(number=number))
            require_agreement({side: epochs[0]["train_loss"] for side, epochs in results.items()})
    return results


def require_agreement(losses: Mapping[str, float]) -> None:
    """UserError unless all sides learnt the same in their first epoch, but for rounding."""
    worst = float(np.abs(np.array(list(losses.values())) / losses["ours"] - 1.0).max())  # NaN where any is
    if not worst <= LOSS_TOLERANCE:
        raise UserError(f"the first epoch's losses differ by {worst:.2g}, allowed is {LOSS_TOLERANCE:g}: {losses}")


def table(results: Results, images: int) -> list[str]:
    """A line for each side: medians over its epochs, ratios to ours by round, and what it learnt."""
    found = [f"{'':20} {'s per epoch':>12} {'images/s':>9} {'time / ours':>12} {'range':>15}   loss, test accuracy"]
    for side, epochs in results.items():
        seconds = float(np.median([each["seconds"] for each in epochs]))
        ratios = [theirs["seconds"] / own["seconds"] for theirs, own in zip(epochs, results["ours"], strict=True)]
        learnt = "  ".join(f"{each['train_loss']:.4f} {each['accuracy']:.2%}" for each in epochs)
        found.append(
            f"{side:20} {seconds:12.2f} {images / seconds:9.0f} {float(np.median(ratios)):12.2f} "
            f"{f'{min(ratios):.2f} ... {max(ratios):.2f}':>15}   {learnt}"
        )
    return found


def behind(results: Results) -> bool:
    """Whether any peer took less time than ours, by the median over rounds."""
    own = results["ours"]
    return any(
        float(np.median([each["seconds"] / mine["seconds"] for each, mine in zip(epochs, own, strict=True)])) < 1.0
        for epochs in results.values()
    )


def check(options: argparse.Namespace) -> int:
    threads = options.threads or cnncore.get_num_threads()
    print(
        f"Epochs, {threads} threads, batch {BATCH}; test set included; instruction set {cnncore.isa()}, "
        f"torch {torch.__version__} eager"
    )
    failed = []
    for case in chosen(options.networks):
        rounds = options.rounds or case.rounds
        with tempfile.TemporaryDirectory() as folder:
            sets = load_sets(case, options.data_root)
            sets.save(Path(folder))
            shape, images = "x".join(map(str, sets.images.shape[1:])), len(sets.labels)
            print(
                f"\n{case.name}: {images:,} images of {shape} ({case.config}), tested on {len(sets.test_labels):,}; "
                f"{read_case(case).optimizer}; {rounds} interleaved epochs"
            )
            del sets
            results = compare(case, Path(folder), rounds, threads)
        print("\n".join(table(results, images)), flush=True)
        failed += [case.name] if behind(results) else []
    print("\nverdict: " + (f"FAILED: behind PyTorch on {', '.join(failed)}" if failed else "ours is the fastest"))
    return 1 if failed else 0
