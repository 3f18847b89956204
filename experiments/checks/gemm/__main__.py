"""The command: `python -m experiments.checks.gemm`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.cli import command_parser, run

SIZES = (512, 768, 1024, 1536, 2048)
CHANNELS = (16, 32, 64, 128)


def whole_numbers(text: str) -> tuple[int, ...]:
    """Positive whole numbers separated by commas."""
    numbers = tuple(int(each) for each in text.split(",") if each)
    if any(number < 1 for number in numbers):
        raise ValueError(text)
    return numbers


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.gemm",
        description="Hold matrix products and 3x3 convolutions against the FMA peak, OpenBLAS and MKL, on one thread.",
    )
    parser.add_argument("--rounds", type=int, default=15, help="interleaved rounds (default: 15)")
    parser.add_argument("--sizes", type=whole_numbers, default=SIZES, metavar="M,N", help="of the square products")
    parser.add_argument("--channels", type=whole_numbers, default=CHANNELS, metavar="C,D", help="of the 3x3 layers")
    options: Any = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    from experiments.checks.gemm.table import check  # only now: --help answers at once

    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
