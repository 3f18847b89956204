"""Cross-validation: folds find the number of epochs, then all samples are trained on."""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.data.choose.noise import with_label_noise
from engine.data.choose.splits import Indices
from engine.data.dataset import Dataset
from engine.data.location import data_root
from engine.errors import UserError
from engine.files import json_text, write_atomically
from engine.recipe.build import build_schedule
from engine.recipe.config import TrainConfig, load_config
from engine.recipe.fit import checked_trainer, fit_and_test, make_trainer
from engine.recipe.samples import all_folds, among_read, chosen_samples, load_data, split_indices
from engine.training.folder import CROSSVAL, FINAL, FOLD, RESULT, RUN_FILES, measured_values, only_training
from engine.training.history import History
from engine.training.resume import holds_run

RULE = "mean of the folds' best epochs, rounded, a half upwards"

Values = dict[str, float]
Listener = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Fold:
    """One fold: its epochs, the best one by `metric`, and losses and metrics of the best and of the last."""

    fold: int
    metric: str
    epochs: int
    best_epoch: int
    stopped_early: bool
    best: Values
    last: Values
    seconds: float


@dataclass(frozen=True)
class Final:
    """A final training: its seed, its epochs, the loss of the last one, and what the test part gave (or nothing)."""

    seed: int
    epochs: int
    train_loss: float
    test: Values
    seconds: float


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (divisor count - 1; None below two values)."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class CrossValidation:
    """All figures of a cross-validation and its final trainings. seconds: in training steps, evaluation not counted."""

    folds: tuple[Fold, ...]
    epochs: int
    finals: tuple[Final, ...] = ()

    @property
    def seconds(self) -> float:
        return math.fsum([*(each.seconds for each in self.folds), *(each.seconds for each in self.finals)])

    def to_dict(self) -> dict[str, Any]:
        """The record, in JSON's own types."""
        return {
            "metric": self.folds[0].metric,
            "folds": [asdict(each) for each in self.folds],
            "best": _spreads([each.best for each in self.folds]),
            "last": _spreads([each.last for each in self.folds]),
            "epochs": self.epochs,
            "epochs_rule": RULE,
            "finals": [asdict(each) for each in self.finals],
            "test": _spreads([each.test for each in self.finals]),
            "seconds": round(self.seconds, 3),
        }


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of one value or more."""
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def chosen_epochs(best_epochs: Sequence[int]) -> int:
    """The epochs of the final training (see RULE)."""
    return math.floor(sum(best_epochs) / len(best_epochs) + 0.5)


def train_fold(
    config: TrainConfig,
    whole: Dataset,
    number: int,
    out: Path,
    listen: Listener | None = None,
    division: tuple[Indices, Indices] | None = None,
) -> Fold:
    """Train fold `number` (from 0) in its folder under `out`. One that has ended is only read, one cut off goes on.

    whole: all training samples, prepared. The split's folds, stratify and seed say how they are divided; its kind and
    fold do not matter. `listen` gets every epoch's record; without it the trainer shows its progress itself.
    division: the fold's (train, validation) indices into `whole`. They are needed where a file holds the folds: it
    knows the images as they are on disk, not prepared.
    """
    fold = fold_config(config, number)
    if division is None:
        if config.split.file is not None:
            raise UserError("split.file: the folds of a file are for images as they are on disk; give the division")
        division = split_indices(whole, fold.split)
    assert division is not None
    train, held_out = (whole.subset(part) for part in division)
    fitted = config.preprocess.fitted(train.images)
    train, held_out = train.with_preprocess(fitted), held_out.with_preprocess(fitted)
    train = with_label_noise(train, config.label_noise)
    trainer = make_trainer(fold, out / f"{FOLD}{number}")
    trainer.progress = "none" if listen else "auto"
    history, _ = fit_and_test(fold, trainer, train, held_out, None, resume=True, callbacks=[listen] if listen else [])
    return _fold(number, history)


def divide(config: TrainConfig, whole: Dataset, root: Path | None) -> list[tuple[Indices, Indices]]:
    """(train, validation) indices into `whole` of every fold, as `engine.train` has them."""
    split = fold_config(config, 0).split
    if split.file is None:
        return all_folds(whole, split)
    raw, _, _ = chosen_samples(config, root)
    return [among_read(indices, whole, len(raw)) for indices in all_folds(raw, split)]


def fold_config(config: TrainConfig, number: int) -> TrainConfig:
    """The configuration of fold `number`."""
    return dataclasses.replace(config, split=dataclasses.replace(config.split, kind="folds", fold=number))


def final_config(config: TrainConfig, epochs: int, seed: int) -> TrainConfig:
    """The configuration of the final training: all samples, so many epochs, nothing that watches a validation set."""
    watched = config.metric is not None and config.metric.startswith("val_")
    return dataclasses.replace(
        config,
        split=dataclasses.replace(config.split, kind="none", file=None),
        epochs=epochs,
        early_stopping=None,
        metric=None if watched else config.metric,
        mode=None if watched else config.mode,
        seed=seed,
    )


def train_final(
    config: TrainConfig, whole: Dataset, test: Dataset | None, out: Path, listen: Listener | None = None
) -> Final:
    """Train on all samples as `final_config` says, in a folder under `out`, and measure the test part."""
    whole = with_label_noise(whole, config.label_noise)
    trainer = make_trainer(config, out / f"{FINAL}{config.seed}")
    trainer.progress = "none" if listen else "auto"
    history, result = fit_and_test(
        config, trainer, whole, None, test, resume=True, callbacks=[listen] if listen else []
    )
    measured = {name.removeprefix("test_"): value for name, value in result.items() if name.startswith("test_")}
    last = history.epochs[-1]
    return Final(config.seed, len(history.epochs), last["train_loss"], measured, sum(history["seconds"]))


def check_final(config: TrainConfig) -> None:
    """UserError where the schedule watches a validation set, which the final training lacks."""
    metric = build_schedule(config.schedule).metric
    if metric is not None and metric.startswith("val_"):
        raise UserError(
            f"schedule: the metric {metric} needs validation samples, which the final training on all samples lacks; "
            "choose train_loss or a schedule that watches nothing, or leave the final training out (--no-final)"
        )


def _fold(number: int, history: History) -> Fold:
    assert history.best_epoch is not None
    best, last = history.epochs[history.best_epoch - 1], history.epochs[-1]
    return Fold(
        number,
        history.metric,
        len(history.epochs),
        history.best_epoch,
        history.stopped_early,
        measured_values(best),
        measured_values(last),
        sum(history["seconds"]),
    )


def _spreads(values: Sequence[Values]) -> dict[str, dict[str, float | None]]:
    return {name: asdict(spread([each[name] for each in values])) for name in values[0]} if values else {}


def parse_seeds(text: str) -> tuple[int, ...]:
    """`0,1,2` as numbers; UserError for anything else, or a seed given twice."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--seeds: expected whole numbers with commas between them, got {text!r}")
    seeds = tuple(int(part) for part in parts)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds: a seed is given twice in {text!r}")
    return seeds


