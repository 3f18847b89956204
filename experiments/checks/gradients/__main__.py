"""The command: `python -m experiments.checks.gradients`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from engine.cli import command_parser, run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.gradients",
        description="Compare every gradient of random networks with PyTorch in float64.",
    )
    parser.add_argument("--networks", type=int, default=600, help="how many (default: 600)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default: 0)")
    options = parser.parse_args(arguments)
    from experiments.checks.gradients.comparison import check  # only now: --help answers at once, and without PyTorch

    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
