"""The command: see the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import median

import cnncore

from engine.cli import command_parser, run
from experiments.checks.neighbour import measuring
from experiments.checks.neighbour.measuring import ALONE, BESIDE, JOBS, SINGLE

LEAST_STEP = 0.55  # of its speed alone


def check(options: argparse.Namespace) -> int:
    print(
        f"Mean time of a call, waiting included; medians of {options.rounds} rounds, {options.seconds:g} s a process.\n"
        f"{cnncore.get_num_threads()} threads on {cnncore.usable_cpus()} cores, instruction set {cnncore.isa()}."
    )
    rounds: dict[tuple[str, int], list[dict[str, float]]] = {job: [] for job in JOBS}
    for _ in range(options.rounds):
        for job in JOBS:
            rounds[job].append(measuring.measure(*job, options.seconds))
    print(f"{'network':10} {'call':>9} {'alone, us':>11} {'beside, us':>11} {'one worker, us':>15} {'kept':>6}")
    good = True
    for (network, batch), found in rounds.items():
        alone, beside, single = (median(each[kind] for each in found) for kind in (ALONE, BESIDE, SINGLE))
        kept = median(each[ALONE] / each[BESIDE] for each in found)
        good &= batch == 1 or kept >= LEAST_STEP
        call = "image" if batch == 1 else f"step {batch}"
        print(f"{network:10} {call:>9} {alone * 1e6:11.1f} {beside * 1e6:11.1f} {single * 1e6:15.1f} {kept:6.2f}")
    print("verdict    " + ("every step keeps" if good else "FAILED: a step keeps less than") + f" {LEAST_STEP:g}")
    return 0 if good else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.neighbour",
        description="Measure what a busy foreign process costs one image and a training step.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of processes (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of measuring in each process (default: 0.5)")
    options = parser.parse_args(arguments)
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
