"""Train a network from a configuration file: `python -m engine.train CONFIG.yaml`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli import run
from engine.data.location import data_root
from engine.files import RESULT

if TYPE_CHECKING:
    from engine.config import SplitConfig, TrainConfig
    from engine.data.dataset import Dataset, RawDataset
    from engine.data.loader import Loader
    from engine.data.splits import Indices
    from engine.run import History, Record
    from engine.trainer import Trainer

    Reader = Callable[[str, Path | None, Mapping[str, Any]], RawDataset]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m engine.train",
        description="Train a network as a configuration file says. The run folder gets checkpoints (best, last), "
        "log.jsonl, log.csv, config.yaml and result.json. A folder that holds a run (a checkpoint, a result or a log "
        "that is not empty) is never overwritten.",
    )
    add_run_arguments(parser)
    return parser.parse_intermixed_args(arguments)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What every command takes that trains from a configuration."""
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="the configuration")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="settings on top of it, such as epochs=3 optimizer.lr=0.01"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in the folder, or begin if there is none; "
        "one of the same settings that ended before its first checkpoint begins again",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/ and the config's name)")
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder that holds the data sets (default: the key data_root, CNN_DATA, the user's cache folder)",
    )


def train(options: argparse.Namespace) -> None:
    """Do what the command line asks for: train, then evaluate on the test part if there is one.

    The test uses the best epoch where a validation set picked it, otherwise the last weights.
    """
    from engine.config import load_config
    from engine.run import holds_run
    from engine.transfer import Report

    config = load_config(options.config, options.overrides)
    out = options.out or Path(config.out or Path("runs") / options.config.stem)
    holds_run(out, options.resume)
    where = f"{options.config}: "
    trainer = checked_trainer(config, out, where)
    if trainer.initialized is not None:
        print(Report(**trainer.initialized))
    train_set, validation, test = load_data(config, data_root(options.data_root, config.data_root), where)
    if "pseudo_labels" in train_set.record:
        print(pseudo_labels_line(train_set.record["pseudo_labels"]))
    history, result = fit_and_test(config, trainer, train_set, validation, test, resume=options.resume)
    print(f"best epoch {history.best_epoch}: {history.metric} {history.best_value}")
    measured = [f"{name.removeprefix('test_')} {value:.4f}" for name, value in result.items() if name[:5] == "test_"]
    if measured:
        print("test: " + ", ".join(measured))
    print(f"written: {out}")


def pseudo_labels_line(record: Record) -> str:
    """How many pseudo-labels were kept, in words."""
    parts = []
    for source, counts in record.items():
        right = "" if counts["right"] is None else f", of which {counts['right']:,} are right"
        parts.append(f"{counts['kept']:,} of {counts['asked']:,} {source} samples{right}")
    return f"pseudo-labels: {'; '.join(parts)}"


def checked_trainer(config: TrainConfig, out: Path, where: str) -> Trainer:
    """The trainer of the configuration, with its threads set.

    All that can be wrong in the file shows here, before data are read, which may take long; `where` begins the message.
    """
    from engine import set_num_threads
    from engine.errors import UserError

    try:
        set_num_threads(config.threads)
    except ValueError as error:
        raise UserError(f"{where}threads: {error}") from None
    try:
        trainer = make_trainer(config, out)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    size, net = config.preprocess.size, trainer.net
    if size is not None and (config.preprocess.channels, *size) != net.input_shape:
        raise UserError(
            f"{where}preprocess: images get shape {(config.preprocess.channels, *size)}, "
            f"but the network takes {net.input_shape}"
        )
    return trainer


def fit_and_test(
    config: TrainConfig,
    trainer: Trainer,
    train_set: Dataset,
    validation: Dataset | None,
    test: Dataset | None,
    *,
    resume: bool,
    callbacks: Sequence[Callable[[Record], None]] = (),
    restore_best: bool = True,
) -> tuple[History, Record]:
    """Train in the trainer's folder, then measure the test part with the best epoch's weights, or with the last ones
    where no validation set picked it or `restore_best` is off. Returns the history and the content of result.json,
    which is written last.
    """
    import json

    from engine.files import write_atomically
    from engine.run import instruction_set

    history = trainer.fit(
        make_loader(config, train_set),
        validation,
        epochs=config.epochs,
        early_stopping=config.early_stopping,
        resume=resume,
        checkpoint_every=config.checkpoint_every,
        checkpoint_seconds=config.checkpoint_seconds,
        callbacks=callbacks,
        train_metrics=config.train_metrics,
        restore_best=restore_best and validation is not None,
    )
    result: Record = {"metric": history.metric, "best_epoch": history.best_epoch, "best_value": history.best_value}
    if trainer.initialized is not None:
        result["initialized"] = trainer.initialized
    if test is not None:
        with instruction_set(trainer.isa):
            measured = trainer.evaluate(test)
        result |= {f"test_{name}": value for name, value in measured.items()}
    result |= train_set.record
    skipped = [*train_set.skipped, *(test.skipped if test is not None else ())]
    if skipped:
        result["skipped_images"] = skipped
    if trainer.out is not None:
        write_atomically(trainer.out / RESULT, (json.dumps(result, indent=2) + "\n").encode())
    return history, result


