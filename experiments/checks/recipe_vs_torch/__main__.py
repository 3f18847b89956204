"""The command: `python -m experiments.checks.recipe_vs_torch`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run
from engine.errors import UserError
from experiments.options import names


def parser() -> argparse.ArgumentParser:
    result = command_parser(
        "experiments.checks.recipe_vs_torch",
        description="Train by the fast studies' recipes here and in PyTorch: the same losses, and what a step takes.",
    )
    add = result.add_argument
    add("--studies", type=names, default=["cifar10_fast", "mnist_fast"], metavar="A,B", help="(default: both)")
    add("--row", help="of the study (default: its base row)")
    add("--seed", type=int, default=0, help="of first weights and batches (default: 0)")
    add("--steps", type=int, default=20, help="whose losses are compared (default: 20)")
    add("--rounds", type=int, default=7, help="interleaved rounds at most; 0: time nothing (default: 7)")
    add("--turn", type=float, default=1.0, help="seconds of a side's turn in a round (default: 1)")
    add("--seconds", type=float, default=90.0, help="for all rounds, of which there are three or more (default: 90)")
    add("--epoch", action="store_true", help="time one whole epoch of each side, too")
    add("--threads", type=int, default=0, help="of every side (default: the engine's default)")
    add("--python", metavar="PATH", help="an interpreter that has PyTorch (default: this one)")
    add("--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)")
    add("overrides", nargs="*", metavar="key=value", help="laid over the configuration")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    for name, least in (("steps", 1), ("rounds", 0), ("threads", 0)):
        if getattr(options, name) < least:
            raise UserError(f"--{name} {getattr(options, name)}: expected {least} or more")
    from experiments.checks.recipe_vs_torch.comparison import check  # only now: --help answers at once

    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
