"""What a network consists of: `python -m engine.summary MODEL|CONFIG|CHECKPOINT|RUN [key=value …] [--json]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from engine.cli import command_parser, run


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(
        "engine.summary",
        description="Print the layers of a network with shapes and parameters, its FLOPs and its memory.",
    )
    parser.add_argument(
        "source",
        nargs="?",
        metavar="MODEL|CONFIG|CHECKPOINT|RUN",
        help="a named model, a .yaml configuration, a .safetensors checkpoint, or a run folder (its best epoch); "
        "without one, the models are listed",
    )
    parser.add_argument(
        "settings", nargs="*", default=[], metavar="KEY=VALUE", help="arguments of the model, such as filters=256"
    )
    parser.add_argument("--batch", type=int, default=64, help="batch for which memory is stated (default: 64)")
    parser.add_argument(
        "--device",
        action="store_true",
        help="also what the network takes of a device as C (python -m engine.export NET OUT.c), trained or not",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_intermixed_args(arguments)


def main() -> None:
    options = parse_arguments()
    # Only now: --help answers at once.
    import json
    from dataclasses import asdict

    from engine.models import described_models
    from engine.network.summary import render
    from engine.quantize.network import QuantizedNetwork
    from engine.recipe.build import open_network, open_trained

    if options.source is None:
        models = described_models()
        width = max(map(len, models))
        lines = "\n".join(f"{name:<{width}}  {text}" for name, text in models.items())
        print(json.dumps(models, indent=2) if options.json else lines)
        return
    network = open_network(options.source, options.settings) if options.settings else open_trained(options.source)
    if isinstance(network, QuantizedNetwork):
        found, text = network.summarize(), network.summary()
    else:
        summary = network.summarize(options.batch)
        found, text = asdict(summary), render(summary)
    if not options.device:
        print(json.dumps(found, indent=2) if options.json else text)
        return
    from engine.export.c.source import sizes

    device = sizes(network)
    if options.json:
        print(json.dumps({**found, "device": asdict(device)}, indent=2))
        return
    print(f"{text}\nas C: {device}")


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
