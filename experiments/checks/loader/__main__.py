"""The command: `python -m experiments.checks.loader`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run
from experiments.options import names


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.loader",
        description="Measure how fast images are prepared and fed for each report, and what a training waits for them.",
    )
    parser.add_argument("--pipelines", type=names, default=[], metavar="A,B", help="only these (default: all)")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement of feeding (default: 2)")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)")
    options = parser.parse_args(arguments)
    from experiments.checks.loader.table import check  # only now: --help answers at once

    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
