"""The command: `python -m experiments.checks.integer_hash`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run
from engine.quantize.build import quantize
from experiments.checks.integer_hash.table import hashes, sizes
from experiments.checks.integer_hash.trained import add_arguments, check_counts, opened


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.integer_hash",
        description="Hash what a quantised network gives for the images of a test set, by everything that can run it.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a folder that engine.train wrote")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    check_counts(options)
    return check(options)


def check(options: argparse.Namespace) -> int:
    trained = opened(options.run, options.data_root, options.samples, options.test)
    quantized = quantize(trained.net, trained.samples)
    print(f"{trained.name}: {len(trained.images):,} images, {quantized.weight_bytes:,} bytes of integers\n")
    print(sizes(trained.net, quantized), end="\n\n")
    found = hashes(quantized, trained.images)
    return 0 if len(found) == 1 else 1


if __name__ == "__main__":
    sys.exit(run(main))
