"""Rows of the NumtaDB report with LeNet at 28x28: what each preparation and augmentation is worth, with the test set.

`python -m experiments.methods.numtadb_rows [--seeds 0,1,2] [--epochs 30] [--out DIR] [KEY=VALUE …]`

Trained and validated on the parts a, b and c (80/20, stratified on database and digit), tested on d with the weights of
the epoch that was best by validation macro-F1. All else is `experiments/configs/numtadb.yaml`, and so are the
assumptions. The division is the same for every row and seed: rows are compared in pairs of the same seed.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.methods import common
from experiments.methods.common import Options, Trained, difference, difference_text, mean
from experiments.report.render import terminal
from experiments.report.table import Column, Marked, Table

SEEDS = (0, 1, 2)
BAR = 0.96  # validation macro-F1 of the rows with BBox
VAL, TEST, ACCURACY = "best_value", "test_macro_f1", "test_accuracy"
MODEL1, MODEL2 = "a", "b"
NOTES = (
    "(a) Model1 at 64x64, lr 0.001, on 13,415 images: the report has no such LeNet row.",
    "(b) Model2 at 48x48, where the same row without Contour Cutout has 0.9662: the report has no such LeNet row.",
)


@dataclass(frozen=True)
class Row:
    """Its settings, the report's validation macro-F1 with the mark of its note, and the row that it is held against."""

    name: str
    settings: tuple[str, ...]
    published: float | None
    mark: str = ""
    against: str | None = None


BBOX, BBOX_STEPS = "BBox+Reverse+Dilation", "preprocess.steps=[bbox, reverse, dilation]"
ROWS = (
    Row("raw", ("preprocess.steps=[]",), 0.1549, MODEL1),
    Row("Reverse", ("preprocess.steps=[reverse]",), 0.8858, against="raw"),
    Row("Reverse+Dilation", ("preprocess.steps=[reverse, dilation]",), 0.8837, against="Reverse"),
    Row(BBOX, (BBOX_STEPS,), 0.9598, against="Reverse+Dilation"),
    Row(f"{BBOX}+Contour Cutout", (BBOX_STEPS, "augment.contour_cutout={}"), 0.966, MODEL2, BBOX),
    Row(f"{BBOX}+Mixup", (BBOX_STEPS, "augment.mixup=0.2"), 0.8799, MODEL1, BBOX),
)


def train_rows(rows: Sequence[Row], options: Options) -> dict[str, list[Trained]]:
    """Every row with every seed; the samples of a row are prepared once."""
    # All mistakes show before the first training.
    configs = {row.name: common.configuration("numtadb", options, *row.settings) for row in rows}
    count = common.Count(len(rows) * len(options.seeds))
    found: dict[str, list[Trained]] = {}
    for row in rows:
        config = configs[row.name]
        parts = common.load(config, options)
        for seed in options.seeds:
            out = options.out / f"{common.slug(row.name)}-seed{seed}"
            trained = common.train(dataclasses.replace(config, seed=seed), parts, out)
            found.setdefault(row.name, []).append(trained)
            what = f"macro-F1 {trained.result[VAL]:.4f} (validation), {trained.result[TEST]:.4f} (test)"
            count(f"{row.name}, seed {seed}", what, trained.seconds)
    return found


def values(trained: Sequence[Trained], key: str) -> list[float]:
    return [each.result[key] for each in trained]


def table(rows: Sequence[Row], found: dict[str, list[Trained]]) -> Table:
    """Row by row, averaged over the seeds, beside the report's."""
    columns = (
        Column("row", "row", "text"),
        Column("published", "NumtaDB report", digits=4),
        Column("val_macro_f1", "val macro-F1", digits=4),
        Column("test_macro_f1", "test (d) macro-F1", digits=4),
        Column("test_accuracy", "test (d) accuracy", digits=4),
        Column("best_epoch", "best epochs", "text"),
        Column("seconds", "training s", digits=0),
    )
    cells = []
    for row in rows:
        runs = found[row.name]
        published = Marked(row.published, f"({row.mark})") if row.published and row.mark else row.published
        epochs = ", ".join(str(each.history.best_epoch) for each in runs)
        figures = [mean(values(runs, key)) for key in (VAL, TEST, ACCURACY)]
        cells.append((row.name, published, *figures, epochs, mean([each.seconds for each in runs]).mean))
    marks = {row.mark for row in rows}
    notes = tuple(note for note in NOTES if note[1] in marks)
    return Table("numtadb_rows", "NumtaDB a+b+c → d, LeNet at 28x28", columns, tuple(cells), notes)


def comparisons(rows: Sequence[Row], found: dict[str, list[Trained]]) -> list[str]:
    """What each row gains over the one that it is held against, by pairs of the same seed."""
    lines = []
    for row in rows:
        if row.against in found:
            for what, key in (("validation", VAL), ("test", TEST)):
                gain = difference(values(found[row.name], key), values(found[row.against], key))
                lines.append(f"{row.name} less {row.against}, {what} macro-F1: {difference_text(gain)}")
    return lines


def verdict(rows: Sequence[Row], found: dict[str, list[Trained]]) -> tuple[bool, list[str]]:
    """(whether every row with BBox reaches the bar, the lines that say so)"""
    means = {row.name: mean(values(found[row.name], VAL)).mean for row in rows if BBOX in (row.name, row.against)}
    lines = [
        f"{name}: validation macro-F1 {value:.4f}, at least {BAR:g}: {'yes' if value >= BAR else 'NO'}"
        for name, value in means.items()
    ]
    return all(value >= BAR for value in means.values()), lines


def check(options: Options, rows: Sequence[Row] = ROWS) -> int:
    found = train_rows(rows, options)
    good, lines = verdict(rows, found)
    print(terminal(table(rows, found)))
    print("\n".join([*comparisons(rows, found), "", *lines]))
    minutes = sum(each.seconds for runs in found.values() for each in runs) / 60
    print(f"training of all {sum(map(len, found.values()))} runs: {minutes:.1f} minutes; {common.environment()}")
    return 0 if good else 1


def main(arguments: Sequence[str] | None = None) -> int:
    return common.main("numtadb_rows", (__doc__ or "").splitlines()[0], SEEDS, check, arguments)


if __name__ == "__main__":
    sys.exit(main())
