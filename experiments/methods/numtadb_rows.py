"""Rows of the NumtaDB report with LeNet at 28x28: what each preparation and augmentation is worth, with the test set.

`python -m experiments.methods.numtadb_rows [--seeds 0,1,2] [--epochs 30] [--out DIR] [KEY=VALUE …]`

A door to the study `numtadb_rows`, which has the trainings: it prints their test part (d) too, compares each row with
the one before its last change in pairs of the same seed, while a study has one base row, and gives the verdict.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from engine.cli import run
from experiments.methods import common
from experiments.methods.common import Options, Trained, difference, difference_text, mean
from experiments.report.render import terminal
from experiments.report.table import Cell, Column, Marked, Table
from experiments.study.study import Study

BAR = 0.96  # validation macro-F1 of the rows with BBox
VAL, TEST, ACCURACY = "val_macro_f1", "test_macro_f1", "test_accuracy"
BBOX = "BBox+Reverse+Dilation"
AGAINST = {
    "Reverse": "raw",
    "Reverse+Dilation": "Reverse",
    BBOX: "Reverse+Dilation",
    f"{BBOX}+Contour Cutout": BBOX,
    f"{BBOX}+Mixup": BBOX,
}


def table(trained: Trained) -> Table:
    """Row by row, averaged over the seeds, beside the report's."""
    columns = (
        Column("row", "row", "text"),
        Column("published", trained.study.published.title, digits=4),
        Column("val_macro_f1", "val macro-F1", digits=4),
        Column("test_macro_f1", "test (d) macro-F1", digits=4),
        Column("test_accuracy", "test (d) accuracy", digits=4),
        Column("best_epoch", "best epochs", "text"),
        Column("seconds", "training s", digits=0),
    )
    marks = _marks(trained.study)
    cells = []
    for row in trained.study.rows:
        value = row.published[VAL]
        shown: Cell = Marked(value.value, marks[value.note]) if value.note else value.value
        runs = trained.of(row.name)
        epochs = ", ".join(str(each.best_epoch) for each in runs)
        figures = [mean(trained.values(row.name, key)) for key in (VAL, TEST, ACCURACY)]
        cells.append((row.name, shown, *figures, epochs, mean([each.seconds for each in runs]).mean))
    notes = tuple(f"{mark} {note}" for note, mark in marks.items())
    return Table(trained.study.name, trained.study.title, columns, tuple(cells), notes)


def _marks(study: Study) -> dict[str, str]:
    """(a), (b), … by note on a published value."""
    notes = dict.fromkeys(row.published[VAL].note for row in study.rows if row.published[VAL].note)
    return {note: f"({letter})" for note, letter in zip(notes, "abcdefgh")}


def comparisons(trained: Trained) -> list[str]:
    """What each row gains over the one that it is held against, by pairs of the same seed."""
    lines = []
    for row, other in AGAINST.items():
        for what, key in (("validation", VAL), ("test", TEST)):
            gain = difference(trained.values(row, key), trained.values(other, key))
            lines.append(f"{row} less {other}, {what} macro-F1: {difference_text(gain)}")
    return lines


def verdict(trained: Trained) -> tuple[bool, list[str]]:
    """(whether every row with BBox reaches the bar, the lines that say so)"""
    names = [row.name for row in trained.study.rows if row.name.startswith(BBOX)]
    means = {name: mean(trained.values(name, VAL)).mean for name in names}
    lines = [
        f"{name}: validation macro-F1 {value:.4f}, at least {BAR:g}: {'yes' if value >= BAR else 'NO'}"
        for name, value in means.items()
    ]
    return all(value >= BAR for value in means.values()), lines


def check(options: Options) -> int:
    study = common.load("numtadb_rows", options)
    if options.epochs is not None:
        study = common.with_epochs(study, {row.name: options.epochs for row in study.rows})
    trained = common.train(study, options.out)
    good, lines = verdict(trained)
    print(terminal(table(trained)))
    print("\n".join([*comparisons(trained), "", *lines]))
    print(trained.cost)
    return 0 if good else 1


def main(arguments: Sequence[str] | None = None) -> int:
    return common.main("numtadb_rows", (__doc__ or "").splitlines()[0], check, arguments)


if __name__ == "__main__":
    sys.exit(run(main))
