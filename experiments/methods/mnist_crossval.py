"""The MNIST report's method: 5 folds find the number of epochs, then training on all 60,000 images.

`python -m experiments.methods.mnist_crossval [--seeds 0,1,2,3,4] [--epochs 20] [--out DIR] [KEY=VALUE …]`

Adam, batch 64, at most 20 epochs, early stopping after 3 epochs without a better validation loss, as published. The
epochs of the final training are, as the report has it, the folds' average epoch of the highest accuracy. The report ran
the final training once; here it runs once per seed, and the folds with the first seed.

No study: how long the final training is follows from how the folds went, while a study states every row before the
first run. The published values are those of the study `mnist`, whose rows have the report's own number of epochs.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import run
from engine.data.location import data_root
from engine.reading.schema import parse_override
from engine.recipe.config import TrainConfig, load_config
from engine.recipe.crossval import CrossValidation, Fold, chosen_epochs, final_config, train_final, train_fold
from engine.recipe.fit import checked_trainer
from engine.recipe.samples import load_data
from experiments.methods import common
from experiments.methods.common import Options, mean
from experiments.report.render import terminal
from experiments.report.table import Cell, Column, Table
from experiments.study.own_keys import refuse_own_keys
from experiments.study.read import load_study
from experiments.study.study import Study

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "mnist.yaml"
FOLD_BAR, TEST_BAR = 0.988, 0.990
FINAL = "Final"


class Count:
    """One line per ended run on standard error: which of how many, and how it went."""

    def __init__(self, runs: int):
        self.runs = runs
        self.done = 0

    def __call__(self, label: str, what: str, seconds: float) -> None:
        self.done += 1
        print(f"[{self.done}/{self.runs}] {label}: {what}, {seconds:.0f} s", file=sys.stderr, flush=True)


def configuration(options: Options) -> TrainConfig:
    """`experiments/configs/mnist.yaml` as the folds are trained, with the options' settings on top."""
    for text in options.settings:
        refuse_own_keys(parse_override(text), text)
    stopping = ("early_stopping.patience=3", "early_stopping.metric=val_loss")
    epochs = [] if options.epochs is None else [f"epochs={options.epochs}"]
    config = load_config(CONFIG, ["epochs=20", *stopping, "metric=val_accuracy", *epochs, *options.settings])
    checked_trainer(config, options.out, f"{CONFIG}: ")  # a mistake shows before data are read
    return config


def cross_validate(options: Options, seeds: Sequence[int]) -> CrossValidation:
    """All folds, then a final training per seed."""
    config = dataclasses.replace(configuration(options), seed=seeds[0])
    count = Count(config.split.folds + len(seeds))
    whole, _, test = load_data(config, data_root(options.data_root, config.data_root))
    folds: list[Fold] = []
    for number in range(config.split.folds):
        fold = train_fold(config, whole, number, options.out, listen=lambda record: None)
        folds.append(fold)
        accuracy = f"accuracy {fold.best['val_accuracy']:.4f} in epoch {fold.best_epoch} of {fold.epochs}"
        count(f"fold {number}", accuracy, fold.seconds)
    result = CrossValidation(tuple(folds), chosen_epochs([each.best_epoch for each in folds]))
    for seed in seeds:
        chosen = final_config(config, result.epochs, seed)
        final = train_final(chosen, whole, test, options.out, listen=lambda record: None)
        result = dataclasses.replace(result, finals=(*result.finals, final))
        count(f"final training, seed {seed}", f"test accuracy {final.test['accuracy']:.4f}", final.seconds)
    return result


def published_folds(study: Study) -> list[float]:
    """The validation accuracies of the report's folds."""
    return [row.published["val_accuracy"].value for row in study.rows if row.config.split.kind == "folds"]


def published_epochs(study: Study) -> int:
    """The epochs of the report's final training."""
    return next(row.config.epochs for row in study.rows if row.name == FINAL)


def fold_table(result: CrossValidation, study: Study) -> Table:
    """Fold by fold, beside the report's."""
    columns = (
        Column("fold", "fold", "text"),
        Column("epochs", "epochs"),
        Column("best_epoch", "best epoch"),
        Column("val_loss", "val loss", digits=4),
        Column("val_accuracy", "val accuracy", digits=4),
        Column("last_accuracy", "after the last epoch", digits=4),
        Column("published", study.published.title, digits=4),
    )
    # The published folds were drawn from another seed: only their mean and spread compare.
    rows: list[tuple[Cell, ...]] = [
        (str(each.fold), each.epochs, each.best_epoch, each.best["val_loss"], *_accuracies(each), None)
        for each in result.folds
    ]
    summary = [
        mean([each.best["val_loss"] for each in result.folds]),
        mean([each.best["val_accuracy"] for each in result.folds]),
        mean([each.last["val_accuracy"] for each in result.folds]),
        mean(published_folds(study)),
    ]
    notes = (
        "The best epoch is the one of the highest validation accuracy; the report measures after the last epoch.",
        f"Epochs of the final training: {result.epochs} (mean of the best ones, rounded); the report: "
        f"{published_epochs(study)}.",
    )
    return Table("folds", "Cross-validation", columns, (*rows, ("mean ± std", None, None, *summary)), notes)


def _accuracies(fold: Fold) -> tuple[float, float]:
    return fold.best["val_accuracy"], fold.last["val_accuracy"]


def final_table(result: CrossValidation, study: Study) -> Table:
    """The final trainings, seed by seed, beside the report's one."""
    columns = (
        Column("seed", "seed", "text"),
        Column("train_loss", "train loss", digits=4),
        Column("test_loss", "test loss", digits=4),
        Column("test_accuracy", "test accuracy", digits=4),
        Column("test_macro_f1", "test macro-F1", digits=4),
        Column("published", study.published.title, digits=4),
    )
    names = ("loss", "accuracy", "macro_f1")
    rows: list[tuple[Cell, ...]] = [
        (str(each.seed), each.train_loss, *(each.test[name] for name in names), None) for each in result.finals
    ]
    summary: tuple[Cell, ...] = (
        mean([each.train_loss for each in result.finals]),
        *(mean([each.test[name] for each in result.finals]) for name in names),
        common.published(study, FINAL, "test_accuracy"),
    )
    title = f"Final training on all samples, {result.epochs} epochs"
    return Table("finals", title, columns, (*rows, ("mean ± std", *summary)))


def verdict(result: CrossValidation) -> tuple[bool, list[str]]:
    """(whether both means reach their bars, the lines that say so)"""
    folds = mean([each.best["val_accuracy"] for each in result.folds]).mean
    test = mean([each.test["accuracy"] for each in result.finals]).mean
    lines = [
        f"{what} {value:.4f}, at least {bar:.3f}: {'yes' if value >= bar else 'NO'}"
        for what, value, bar in (("mean fold accuracy", folds, FOLD_BAR), ("mean test accuracy", test, TEST_BAR))
    ]
    return folds >= FOLD_BAR and test >= TEST_BAR, lines


def check(options: Options) -> int:
    study = load_study("mnist")
    result = cross_validate(options, options.seeds or study.seeds)
    good, lines = verdict(result)
    print(terminal(fold_table(result, study)))
    print(terminal(final_table(result, study)))
    print("\n".join(lines))
    print(
        f"training of all {len(result.folds) + len(result.finals)} runs: {result.seconds / 60:.1f} minutes; "
        f"{common.environment()}"
    )
    return 0 if good else 1


def main(arguments: Sequence[str] | None = None) -> int:
    return common.main("mnist_crossval", (__doc__ or "").splitlines()[0], check, arguments)


if __name__ == "__main__":
    sys.exit(run(main))
