"""Run an ablation study and print its table: `python -m experiments.ablation`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run
from experiments.options import MOST, check_together


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(
        "experiments.ablation",
        description="Train every row of a study over its seeds, print the table, and keep every run on record: "
        "the same command again runs only what is missing.",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings for all rows, such as epochs=3")
    parser.add_argument("--study", metavar="NAME", help="which study, or a file NAME.yaml (default: quickstart)")
    parser.add_argument("--budget", default="full", metavar="NAME", help="run a smaller version of it (see --list)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go (default: runs/NAME)")
    parser.add_argument("--rows", metavar="A,B", help="only these rows, separated by commas")
    parser.add_argument("-j", "--jobs", type=int, metavar="N", help="train N runs at a time (default: 1)")
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="train on the workers of a Dask scheduler, tcp://HOST:PORT, or local:N for N workers on this machine "
        "(extra [cluster])",
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first run that fails or diverges")
    parser.add_argument("--accept-code", action="store_true", help="results of another version of the code count, too")
    parser.add_argument("--seeds", metavar="0,1", help="these seeds instead of the study's, separated by commas")
    parser.add_argument(
        "--until-decided",
        type=int,
        nargs="?",
        const=MOST,
        metavar="MOST",
        help="add seeds to rows whose verdict or comparison with their base row is open, up to MOST in all (default: "
        "%(const)s); the looks on the way err in 5 %% of cases all together",
    )
    parser.add_argument("--no-report", action="store_true", help="write the tables alone, no report.html")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="show a live page at http://127.0.0.1 while runs go on (also: python -m experiments.report.watch DIR)",
    )
    parser.add_argument("--list", action="store_true", help="list the studies, their rows, seeds, budgets, and stop")
    parser.add_argument("--dry-run", action="store_true", help="measure what it will cost, train nothing, and stop")
    parser.add_argument("--status", action="store_true", help="say how far the study is, and stop")
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="write what is on record and stop: as a table (.csv, .parquet), or the full-length runs as lines of a "
        "ledger (.jsonl), beside those that it has",
    )
    parser.add_argument(
        "--ledger",
        type=Path,
        metavar="FILE.jsonl",
        help="make tables and report of the results in a ledger: without training, and without the data",
    )
    parser.add_argument(
        "--verify",
        type=int,
        metavar="N",
        help="train N runs of the ledger anew (--ledger, or the one that comes with the study), compare them bit for "
        "bit, and stop: the cheapest ones",
    )
    parser.add_argument("--draw", type=int, metavar="SEED", help="--verify draws its runs by this seed instead")
    parser.add_argument(
        "--check", action="store_true", help="check every study (or --study NAME) without data or training, and stop"
    )
    parser.add_argument(
        "--search", action="store_true", help="run the study's search by Optuna instead of its rows (extra [search])"
    )
    options = parser.parse_intermixed_args(arguments)
    check_together(options)
    return options


def main() -> int:
    options = parse_arguments()
    from experiments.command import ablate  # only now: --help answers at once

    return ablate(options)


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