def make_trainer(config: TrainConfig, out: Path) -> Trainer:
    """Network (with its first weights), optimiser, loss and schedule of the configuration, ready to fit."""
    from engine.config import build_loss, build_network, build_optimizer, build_schedule
    from engine.tracking import make_trackers
    from engine.trainer import Trainer
    from engine.transfer import initialize_trainer

    trainer = Trainer(
        build_network(config.model, config.seed),
        build_optimizer(config.optimizer),
        build_loss(config.loss),
        build_schedule(config.schedule),
        batch_size=config.batch_size,
        seed=config.seed,
        out=out,
        metric=config.metric,
        mode=config.mode,
        max_norm=config.max_norm,
        algorithm=config.algorithm,
        tune=config.tune,
        freeze=config.freeze,
        learning_rates=config.learning_rates,
        config=config.to_dict(),
    )
    trainer.trackers = make_trackers(out, config.tensorboard, config.wandb, trainer.config or {})
    if config.initialize_from is not None:
        initialize_trainer(trainer, config.initialize_from)
    return trainer


def make_loader(config: TrainConfig, dataset: Dataset) -> Loader:
    """The loader of the training set, with the configuration's augmentation."""
    from engine.data.loader import Loader, Mixup
    from engine.data.weights import weighted

    if config.class_weights is not None or config.sample_weights is not None:
        dataset = weighted(dataset, config.class_weights, config.sample_weights)
    return Loader(
        dataset,
        config.batch_size,
        seed=config.seed,
        drop_last=config.drop_last,
        augment=config.augment,
        batch_transform=Mixup(config.augment.mixup, len(dataset.class_names)) if config.augment.mixup else None,
        description=config.augment.describe(),
    )


def load_data(
    config: TrainConfig, root: Path | None, where: str = "", read: Reader | None = None
) -> tuple[Dataset, Dataset | None, Dataset | None]:
    """Training, validation and test samples, preprocessed; None for a part that the configuration does without.

    `where` begins the message of an error in the sections dataset.subset, dataset.labelled_fraction, select, split,
    label_noise and pseudo_labels. What the sections did stands in the training samples' `record`. `read`: what reads a
    set, as `engine.data.readers.read_dataset` does, for who keeps what was read.
    """
    from dataclasses import replace

    from engine.data.noise import with_label_noise
    from engine.data.selection import keep_classes
    from engine.errors import UserError
    from engine.pseudo import add_pseudo_labels, teachers_of

    if config.split.kind == "test" and config.dataset.test is None:
        raise UserError(f"{where}split.kind is test, but dataset.test is not given")
    try:
        teachers = teachers_of(config.pseudo_labels)
    except UserError as error:
        raise UserError(f"{where}pseudo_labels: {error}") from None
    raw, stripped, selected = chosen_samples(config, root, where, read)
    train_set, validation, test = split_and_prepare(config, raw, root, where, read)
    train_set = replace(train_set, record={"select": selected} if selected else {})
    try:
        if test is not None and config.select.classes:
            test = keep_classes(test, config.select.classes)
            validation = test if config.split.kind == "test" else validation
        train_set = with_label_noise(train_set, config.label_noise)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    if config.pseudo_labels is not None:
        try:
            options = {"strict": config.strict, "use_cache": config.cache}
            train_set = add_pseudo_labels(config.pseudo_labels, teachers, train_set, stripped, **options)
        except UserError as error:
            raise UserError(f"{where}pseudo_labels: {error}") from None
    return train_set, validation, test


def chosen_samples(
    config: TrainConfig, root: Path | None, where: str = "", read: Reader | None = None
) -> tuple[RawDataset, RawDataset | None, Record]:
    """The samples that training and validation are taken from, as on disk; those whose labels were put away; and what
    the section select did."""
    from engine.data.readers import read_dataset
    from engine.data.registry import own_folder
    from engine.data.selection import select
    from engine.errors import UserError
    from engine.pseudo import strip_labels

    section, selection = config.dataset, config.select
    stripped: RawDataset | None = None
    read = read or read_dataset
    raw = read(section.name, root, section.train)
    seen = section.test if selection.drop_duplicates else None
    raw_test = None if seen is None else read(section.name, root, seen)
    try:
        if section.subset is not None:
            raw = draw_subset(raw, section.subset, config.split.seed)
        folder = own_folder(section.name, root)
        options = {"strict": config.strict, "use_cache": config.cache}
        raw, _, selected = select(raw, raw_test, selection, section.name, folder, **options)
        if section.labelled_fraction is not None:
            strata = split_strata(raw, config.split.stratify)
            labelled, rest = strip_labels(strata, section.labelled_fraction, config.split.seed)
            raw, stripped = raw.subset(labelled), raw.subset(rest)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    return raw, stripped, selected


