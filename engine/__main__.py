"""The commands of the engine: `python -m engine` lists them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from engine.cli import command_parser, run
from engine.errors import UserError, unknown

COMMANDS: Mapping[str, str] = {
    "engine.train": "train a network as a configuration says; --keys prints every key",
    "engine.crossval": "train the folds of a cross-validation, then on all samples",
    "engine.predict": "classify images with trained networks",
    "engine.summary": "the layers of a network, with shapes, parameters, work and memory",
    "engine.profile": "where the time of a network's training step or prediction goes",
    "engine.quantize": "a trained network with integers in place of float32, for predictions",
    "engine.export": "write a trained network as a file that other programs run",
    "engine.serve": "answer over HTTP what images show, with a page to try it",
    "engine.data": "list, fetch, verify and preview data sets",
    "engine.plots": "draw curves, confusion matrices, filters, features, mistakes and samples",
    "engine.weights": "weights of PyTorch or Keras into a network, as a checkpoint",
    "experiments.ablation": "a study: many trainings side by side, over several seeds",
}


def main() -> None:
    parser = command_parser("engine", description="List the commands; each explains itself with --help.")
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    words = parser.parse_args().words
    if words:
        shorts = {module.rpartition(".")[2]: module for module in COMMANDS}
        if words[0] not in shorts:
            raise unknown("command", words[0], shorts)
        raise UserError(f"a command has a module of its own: python -m {shorts[words[0]]}")
    print("Commands; each explains itself with --help:")
    width = max(map(len, COMMANDS))
    for module, line in COMMANDS.items():
        print(f"  python -m {module.ljust(width)}  {line}")


if __name__ == "__main__":
    sys.exit(run(main))
