"""The command: `python -m experiments.checks.winograd_accuracy`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run
from experiments.checks.winograd_accuracy.studies import ALLOWED, studies
from experiments.options import parse_seeds


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.winograd_accuracy",
        description="Train pairs of networks with and without Winograd's algorithm and compare their accuracies.",
    )
    parser.add_argument("--studies", type=studies, default=list(ALLOWED), metavar="A,B", help="default: mnist,cifar10")
    parser.add_argument("--seeds", metavar="0,1", help="instead of 0 to 4")
    parser.add_argument("--epochs", type=int, help="instead of 5 (MNIST) and 10 (CIFAR-10)")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)")
    parser.add_argument("--out", type=Path, default=Path("runs") / "winograd_accuracy", help="where runs are kept")
    options = parser.parse_args(arguments)
    from experiments.checks.winograd_accuracy.verdict import check  # only now: --help answers at once

    options.seeds = parse_seeds(options.seeds)
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
