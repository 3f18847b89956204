"""Weights of PyTorch or Keras into a network: `python -m engine.weights MODEL FILE OUT.safetensors`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run
from engine.errors import UserError
from engine.reading.yaml_text import parse_yaml


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(
        "engine.weights",
        description="Load the weights in a file of PyTorch (a state_dict: .pt, .safetensors) or Keras (.keras, .h5) "
        "into a network, write it as a checkpoint, and print which array went where. Nothing in the file is run.",
    )
    parser.add_argument(
        "network", metavar="MODEL|CONFIG|CHECKPOINT", help="a named model, a .yaml configuration or a checkpoint"
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the weights")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors", help="the checkpoint to write")
    parser.add_argument(
        "settings", nargs="*", default=[], metavar="KEY=VALUE", help="arguments of the model, such as classes=5"
    )
    parser.add_argument("--source", choices=("torch", "keras"), help="whose file it is (default: by its name)")
    parser.add_argument(
        "--names",
        metavar="FILE.yaml|order",
        help="a mapping of the network's layers to the file's modules, or order: one after the other (default: equal "
        "names, then shapes that fit one place alone)",
    )
    parser.add_argument("--partial", action="store_true", help="leave layers and modules over, and say which")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_intermixed_args(arguments)


def main() -> None:
    options = parse_arguments()
    # Only now: --help answers at once.
    from engine.recipe.build import open_network
    from engine.weights.load import load_weights

    if options.out.suffix.lower() != ".safetensors":
        raise UserError(f"{options.out}: the checkpoint's name must end in .safetensors")
    net = open_network(options.network, options.settings)
    names = options.names if options.names in (None, "order") else _read_names(Path(options.names))
    report = load_weights(net, options.file, options.source, names, strict=not options.partial)
    net.save(options.out)
    print(json.dumps(report.to_dict(), indent=2) if options.json else report)


def _read_names(path: Path) -> dict[str, str]:
    """The mapping in a YAML file."""
    given = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(given, dict):
        raise UserError(f"{path}: expected a mapping of layers to modules")
    return {str(layer): str(module) for layer, module in given.items()}


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