def crossval(options: argparse.Namespace) -> None:
    """Do what the command line asks for. What has ended is not repeated, and a cut-off training goes on."""
    config = load_config(options.config, options.overrides)
    where = f"{options.config}: "
    seeds = () if options.no_final else parse_seeds(options.seeds) if options.seeds else (config.seed,)
    out = options.out or Path(config.out or Path("runs") / f"{options.config.stem}-crossval")
    check_folder(out, options.resume)
    try:
        fold_config(config, 0)
        if config.pseudo_labels is not None:
            raise UserError("pseudo_labels: no fold may be validated on pseudo-labels; leave the section out")
        if seeds:
            check_final(config)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    checked_trainer(config, out, where)
    # Label noise comes after the split, so that held-out labels stay true.
    undivided = dataclasses.replace(config.split, kind="none", file=None)
    everything = dataclasses.replace(config, split=undivided, label_noise=None)
    root = data_root(options.data_root, config.data_root)
    whole, _, test = load_data(everything, root, where)
    try:
        divisions = divide(config, whole, root)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    with only_training(out):
        check_folder(out, options.resume)  # again: another process may have ended since
        result = _trained(config, whole, test, divisions, (*seeds, *_ended(out, seeds)), out)
    print(describe(result))
    networks = ", ".join(str(out / f"{FINAL}{each.seed}") for each in result.finals)
    print(f"written: {out}" + (f" (to predict: {networks})" if networks else ""))


