"""The data sets: `python -m engine.data list | info NAME | fetch NAME | verify NAME | preview NAME`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser("engine.data", description="List, get and check the data sets that the readers know.")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder that holds the data sets (default: CNN_DATA, then the user's cache folder)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", parents=[where], help="every set, and whether it is at hand")
    one = commands.add_parser("info", parents=[where], help="one set: classes, sizes, licence, files, how to get it")
    one.add_argument("name", metavar="NAME")
    get = commands.add_parser("fetch", parents=[where], help="download a set, or say what to put where")
    get.add_argument("name", metavar="NAME")
    get.add_argument("--quiet", action="store_true", help="no progress bar")
    check = commands.add_parser(
        "verify", parents=[where], help="check files, counts and class balance; find unreadable and equal images"
    )
    check.add_argument("name", metavar="NAME")
    check.add_argument(
        "options",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="for folder and npz: the reader's options, such as path=photos",
    )
    add_preview_arguments(
        commands.add_parser(
            "preview", parents=[where], help="draw a sheet: images, and what augmentations make of them"
        )
    )
    return parser.parse_args(arguments)


def add_preview_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command beside --data-root."""
    parser.add_argument("name", metavar="NAME", help="a data set, see `list`")
    parser.add_argument(
        "options",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="options of the set's reader, such as parts=d or path=photos",
    )
    parser.add_argument(
        "--augment",
        default="",
        metavar="STAGES",
        help="image steps, then random augmentations, by name or with parameters as in a configuration: "
        "bbox,reverse,{dilation: {kernel: 5}},contour_cutout,{shift: 0.2}",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("sheet.png"), metavar="FILE.png", help="(default: %(default)s)"
    )
    parser.add_argument("--count", type=int, default=6, help="rows, one image each (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=1, help="show the last stage in so many epochs (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of images and of the augmentations")
    parser.add_argument(
        "--size", type=int, nargs=2, metavar=("H", "W"), help="resize after the steps, as preprocess.size does"
    )


def main() -> None:
    options = parse_arguments()
    from engine.data.sets.command import COMMANDS  # only now: --help answers at once

    COMMANDS[options.command](options)


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
