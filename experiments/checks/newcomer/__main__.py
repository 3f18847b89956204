"""Walks the path of docs/photos.md from an empty environment to predictions, and prints what each took and said.

`python -m experiments.checks.newcomer [--install] [--photos FOLDER --new FOLDER] [KEY=VALUE ...]`

Every command is a process of its own, as a reader types it. Without --photos a folder is made of the set of scenes,
as people have photographs: JPEG, PNG and WebP of several sizes, some on their side, one damaged.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run
from engine.errors import UserError


def check(options: argparse.Namespace) -> int:
    from engine.data.location import data_root
    from experiments.checks.newcomer.laptop import NEW, PHOTOS, make_photos
    from experiments.checks.newcomer.walk import report, walk

    if (options.photos is None) != (options.new is None):
        raise UserError("--photos and --new belong together: what is learned from, and what is asked about")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if options.photos is None:
            make_photos(place, data_root(options.data_root))
        for name, given in ((PHOTOS, options.photos), (NEW, options.new)):
            if given is not None and not given.is_dir():
                raise UserError(f"{given}: no such folder")
            if given is not None:
                (place / name).symlink_to(given.resolve())
        found = list(walk(place, options.install, options.settings))
    print(report(found))
    good = all(each.expected for each in found)
    print(f"\nverdict: {'walked to its end' if good else 'FAILED'}")
    return 0 if good else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.newcomer",
        description="Walk from a folder of photographs to predictions by the commands of docs/photos.md; time them.",
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="on top of the configuration of the page")
    parser.add_argument("--install", action="store_true", help="begin with an environment of its own and pip install")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="a folder per class (default: made of scenes)")
    parser.add_argument("--new", type=Path, metavar="FOLDER", help="photographs to ask about")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)")
    return check(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(run(main))