def _trained(
    config: TrainConfig,
    whole: Dataset,
    test: Dataset | None,
    divisions: Sequence[tuple[Indices, Indices]],
    seeds: Sequence[int],
    out: Path,
) -> CrossValidation:
    """All folds and final trainings, the record written after each."""
    folds: tuple[Fold, ...] = ()
    for number in range(config.split.folds):
        print(f"fold {number} of 0 … {config.split.folds - 1}", flush=True)
        folds = (*folds, train_fold(config, whole, number, out, division=divisions[number]))
        result = CrossValidation(folds, chosen_epochs([each.best_epoch for each in folds]))
        _write(out, result)
    for seed in seeds:
        print(f"final training, {result.epochs} epochs, seed {seed}", flush=True)
        final = train_final(final_config(config, result.epochs, seed), whole, test, out)
        result = dataclasses.replace(result, finals=(*result.finals, final))
        _write(out, result)
    return result


def _ended(out: Path, seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds of final trainings that have ended in the folder and are none of `seeds`: they stay in the record."""
    found = (folder.name.removeprefix(FINAL) for folder in out.glob(f"{FINAL}*") if (folder / RESULT).is_file())
    return tuple(sorted({int(seed) for seed in found if seed.isdecimal()} - set(seeds)))


def check_folder(out: Path, resume: bool) -> None:
    """UserError where `out` holds a run or a cross-validation and `resume` is not wished."""
    if any((out / name).is_file() for name in RUN_FILES):
        raise UserError(f"{out}: holds a single run; choose another folder (--out) for the cross-validation")
    for folder in [*out.glob(f"{FOLD}*"), *out.glob(f"{FINAL}*")]:
        holds_run(folder, resume)
    if (out / CROSSVAL).exists() and not resume:
        raise UserError(f"{out}: holds a cross-validation already; go on (--resume), or choose another folder (--out)")


def describe(result: CrossValidation) -> str:
    """The figures as text."""
    names = [name for name in result.folds[0].best if name.startswith("val_")]
    lines = ["  ".join(["fold", "epochs", "best", *(name.rjust(12) for name in names)])]
    for each in result.folds:
        figures = [f"{each.best[name]:12.4f}" for name in names]
        lines.append("  ".join([f"{each.fold:4}", f"{each.epochs:6}", f"{each.best_epoch:4}", *figures]))
    for name in names:
        lines.append(f"{name}: {_text(spread([each.best[name] for each in result.folds]))}")
    lines.append(f"epochs: {result.epochs} ({RULE})")
    if result.finals:
        lines.append(f"final trainings, seeds {', '.join(str(each.seed) for each in result.finals)}:")
        for name in result.finals[0].test:
            lines.append(f"test {name}: {_text(spread([each.test[name] for each in result.finals]))}")
        lines.append(f"train loss: {_text(spread([each.train_loss for each in result.finals]))}")
    lines.append(f"training took {result.seconds:.0f} s")
    return "\n".join(lines)


def _text(value: Spread) -> str:
    return f"{value.mean:.4f}" + ("" if value.std is None else f" ± {value.std:.4f}")


def _write(out: Path, result: CrossValidation) -> None:
    write_atomically(out / CROSSVAL, (json_text(result.to_dict(), indent=2) + "\n").encode())
