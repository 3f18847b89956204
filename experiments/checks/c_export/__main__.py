"""The command: `python -m experiments.checks.c_export`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run

TABLES = "bits,bytes,times"
NETWORKS = "lenet,mnist_cnn,model3,resnet20"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.c_export",
        description="Compile exported C files with every compiler and hold their bits, sizes and speed against what is "
        "promised.",
    )
    parser.add_argument("--networks", default=NETWORKS, metavar="NAMES", help=f"with commas (default: {NETWORKS})")
    parser.add_argument("--random", type=int, default=10, metavar="N", help="random networks beside them (default: 10)")
    parser.add_argument("--emx", metavar="COMMAND", help="the command of emx-onnx-cgen, to be timed beside ours")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds of the timing (default: 9)")
    parser.add_argument("--tables", default=TABLES, metavar="NAMES", help=f"some of {TABLES} (default: all)")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="keep the timed programs here; those that are there are not built again",
    )
    options = parser.parse_args(arguments)
    options.tables = options.tables.split(",")
    if not set(options.tables) <= set(TABLES.split(",")):
        parser.error(f"--tables takes some of {TABLES}")
    if options.rounds < 1 or options.random < 0:
        parser.error("--rounds must be at least 1, --random at least 0")
    from experiments.checks.c_export.table import check  # only now: --help answers at once

    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
