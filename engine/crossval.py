"""Cross-validation that finds the number of epochs, then training on everything: `python -m engine.crossval CONFIG`.

    OUT/fold-0 …        run folders, each as `engine.train` with split.kind=folds and that split.fold writes it
    OUT/final-seed0 …   the final training on all samples, once per seed
    OUT/crossval.json   the figures of all of them, rewritten after each

The final training takes as many epochs as the folds' best ones come to: their mean, rounded, a half upwards. Its
weights are the last ones, since no sample is left to choose among them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from engine.cli import add_run_arguments, command_parser, run


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(
        "engine.crossval",
        description="Train the folds that the section split describes (folds, stratify, seed), each with the "
        "configuration's early stopping and at most its epochs. Then train on all samples for the "
        "mean of the folds' best epochs, rounded, a half upwards, and measure the test part. "
        "Every training has a run folder of its own under the output folder; crossval.json there holds all figures.",
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--seeds",
        metavar="S,S,…",
        help="seeds of the final training (default: the configuration's); others that have ended in the folder stay in "
        "the record",
    )
    parser.add_argument("--no-final", action="store_true", help="only the folds, and what has ended in the folder")
    return parser.parse_intermixed_args(arguments)


def main() -> None:
    options = parse_arguments()
    from engine.recipe.crossval import crossval  # only now: --help answers at once

    crossval(options)


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