def split_and_prepare(
    config: TrainConfig, raw: RawDataset, root: Path | None, where: str = "", read: Reader | None = None
) -> tuple[Dataset, Dataset | None, Dataset | None]:
    """The three parts of `load_data`, the first two from these samples."""
    train_set, validation, test = _prepared_parts(config, raw, root, where, read)
    # What is measured on images is measured on the training part alone.
    fitted = config.preprocess.fitted(train_set.images)
    train_set = train_set.with_preprocess(fitted)
    return train_set, validation and validation.with_preprocess(fitted), test and test.with_preprocess(fitted)


def _prepared_parts(
    config: TrainConfig, raw: RawDataset, root: Path | None, where: str, read: Reader | None
) -> tuple[Dataset, Dataset | None, Dataset | None]:
    """The same with the preprocess as it is configured."""
    from engine.data.dataset import prepare
    from engine.data.readers import read_dataset
    from engine.errors import UserError

    section = config.dataset
    try:
        indices = split_indices(raw, config.split)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    options = {"strict": config.strict, "use_cache": config.cache}
    whole = prepare(raw, config.preprocess, **options)
    test = None
    if section.test is not None:
        raw_test = (read or read_dataset)(section.name, root, section.test)
        if section.test_subset is not None:
            try:
                raw_test = draw_subset(raw_test, section.test_subset, config.split.seed, "test_subset")
            except UserError as error:
                raise UserError(f"{where}{error}") from None
        test = prepare(raw_test, config.preprocess, **options)
    if indices is None:
        return whole, test if config.split.kind == "test" else None, test
    if whole.skipped and config.split.file is None:
        indices = split_indices(whole, config.split)
        assert indices is not None
    elif whole.skipped:
        indices = among_read(indices, whole, len(raw))
    train_indices, validation_indices = indices
    return whole.subset(train_indices), whole.subset(validation_indices), test


def draw_subset(raw: RawDataset, count: int, seed: int, key: str = "subset") -> RawDataset:
    """`count` samples drawn without replacement, in the set's order; `key` of the data set's section asked for them."""
    import numpy as np

    from engine.draws import epoch_order
    from engine.errors import UserError

    if not 1 <= count <= len(raw):
        raise UserError(f"dataset.{key} must be in 1..{len(raw)}, got {count}")
    return raw.subset(np.sort(epoch_order(len(raw), seed, 0)[:count]))


def split_indices(raw: RawDataset | Dataset, split: SplitConfig) -> tuple[Indices, Indices] | None:
    """(train, validation) indices, or None where the split takes nothing from the training samples."""
    from engine.data.splits import stratified_split
    from engine.errors import UserError

    if split.kind in ("test", "none"):
        return None
    if split.kind == "fraction":
        return stratified_split(split_strata(raw, split.stratify), split.fraction, split.seed)
    if not 0 <= split.fold < split.folds:
        raise UserError(f"split.fold must be in 0..{split.folds - 1}, got {split.fold}")
    return all_folds(raw, split)[split.fold]


def all_folds(raw: RawDataset | Dataset, split: SplitConfig) -> list[tuple[Indices, Indices]]:
    """(train, validation) indices of every fold. A file of folds is held against the images of `raw` as they are."""
    from engine.data.splits import stratified_folds

    strata = split_strata(raw, split.stratify)
    if split.file is None:
        return stratified_folds(strata, split.folds, split.seed)
    from engine.data.folds import saved_folds

    return saved_folds(Path(split.file), raw, strata, split.folds, split.seed)


def folds_to_draw(config: TrainConfig, root: Path | None) -> str:
    """What the first run of the configuration will write into the file of its split, where there is none yet."""
    from dataclasses import replace

    from engine.data.folds import folds_text

    raw, _, _ = chosen_samples(config, root)
    return folds_text(raw, all_folds(raw, replace(config.split, file=None)))


def among_read(indices: tuple[Indices, Indices], whole: Dataset, count: int) -> tuple[Indices, Indices]:
    """Indices into a raw set of `count` samples as indices into `whole`, its images that could be read."""
    import numpy as np

    if whole.kept is None:
        return indices
    places = np.full(count, -1, np.int64)
    places[whole.kept] = np.arange(len(whole))
    train, validation = (places[part] for part in indices)
    return train[train >= 0], validation[validation >= 0]


def split_strata(raw: RawDataset | Dataset, stratify: Sequence[str]) -> Indices:
    """A number for each combination of values in the columns `stratify` ("label" or columns of the set), by sample."""
    from engine.data.splits import combine
    from engine.errors import unknown

    columns = {"label": raw.labels, **raw.columns}
    for name in stratify:
        if name not in columns:
            raise unknown("column in split.stratify:", name, columns)
    return combine([columns[name] for name in stratify])


def main() -> None:
    train(parse_arguments())


if __name__ == "__main__":
    sys.exit(run(main))
