"""Answer over HTTP what images show: `python -m engine.serve NET… [--port 8000]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(
        "engine.serve",
        description="Answer over HTTP what images show. POST an image to /predict, or a JSON list of images in base64; "
        "?top=K and ?probabilities=1 say more. GET /healthz says that it answers, GET / shows a page to try it. "
        "Whoever reaches the address may ask: there are no names and no passwords.",
    )
    parser.add_argument(
        "networks",
        nargs="+",
        type=Path,
        metavar="NET",
        help="a trained network, or a run folder (its best epoch); of several the mean of their probabilities counts",
    )
    parser.add_argument("--host", default="127.0.0.1", help="to listen on (default: 127.0.0.1, for this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (default: 8000)")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="images that are answered at a time, each by a copy of the network and a share of the cores "
        "(default: a worker for each core)",
    )
    parser.add_argument(
        "--most-megabytes", type=float, default=16, metavar="MB", help="of a request's body (default: 16)"
    )
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_arguments()
    from engine.serving.command import serve  # only now: --help answers at once

    serve(options)


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
