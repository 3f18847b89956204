"""Train a network from a configuration file: `python -m engine.train CONFIG.yaml`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from engine.cli import add_run_arguments, run


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m engine.train",
        description="Train a network as a configuration file says. The run folder gets checkpoints (best, last), "
        "log.jsonl, log.csv, config.yaml and result.json. A folder that holds a run (a checkpoint, a result or a log "
        "that is not empty) is never overwritten.",
    )
    add_run_arguments(parser)
    return parser.parse_intermixed_args(arguments)


def main() -> None:
    options = parse_arguments()
    from engine.recipe.fit import train  # only now: --help answers at once

    train(options)


if __name__ == "__main__":
    sys.exit(run(main))
