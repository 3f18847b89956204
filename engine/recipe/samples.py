"""From a configuration to training, validation and test samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.choose.folds import folds_text, saved_folds
from engine.data.choose.noise import with_label_noise
from engine.data.choose.selection import keep_classes, select, without_unreadable
from engine.data.choose.splits import Indices, combine, stratified_folds, stratified_split
from engine.data.dataset import Dataset, RawDataset, SizesDiffer, prepare
from engine.data.readers import read_dataset
from engine.data.sets.registry import own_folder
from engine.draws import epoch_order
from engine.errors import UserError, listed, unknown, warn
from engine.recipe.build import build_network
from engine.recipe.config import SplitConfig, TrainConfig
from engine.recipe.pseudo import add_pseudo_labels, strip_labels, teachers_of
from engine.training.history import Record

Reader = Callable[[str, Path | None, Mapping[str, Any]], RawDataset]


def load_data(
    config: TrainConfig, root: Path | None, where: str = "", read: Reader | None = None
) -> tuple[Dataset, Dataset | None, Dataset | None]:
    """Training, validation and test samples, preprocessed; None for a part that the configuration does without.

    `where` begins the message of an error in the sections dataset.subset, dataset.labelled_fraction, select, split,
    label_noise and pseudo_labels. What the sections did stands in the training samples' `record`. `read`: what reads a
    set, as `engine.data.readers.read_dataset` does, for who keeps what was read.
    """
    if config.split.kind == "test" and config.dataset.test is None:
        raise UserError(f"{where}split.kind is test, but dataset.test is not given")
    try:
        teachers = teachers_of(config.pseudo_labels)
    except UserError as error:
        raise UserError(f"{where}pseudo_labels: {error}") from None
    raw, stripped, selected = chosen_samples(config, root, where, read)
    train_set, validation, test = split_and_prepare(config, raw, root, where, read)
    if selected:
        parts = [train_set] if validation is None or config.split.kind == "test" else [train_set, validation]
        train_set = replace(train_set, record={"select": without_unreadable(selected, raw, parts)})
    try:
        if test is not None and config.select.classes:
            test = keep_classes(test, config.select.classes, may_lack=True)
            validation = test if config.split.kind == "test" else validation
        warn_of_classes(train_set, None if config.split.kind == "test" else validation, test)
        train_set = with_label_noise(train_set, config.label_noise)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    if config.pseudo_labels is not None:
        try:
            options = {"strict": config.strict, "use_cache": config.cache}
            held = {"test": test, "validation": validation}
            train_set = add_pseudo_labels(config.pseudo_labels, teachers, train_set, stripped, held=held, **options)
        except UserError as error:
            raise UserError(f"{where}pseudo_labels: {error}") from None
    return train_set, validation, test


def warn_of_classes(train: Dataset, validation: Dataset | None, test: Dataset | None) -> None:
    """Warn of classes of which one of the parts has no sample, and of a set of one class."""
    names = train.class_names
    if len(names) == 1:
        warn(f"{train.name}: there is one class alone, {names[0]!r}: nothing to tell apart, and any network is right")
    lacking: dict[tuple[str, ...], list[str]] = {}
    for what, part in (("training", train), ("validation", validation), ("test", test)):
        if part is None or part.labels.ndim != 1 or not part.class_names:
            continue
        present = {part.class_names[label] for label in np.unique(part.labels)}
        if absent := tuple(name for name in names if name not in present):
            lacking.setdefault(absent, []).append(what)
    if lacking:
        told = (f"of {listed(absent)} in {' and '.join(where)}" for absent, where in lacking.items())
        warn(f"{train.name}: classes without any sample: {'; '.join(told)}")


def chosen_samples(
    config: TrainConfig, root: Path | None, where: str = "", read: Reader | None = None
) -> tuple[RawDataset, RawDataset | None, Record]:
    """The samples that training and validation are taken from, as on disk; those whose labels were put away; and what
    the section select did."""
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
            names = strata_names(raw, strata, config.split.stratify)
            labelled, rest = strip_labels(strata, section.labelled_fraction, config.split.seed, names)
            raw, stripped = raw.subset(labelled), raw.subset(rest)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    return raw, stripped, selected


def split_and_prepare(
    config: TrainConfig, raw: RawDataset, root: Path | None, where: str = "", read: Reader | None = None
) -> tuple[Dataset, Dataset | None, Dataset | None]:
    """The three parts of `load_data`, the first two from these samples."""
    try:
        train_set, validation, test = _prepared_parts(config, raw, root, where, read)
    except SizesDiffer as error:
        raise SizesDiffer(error.differ, build_network(config.model, config.seed).input_shape[1:]) from None
    # What is measured on images is measured on the training part alone.
    fitted = config.preprocess.fitted(train_set.images)
    train_set = train_set.with_preprocess(fitted)
    return train_set, validation and validation.with_preprocess(fitted), test and test.with_preprocess(fitted)


def _prepared_parts(
    config: TrainConfig, raw: RawDataset, root: Path | None, where: str, read: Reader | None
) -> tuple[Dataset, Dataset | None, Dataset | None]:
    """The same with the preprocess as it is configured."""
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
        if not config.select.classes:  # those are taken by name later
            try:
                raw_test = raw_test.with_classes(raw.class_names)
            except UserError as error:
                raise UserError(f"{where}dataset.test: {error}") from None
        if section.test_subset is not None:
            try:
                raw_test = draw_subset(raw_test, section.test_subset, config.split.seed, "test_subset")
            except UserError as error:
                raise UserError(f"{where}{error}") from None
        test = prepare(raw_test, config.preprocess, **options)
    if indices is None:
        return whole, test if config.split.kind == "test" else None, test
    if whole.kept is not None and config.split.file is None:
        indices = split_indices(whole, config.split)
        assert indices is not None
    elif whole.kept is not None:
        indices = among_read(indices, whole, len(raw))
    train_indices, validation_indices = indices
    return whole.subset(train_indices), whole.subset(validation_indices), test


def draw_subset(raw: RawDataset, count: int, seed: int, key: str = "subset") -> RawDataset:
    """`count` samples drawn without replacement, in the set's order; `key` of the data set's section asked for them."""
    if not 1 <= count <= len(raw):
        raise UserError(f"dataset.{key} must be in 1..{len(raw)}, got {count}")
    return raw.subset(np.sort(epoch_order(len(raw), seed, 0)[:count]))


def split_indices(raw: RawDataset | Dataset, split: SplitConfig) -> tuple[Indices, Indices] | None:
    """(train, validation) indices, or None where the split takes nothing from the training samples."""
    if split.kind in ("test", "none"):
        return None
    if split.kind == "fraction":
        strata = split_strata(raw, split.stratify)
        return stratified_split(strata, split.fraction, split.seed, strata_names(raw, strata, split.stratify))
    if not 0 <= split.fold < split.folds:
        raise UserError(f"split.fold must be in 0..{split.folds - 1}, got {split.fold}")
    return all_folds(raw, split)[split.fold]


def all_folds(raw: RawDataset | Dataset, split: SplitConfig) -> list[tuple[Indices, Indices]]:
    """(train, validation) indices of every fold. A file of folds is held against the images of `raw` as they are."""
    strata = split_strata(raw, split.stratify)
    names = strata_names(raw, strata, split.stratify)
    if split.file is None:
        return stratified_folds(strata, split.folds, split.seed, names)
    return saved_folds(Path(split.file), raw, strata, split.folds, split.seed, names)


def folds_to_draw(config: TrainConfig, root: Path | None) -> str:
    """What the first run of the configuration will write into the file of its split, where there is none yet."""
    raw, _, _ = chosen_samples(config, root)
    return folds_text(raw, all_folds(raw, replace(config.split, file=None)))


def among_read(indices: tuple[Indices, Indices], whole: Dataset, count: int) -> tuple[Indices, Indices]:
    """Indices into a raw set of `count` samples as indices into `whole`, its images that could be read."""
    if whole.kept is None:
        return indices
    places = np.full(count, -1, np.int64)
    places[whole.kept] = np.arange(len(whole))
    train, validation = (places[part] for part in indices)
    return train[train >= 0], validation[validation >= 0]


def split_strata(raw: RawDataset | Dataset, stratify: Sequence[str]) -> Indices:
    """A number for each combination of values in the columns `stratify` ("label" or columns of the set), by sample. Of
    maps of labels there is one label for all."""
    columns = {"label": _labels(raw), **raw.columns}
    for name in stratify:
        if name not in columns:
            raise unknown("column in split.stratify:", name, columns)
    return combine([columns[name] for name in stratify])


def strata_names(raw: RawDataset | Dataset, strata: Indices, stratify: Sequence[str]) -> list[str]:
    """What each stratum of `split_strata` is: its class's name and its values of the columns, in their order."""
    columns = {"label": _labels(raw), **raw.columns}
    named = raw.class_names and raw.labels.ndim == 1 and getattr(raw, "maps", None) is None
    return [
        ", ".join(
            raw.class_names[int(raw.labels[first])] if name == "label" and named else str(columns[name][first])
            for name in stratify
        )
        for first in np.unique(strata, return_index=True)[1]
    ]


def _labels(raw: RawDataset | Dataset) -> NDArray[Any]:
    return np.zeros(len(raw), np.int64) if raw.labels.ndim == 3 else raw.labels
