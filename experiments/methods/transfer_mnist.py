"""The MIDAS report's transfer: 62 characters, then their ten digits, then MNIST, beside a network of random weights.

`python -m experiments.methods.transfer_mnist [--seeds 0,1,2,3,4] [--epochs 3] [--out DIR] [KEY=VALUE …]`

For every seed the report's network learns the 62 characters of Chars74K, gets a new last layer for the ten digits of
the same set, and goes on with MNIST at batch 100. Beside it stands the same network, same seed and same batches, whose
first weights are drawn. Both are measured on MNIST's test set after every epoch: no epoch is chosen.

A door to the study `transfer_mnist`, which has the trainings: a study's table shows one epoch of each, this command all
of them. --epochs are those on MNIST.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from engine.cli import run
from engine.training.folder import LOG, read_epochs
from experiments.methods import common
from experiments.methods.common import Options, Trained, difference, difference_text, mean
from experiments.report.render import terminal
from experiments.report.table import Cell, Column, Table
from experiments.study.schema import PublishedValue

CHARACTERS, RANDOM, PRETRAINED = "62 characters", "MNIST random", "MNIST pretrained"


def by_epoch(trained: Trained, row: str, key: str) -> list[list[float]]:
    """A measure of every run of a row: after the first epoch, after the second, …"""
    logs = [read_epochs(each.folder / LOG) for each in trained.of(row)]
    return [[float(record[key]) for record in epoch] for epoch in zip(*logs, strict=True)]


def table(trained: Trained, measure: str, title: str) -> Table:
    """One measure after every epoch: both ways, the paired difference, and the report's."""
    report = trained.study.published.title
    columns = (
        Column("epoch", "epochs", "text"),
        Column("random", "random weights", digits=4),
        Column("pretrained", "pretrained", digits=4),
        Column("difference", "pretrained less random", "text"),
        Column("report_random", f"{report}, random", digits=4),
        Column("report_pretrained", f"{report}, pretrained", digits=4),
    )
    # The test set is the validation set too: that is what is measured after every epoch.
    found = [by_epoch(trained, row, f"val_{measure}") for row in (RANDOM, PRETRAINED)]
    stated = {row.name: row.published for row in trained.study.rows}
    rows: list[tuple[Cell, ...]] = []
    for epoch, (random, pretrained) in enumerate(zip(*found, strict=True)):
        gain = difference_text(difference(pretrained, random))
        theirs = [_after(stated[name][f"test_{measure}"], epoch) for name in (RANDOM, PRETRAINED)]
        rows.append((str(epoch + 1), mean(random), mean(pretrained), gain, *theirs))
    return Table(measure, title, columns, tuple(rows))


def _after(published: PublishedValue, epoch: int) -> float | None:
    """The published value after `epoch` (from 0); None beyond the report's epochs."""
    return published.by_epoch[epoch] if epoch < len(published.by_epoch) else None


def check(options: Options) -> int:
    study = common.load("transfer_mnist", options)
    if options.epochs is not None:
        study = common.with_epochs(study, {RANDOM: options.epochs, PRETRAINED: options.epochs})
    trained = common.train(study, options.out)
    print(terminal(table(trained, "accuracy", "Accuracy on MNIST's test set")))
    print(terminal(table(trained, "loss", "Loss on MNIST's test set")))
    characters = mean(trained.values(CHARACTERS, "val_accuracy"))
    spread = "" if characters.std is None else f" ± {characters.std:.4f}"
    print(
        f"Chars74K, 62 classes, validation accuracy of the best epoch: {characters.mean:.4f}{spread} "
        f"(the report: {common.published(study, CHARACTERS, 'val_accuracy')})"
    )
    print("\n".join(study.assumptions))
    print(trained.cost)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return common.main("transfer_mnist", (__doc__ or "").splitlines()[0], check, arguments)


if __name__ == "__main__":
    sys.exit(run(main))
