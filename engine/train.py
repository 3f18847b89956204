"""Train a network from a configuration file: `python -m engine.train CONFIG.yaml`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
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
    return parser.parse_intermixed_args(arguments)


def main() -> None:
    options = parse_arguments()
    from engine.recipe.fit import train  # only now: --help answers at once

    train(options)


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
