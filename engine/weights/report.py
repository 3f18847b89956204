"""What went where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.plan.table import table


@dataclass(frozen=True)
class Row:
    """One array: our key, theirs, the shape here, what was done to it, and by what the two were matched: name, shape,
    order, or given."""

    key: str
    theirs: str
    shape: tuple[int, ...]
    change: str
    matched: str


@dataclass(frozen=True)
class Report:
    """What `load_weights` did; `print` shows a table.

    rows     every array that was loaded
    kept     layer of the network that keeps its weights → why
    unused   module of the file that went nowhere → why
    ignored  arrays of the file that no network of ours has: counters, seeds
    notes    what the file does not tell, or tells of training alone
    """

    file: str
    rows: tuple[Row, ...]
    kept: Mapping[str, str]
    unused: Mapping[str, str]
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """In JSON's own types."""
        return asdict(self)

    def __str__(self) -> str:
        rows = [(each.key, each.theirs, str(each.shape), each.change, each.matched) for each in self.rows]
        head = "array", "from", "shape", "change", "by"
        lines = [f"{len(rows)} arrays from {self.file}", *table([head, *rows], numeric=())]
        lines += [f"layer {name!r} keeps its weights: {reason}" for name, reason in self.kept.items()]
        lines += [f"{name!r} of the file is not used: {reason}" for name, reason in self.unused.items()]
        lines += [f"not needed: {', '.join(self.ignored)}"] if self.ignored else []
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])
