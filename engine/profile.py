"""Where the time of a network goes: `python -m engine.profile MODEL|CONFIG|CHECKPOINT|RUN [key=value …]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import engine
from engine.cli import command_parser, run
from engine.errors import UserError


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(
        "engine.profile",
        description="Time every operation of a network on random images, beside the FMA peak and the bandwidth that "
        "this machine reaches in the same run.",
    )
    parser.add_argument("source", metavar="MODEL|CONFIG|CHECKPOINT|RUN", help="as for engine.summary")
    parser.add_argument(
        "settings", nargs="*", default=[], metavar="KEY=VALUE", help="arguments of the model, such as filters=256"
    )
    parser.add_argument("--batch", type=int, default=64, help="samples in a run (default: 64)")
    parser.add_argument(
        "--mode", choices=("training", "inference"), default="training", help="what to run (default: training)"
    )
    parser.add_argument("--threads", type=int, default=0, help="size of the team (default: all usable cores)")
    parser.add_argument("--out", type=Path, metavar="PNG", help="write a roofline plot (needs matplotlib)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_intermixed_args(arguments)


def main() -> None:
    options = parse_arguments()
    # Only now: --help answers at once.
    from engine.arguments import integer
    from engine.inspection.profile import profile, render
    from engine.plots.roofline import check_roofline, draw_roofline
    from engine.recipe.build import open_network

    batch = integer("profile", "batch", options.batch, 1)
    try:
        engine.set_num_threads(options.threads)
    except ValueError as error:
        raise UserError(f"--threads: {error}") from None
    if options.out is not None:
        check_roofline(options.out)
    net = open_network(options.source, options.settings)
    if options.mode == "training" and batch == 1 and net.needs_two_samples:
        raise UserError(f"training needs two samples or more: see BatchNorm {net.needs_two_samples!r}")
    result = profile(net, Path(options.source).name, options.mode, batch)
    if options.out is not None:
        draw_roofline(result, options.out)
    print(json.dumps(asdict(result), indent=2) if options.json else render(result))
    if options.out is not None:
        print(f"written: {options.out}", file=sys.stderr)


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
