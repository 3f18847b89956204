"""The command: `python -m experiments.checks.epoch_vs_torch`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.cli import command_parser, run
from experiments.checks.epoch_vs_torch.cases import CASES, SIDES, chosen
from experiments.options import names


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.epoch_vs_torch",
        description="Time whole epochs on MNIST, CIFAR-10 and NumtaDB beside PyTorch eager.",
    )
    parser.add_argument("--networks", type=names, default=[], metavar="A,B", help=f"of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=0, help="epochs of each side (default: 3, vgg3 2)")
    parser.add_argument("--threads", type=int, default=0, help="for both sides (default: the engine's default)")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options: Any = parser.parse_args(arguments)
    # Only now: --help answers at once, and without PyTorch.
    from experiments.checks.epoch_vs_torch import comparison, training

    if options.serve:
        training.serve(options.serve, chosen(options.networks)[0], options.folder, options.threads)
        return 0
    return comparison.check(options)


if __name__ == "__main__":
    sys.exit(run(main))
