"""A network as a file that other programs run: `python -m engine.export NET OUT [options of OUT's kind]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run
from engine.errors import UserError
from engine.export import WRITERS, writer_of


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    words = sys.argv[1:] if arguments is None else list(arguments)
    kinds = "; ".join(f"{suffix}: {kind.line}" for suffix, kind in WRITERS.items())
    parser = command_parser(
        "engine.export",
        description="Write a trained network as a file that other programs run. The suffix of OUT says which: "
        f"{kinds}. Behind the name of an OUT, --help shows the options of its kind too.",
    )
    parser.add_argument(
        "source",
        nargs="?",
        metavar="NET",
        help="a .safetensors checkpoint, a run folder (its best epoch), or a named model with its first weights",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the file to write")
    parser.add_argument(
        "--from",
        dest="foreign",
        type=Path,
        metavar="FILE",
        help="in place of NET: the file of another program, such as model.onnx",
    )
    # Which options there are depends on OUT, the last name with a suffix of ours.
    names = [Path(word) for word in words if not word.startswith("-") and Path(word).suffix.lower() in WRITERS]
    if names:
        writer_of(names[-1]).add_arguments(parser)
    return parser.parse_intermixed_args(words)


def main() -> int | None:
    options = parse_arguments()
    if (options.source is None) == (options.foreign is None):
        raise UserError("expected either NET, or --from with the file of another program")
    writer = writer_of(options.out)
    # Only now: --help answers at once.
    from engine.importing import read
    from engine.recipe.build import open_trained

    network = open_trained(options.source) if options.foreign is None else read(options.foreign)
    return writer.write(network, options.out, options)


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
