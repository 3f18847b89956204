"""Where perceptual hashes tell copies from different images, and where they collide across classes.

`python -m experiments.checks.perceptual_hashes [--sets mnist,numtadb,…] [--count 5000] [--data-root DIR]`

For each set, method and threshold (bits of 64): how many images removal of near duplicates would drop, how many of
those carry another label than the image that stays in their place, and what share of the dropped that is. Equal images
are taken out first. A set is refused (ADVICE in `near_duplicates.py`) where characters of different classes
are dropped for one another.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.cli import command_parser, run
from engine.data.choose.near_duplicates import ADVICE, METHODS, Advice, nearest_kept, perceptual_hashes
from engine.data.choose.selection import Selection, select
from engine.data.location import data_root
from engine.data.readers import read_dataset
from engine.errors import UserError

SETS = ("mnist", "numtadb", "chars74k", "cifar10", "scenes")
THRESHOLDS = (0, 2, 4, 8)


@dataclass(frozen=True)
class Collisions:
    """One row: of `images`, `dropped` are near an earlier one, `other_class` of them under another label."""

    set: str
    method: str
    threshold: int
    images: int
    dropped: int
    other_class: int

    @property
    def share(self) -> float | None:
        """The dropped that carry another label; None where nothing is dropped."""
        return self.other_class / self.dropped if self.dropped else None


def collisions(name: str, root: Path | None, count: int) -> Iterator[Collisions]:
    """All methods and thresholds on `count` training samples of the set (or all, where it has fewer)."""
    raw = read_dataset(name, root, {})
    wished = Selection(count=min(count, len(raw)))
    raw = select(select(raw, None, wished, name)[0], None, Selection(drop_duplicates=True), name)[0]
    for method in METHODS:
        hashes = perceptual_hashes(raw.images, method)
        for threshold in THRESHOLDS:
            leaders = nearest_kept(hashes, threshold)
            dropped = int((leaders != np.arange(len(raw))).sum())
            other = int((raw.labels[leaders] != raw.labels).sum())
            yield Collisions(name, method, threshold, len(raw), dropped, other)


def advice(name: str) -> str:
    """What the set's record says, in a few words."""
    known = ADVICE.get(name, Advice())
    return "refused" if known.refused else f"{known.method}, {known.threshold} bits"


def table(rows: Sequence[Collisions]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| set | advice | method | bits | images | dropped | of another class | share |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        share = "" if row.share is None else f"{row.share:.1%}"
        cells = [row.set, advice(row.set), row.method, row.threshold, row.images, row.dropped, row.other_class, share]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = command_parser("experiments.checks.perceptual_hashes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", default=",".join(SETS), help="names with commas between them (default: %(default)s)")
    parser.add_argument("--count", type=int, default=5000, help="samples of each set (default: %(default)s)")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder that holds the data sets")
    options = parser.parse_args()
    if options.count < 2:
        raise UserError(f"--count must be 2 or more, got {options.count}")
    root = data_root(options.data_root, None)
    rows = [row for name in options.sets.split(",") for row in collisions(name.strip(), root, options.count)]
    print(table(rows))


if __name__ == "__main__":
    sys.exit(run(main))
