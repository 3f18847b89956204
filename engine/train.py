"""Train a network from a configuration file: `python -m engine.train CONFIG.yaml`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.cli import add_run_arguments, command_parser, run


class ShowKeys(argparse.Action):
    """Prints the keys and ends, as --help does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from engine.recipe.keys import as_text  # only now: --help answers at once

        print(as_text())
        parser.exit()


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(
        "engine.train",
        description="Train a network as a configuration file says. The run folder gets checkpoints (best, last), "
        "log.jsonl, log.csv, config.yaml and result.json. A folder that holds a run (a checkpoint, a result or a log "
        "that is not empty) is never overwritten.",
    )
    add_run_arguments(parser)
    parser.add_argument("--keys", action=ShowKeys, nargs=0, help="print every key that the file can have, and exit")
    parser.add_argument(
        "--find-lr",
        action="store_true",
        help="instead of a training, a hundred steps with a rate that grows from 1e-6 to 10: prints the losses, and "
        "where they fall fastest; nothing is written but --figure",
    )
    parser.add_argument("--figure", type=Path, help="of --find-lr: a plot of the losses, .png, .svg or .pdf")
    options = parser.parse_intermixed_args(arguments)
    if options.figure is not None and not options.find_lr:
        parser.error("--figure belongs to --find-lr")
    return options


def main() -> None:
    options = parse_arguments()
    from engine.recipe.fit import find_rate, train  # only now: --help answers at once

    if not options.find_lr:
        train(options)
        return
    if options.figure is None:
        print(find_rate(options))
        return
    from engine.plots.canvas import check_target, save
    from engine.plots.rates import draw_rates

    check_target(options.figure)
    sweep = find_rate(options)
    print(sweep)
    save(draw_rates(sweep), options.figure)
    print(f"written: {options.figure}")


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
