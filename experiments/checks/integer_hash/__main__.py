"""The command: `python -m experiments.checks.integer_hash`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run
from engine.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.integer_hash",
        description="Hash what a quantised network gives for the images of a test set, by everything that can run it.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a folder that engine.train wrote")
    parser.add_argument("--samples", type=int, default=512, metavar="N", help="to calibrate with (default: 512)")
    parser.add_argument(
        "--test", type=int, default=10_000, metavar="N", help="of the test part, at most (default: 10000)"
    )
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder that holds the data sets")
    options = parser.parse_args(arguments)
    if min(options.samples, options.test) < 1:
        raise UserError("--samples and --test: expected 1 or more")
    return check(options)


def check(options: argparse.Namespace) -> int:
    from engine.quantize.build import quantize  # only now: --help answers at once
    from experiments.checks.integer_hash.table import hashes, sizes
    from experiments.checks.quantized_accuracy import opened

    trained = opened(options.run, options.data_root, options.samples, options.test)
    quantized = quantize(trained.net, trained.samples)
    print(f"{trained.name}: {len(trained.images):,} images, {quantized.weight_bytes:,} bytes of integers\n")
    print(sizes(trained.net, quantized), end="\n\n")
    found = hashes(quantized, trained.images)
    return 0 if len(found) == 1 else 1


if __name__ == "__main__":
    sys.exit(run(main))
