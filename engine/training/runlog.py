"""The record of a training run in its folder: log.jsonl and log.csv, one line per epoch, and config.yaml."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.data.dataset import Dataset
from engine.files import append_text, json_text, write_atomically
from engine.training.folder import LOG, TABLE
from engine.training.tracking import Tracker

Record = Mapping[str, Any]


class RunLog:
    """Appends to the log files of a run folder.

    The lines of the epochs are also part of every checkpoint: `restart` writes exactly those, so that a resumed run
    cuts what a killed one wrote after its last checkpoint. In log.jsonl there may be other events too, each with its
    name under "event" ("skipped_images", "diverged"). `trackers` hear all of it as well.
    """

    def __init__(self, folder: Path, trackers: Sequence[Tracker] = ()):
        self.folder = folder
        self.trackers = tuple(trackers)
        self.jsonl = folder / LOG
        self.csv = folder / TABLE

    def restart(self, records: Sequence[Record]) -> None:
        """Begin both files with these epochs (none for a new run)."""
        write_atomically(self.jsonl, "".join(_json_line(record) for record in records).encode())
        header = _csv_lines([list(records[0])]) if records else ""
        rows = _csv_lines([list(record.values()) for record in records])
        write_atomically(self.csv, (header + rows).encode())
        for tracker in self.trackers:
            tracker.restart(records)

    def append(self, record: Record) -> None:
        """Add one epoch."""
        append_text(self.jsonl, _json_line(record))
        header = _csv_lines([list(record)]) if self.csv.stat().st_size == 0 else ""
        append_text(self.csv, header + _csv_lines([list(record.values())]))
        for tracker in self.trackers:
            tracker.append(record)

    def event(self, record: Record) -> None:
        """Add something that is not an epoch; it goes to log.jsonl only."""
        append_text(self.jsonl, _json_line(record))
        for tracker in self.trackers:
            tracker.event(record)

    def skipped_images(self, datasets: Sequence[Dataset | None]) -> None:
        """Say which images the sets lack; the parts of a split share theirs, which are told once."""
        told: list[tuple[str, ...]] = []
        for dataset in datasets:
            if dataset is not None and dataset.skipped and dataset.skipped not in told:
                told.append(dataset.skipped)
                event = {"event": "skipped_images", "dataset": dataset.name, "count": len(dataset.skipped)}
                self.event({**event, "images": dataset.skipped})

    def close(self) -> None:
        """The run has ended, well or not."""
        for tracker in self.trackers:
            tracker.close()


def _json_line(record: Record) -> str:
    return json_text(record) + "\n"


def _csv_lines(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
