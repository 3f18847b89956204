"""What `python -m engine.data` does, a function for each word."""

from __future__ import annotations

import argparse

from engine.data.location import data_root
from engine.data.sets import preview
from engine.data.sets.fetch import fetch
from engine.data.sets.known import RECORDS
from engine.data.sets.registry import data_state, describe, image_count, reader_options, record
from engine.data.sets.verify import render, verify
from engine.errors import UserError


def list_sets(options: argparse.Namespace) -> None:
    """Print a line per set."""
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
    root = data_root(options.data_root)
    each = record(options.name)
    print(describe(each))
    print(f"here: {data_state(each, root) or 'nothing to look for'} ({root})")


def fetch_set(options: argparse.Namespace) -> None:
    """Download one set."""
    each = record(options.name)
    place = fetch(each, data_root(options.data_root), progress=not options.quiet)
    hashed = any(file.sha256 for file in each.files) or any(wanted.hash for wanted in each.downloads)
    checked = "sizes and hashes" if hashed else "counts and structure; no published hash is known"
    print(f"{each.title}: in {place}\nchecked: {checked}\nlicence: {each.licence}; see {each.page}")


def verify_set(options: argparse.Namespace) -> None:
    """Print what is on disk; UserError where it is not the set."""
    wanted = record(options.name)
    found = verify(wanted, data_root(options.data_root), reader_options(options.name, options.options))
    print(render(found))
    if found.faults:
        count = len(found.faults)
        raise UserError(f"{options.name}: {count} fault{'s' * (count > 1)}, the first: {found.faults[0]}")


COMMANDS = {"list": list_sets, "info": show, "fetch": fetch_set, "verify": verify_set, "preview": preview.run}
