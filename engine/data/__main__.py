"""The data sets: `python -m engine.data list | info NAME | fetch NAME | verify NAME | preview NAME`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.cli import run
from engine.data import preview
from engine.data.location import data_root


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m engine.data", description="List, get and check the data sets that the readers know."
    )
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
        "options", nargs="*", metavar="KEY=VALUE", help="for folder and npz: the reader's options, such as path=photos"
    )
    preview.add_arguments(
        commands.add_parser(
            "preview", parents=[where], help="draw a sheet: images, and what augmentations make of them"
        )
    )
    return parser.parse_args(arguments)


def list_sets(options: argparse.Namespace) -> None:
    """Print a line per set."""
    from engine.data.registry import RECORDS, data_state, image_count

    root = data_root(options.data_root)
    rows = [("name", "classes", "images", "", "title")]
    for each in RECORDS.values():
        count = image_count(each)
        classes = str(len(each.classes)) if each.classes else "any"
        rows.append((each.name, classes, "any" if count is None else f"{count:,}", data_state(each, root), each.title))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, classes, images, state, title in rows:
        print(f"{name:<{widths[0]}}  {classes:>{widths[1]}}  {images:>{widths[2]}}  {state:<{widths[3]}}  {title}")
    print(f"\nlooked for in {root}")


def show(options: argparse.Namespace) -> None:
    """Print all that is known of one set."""
    from engine.data.registry import data_state, describe, record

    root = data_root(options.data_root)
    each = record(options.name)
    print(describe(each))
    print(f"here: {data_state(each, root) or 'nothing to look for'} ({root})")


def fetch_set(options: argparse.Namespace) -> None:
    """Download one set."""
    from engine.data.fetch import fetch
    from engine.data.registry import record

    each = record(options.name)
    place = fetch(each, data_root(options.data_root), progress=not options.quiet)
    hashed = any(file.sha256 for file in each.files) or any(wanted.hash for wanted in each.downloads)
    checked = "sizes and hashes" if hashed else "counts and structure; no published hash is known"
    print(f"{each.title}: in {place}\nchecked: {checked}\nlicence: {each.licence}; see {each.page}")


def verify_set(options: argparse.Namespace) -> None:
    """Print what is on disk; UserError where it is not the set."""
    from engine.data.registry import record
    from engine.data.verify import render, verify
    from engine.errors import UserError
    from engine.schema import merge, parse_override

    given: dict[str, Any] = {}
    for text in options.options:
        given = merge(given, parse_override(text))
    found = verify(record(options.name), data_root(options.data_root), given)
    print(render(found))
    if found.faults:
        count = len(found.faults)
        raise UserError(f"{options.name}: {count} fault{'s' * (count > 1)}, the first: {found.faults[0]}")


COMMANDS = {"list": list_sets, "info": show, "fetch": fetch_set, "verify": verify_set, "preview": preview.run}


def main() -> None:
    options = parse_arguments()
    COMMANDS[options.command](options)


if __name__ == "__main__":
    sys.exit(run(main))
