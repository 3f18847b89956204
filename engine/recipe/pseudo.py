"""Pseudo-labels (Lee 2013): an ensemble of trained networks labels images that have no labels, and those of which it
is sure train a student together with the labelled ones, each with a smaller weight.

Teachers, labels and student are three steps, each a pure function of what the one before it gave: networks are trained
on the labelled samples (`strip_labels` puts the other labels away), `label_with` and `merge` make the student's
training set, and the student trains on it as on any other set. The section `pseudo_labels` of a configuration does the
second step from the teachers' checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arguments import number
from engine.data.choose.splits import Indices, stratified_split
from engine.data.dataset import Dataset, RawDataset, prepare
from engine.data.images import ImageFiles, list_images
from engine.data.preprocess import PER_BATCH
from engine.errors import UserError, listed, twice
from engine.inference.ensemble import CHUNK, Member, ensemble_probabilities, load_members
from engine.reading.schema import FilePath
from engine.training.metrics import predicted_classes


@dataclass(frozen=True)
class PseudoLabelConfig:
    """The section `pseudo_labels` of a configuration.

    checkpoints   of the teachers, relative to the working folder
    threshold     the mean probability of the likeliest class that an image needs to be kept, 0 … 1
    weight        of a pseudo-labelled sample in the loss, beside 1 of a labelled one
    images        folders of images, or single files, without labels (relative to the working folder), beside the
                  training samples that dataset.labelled_fraction stripped of theirs
    """

    checkpoints: tuple[FilePath, ...]
    threshold: float = 0.9
    weight: float = 0.5
    images: tuple[FilePath, ...] = ()

    def __post_init__(self) -> None:
        if not self.checkpoints:
            raise UserError("checkpoints must name one teacher or more")
        number("", "threshold", self.threshold, 0.0, 1.0)
        number("", "weight", self.weight, 0.0, 1.0, above=True)


@dataclass(frozen=True)
class PseudoLabels:
    """What an ensemble says about the images that it is sure of.

    indices      int64 (K,): which of the unlabelled images were kept, in their order
    labels       int64 (K,): the likeliest class of each
    confidence   float32 (K,): the mean probability of that class
    asked        how many images it was asked about
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    asked: int


def strip_labels(
    strata: NDArray[Any], fraction: float, seed: int, names: Sequence[str] = ()
) -> tuple[Indices, Indices]:
    """Indices (labelled, unlabelled), sorted: `fraction` of every stratum keeps its labels.

    A pure function of strata, fraction and seed. UserError where a stratum would be left without a label, with its name
    where `names` has those of all, in the order of their values.
    """
    if not 0 < fraction < 1:
        raise UserError(f"labelled_fraction must lie between 0 and 1, got {fraction}")
    counts = np.unique(strata, return_counts=True)[1]
    if counts.min() * fraction < 1:
        which = f"the class {names[int(counts.argmin())]}" if names else "a class"
        raise UserError(
            f"labelled_fraction {fraction} leaves no label in {which} of {counts.min()} samples; "
            f"it must be at least {1 / counts.min():.2g}"
        )
    return stratified_split(strata, 1 - fraction, seed, names, slack=1e-15)  # 1 - 0.7 is a bit more than 0.3


def label_with(teachers: Sequence[Member], unlabelled: Dataset, threshold: float) -> PseudoLabels:
    """The labels that the teachers give by the mean of their probabilities, where it reaches `threshold`.

    The set's own labels are not looked at. UserError for a teacher whose classes or preparation of images are not the
    set's.
    """
    for teacher in teachers:
        check_teacher(teacher, unlabelled)
    labels = np.empty(len(unlabelled), np.int64)
    confidence = np.empty(len(unlabelled), np.float32)
    for start in range(0, len(unlabelled), CHUNK):
        part = slice(start, start + CHUNK)
        images: Any = np.ascontiguousarray(unlabelled.images[part])
        say = partial(_say, unlabelled.name, start)
        scores = ensemble_probabilities(teachers, [images] * len(teachers), (), say, unlabelled.class_names)
        labels[part], confidence[part] = predicted_classes(scores, say), scores.max(axis=1)
    kept = np.flatnonzero(confidence >= np.float32(threshold))
    return PseudoLabels(kept, labels[kept], confidence[kept], len(unlabelled))


def _say(name: str, start: int, index: int) -> str:
    return f"{start + index} of {name}"


def check_teacher(teacher: Member, unlabelled: Dataset) -> None:
    """UserError unless the teacher takes the set's images as they were prepared, and knows the same classes."""
    if teacher.net.input_shape != unlabelled.sample_shape or unlabelled.images.dtype != np.uint8:
        raise UserError(
            f"{teacher.source}: the network takes {teacher.net.input_shape}, but the images to label are "
            f"{unlabelled.images.dtype} {unlabelled.sample_shape}"
        )
    if unlabelled.class_names and sorted(teacher.class_names) != sorted(unlabelled.class_names):
        raise UserError(
            f"{teacher.source}: its classes are {listed(teacher.class_names)}, "
            f"those of the set {unlabelled.name} are {listed(unlabelled.class_names)}"
        )

    if unlabelled.preprocess is None:
        return
    theirs, ours = teacher.preprocess.to_dict(), unlabelled.preprocess.to_dict()
    for key in dict.fromkeys([*theirs, *ours]):
        # What is done to batches of prepared images a network may have of its own.
        if key not in PER_BATCH and theirs.get(key) != ours.get(key):
            raise UserError(
                f"{teacher.source}: was trained with preprocess.{key} = {theirs.get(key)}, "
                f"but the images to label were prepared with {ours.get(key)}"
            )


def merge(labelled: Dataset, unlabelled: Dataset, pseudo: PseudoLabels, weight: float) -> Dataset:
    """The labelled samples, then the kept ones of `unlabelled` with their pseudo-labels and this weight in the loss.

    UserError where nothing was kept, or where the labelled set has soft labels.
    """
    if labelled.labels.ndim != 1:
        raise UserError(f"{labelled.name}: pseudo-labels are classes, but this set has soft labels")
    if len(pseudo.indices) == 0:
        raise UserError(f"the teachers are sure of none of the {pseudo.asked} images; lower threshold")
    own = np.ones(len(labelled), np.float32) if labelled.sample_weights is None else labelled.sample_weights
    columns = {
        name: np.concatenate([column, unlabelled.columns[name][pseudo.indices]])
        for name, column in labelled.columns.items()
        if name in unlabelled.columns
    }
    files: tuple[Path, ...] = ()
    if labelled.files and unlabelled.files:
        files = (*labelled.files, *(unlabelled.files[index] for index in pseudo.indices))
    return replace(
        labelled,
        images=np.concatenate([labelled.images, unlabelled.images[pseudo.indices]]),
        labels=np.concatenate([labelled.labels, pseudo.labels]),
        columns=columns,
        kept=None,  # these are samples of two sets
        files=files,
        sample_weights=np.concatenate([own, np.full(len(pseudo.indices), weight, np.float32)]),
    )


def teachers_of(section: PseudoLabelConfig | None) -> list[Member]:
    """The networks that the section names; none without a section."""
    return [] if section is None else load_members([Path(each) for each in section.checkpoints])


def add_pseudo_labels(
    section: PseudoLabelConfig,
    teachers: Sequence[Member],
    labelled: Dataset,
    stripped: RawDataset | None,
    *,
    held: Mapping[str, Dataset | None] | None = None,
    strict: bool = False,
    use_cache: bool = True,
) -> Dataset:
    """The labelled samples with those that the teachers label as the section says; what was kept stands in `record`.

    stripped: samples whose labels were put away; they only tell how many pseudo-labels are right. held: by name the
    parts that the student is judged on. strict, use_cache: as for `engine.data.dataset.prepare`. UserError for an image
    without a label that the run has already.
    """
    assert labelled.preprocess is not None
    sources = {} if stripped is None else {"stripped": stripped}
    if section.images:
        paths, unread = list_images(section.images)
        known: dict[str, Sequence[Path]] = {"training": labelled.files}
        known |= {name: part.files for name, part in (held or {}).items() if part is not None}
        if stripped is not None and isinstance(stripped.images, ImageFiles):
            known["unlabelled"] = stripped.images.paths
        check_new(paths, known)
        unknown = np.zeros(len(paths), np.int64)
        sources["unlabelled"] = RawDataset(
            "unlabelled", ImageFiles(paths), unknown, labelled.class_names, unread=unread
        )
    result, record, skipped = labelled, {}, labelled.skipped
    for name, raw in sources.items():
        images = prepare(raw, labelled.preprocess, strict=strict, use_cache=use_cache)
        skipped += tuple(each for each in images.skipped if each not in skipped)  # both parts of one set name its files
        pseudo = label_with(teachers, images, section.threshold)
        result = merge(result, images, pseudo, section.weight)
        truth = images.labels.astype(np.int64) if name == "stripped" else None
        record[name] = describe(pseudo, labelled.class_names, truth)
    return replace(result, skipped=skipped, record={**labelled.record, "pseudo_labels": record})


def check_new(paths: Sequence[Path], known: Mapping[str, Sequence[Path]]) -> None:
    """UserError where images are files that a part of the run has, by whatever spelling or link, or one file twice: it
    would be trained on what it is judged on, or on samples twice."""
    part_of = {os.path.realpath(file): name for name, files in known.items() for file in files}
    places = [os.path.realpath(path) for path in paths]
    shared = [(path, part_of[place]) for path, place in zip(paths, places, strict=True) if place in part_of]
    if shared:
        path, name = shared[0]
        raise UserError(
            f"images: {path} is one of the {name} samples of this run ({len(shared)} of {len(paths)} images are "
            "samples of it already); name others"
        )
    if (again := twice(places)) is not None:
        raise UserError(f"images: {again} is given twice")


def describe(pseudo: PseudoLabels, class_names: Sequence[str], truth: NDArray[np.int64] | None) -> dict[str, Any]:
    """What was kept, per class, and how much of it is right where the true labels (of all images asked) are known."""
    right = None if truth is None else truth[pseudo.indices] == pseudo.labels
    per_class = {}
    for label, name in enumerate(class_names):
        members = pseudo.labels == label
        per_class[name] = {"kept": int(members.sum())}
        if right is not None:
            per_class[name]["right"] = int(right[members].sum())
    return {
        "asked": pseudo.asked,
        "kept": len(pseudo.indices),
        "right": None if right is None else int(right.sum()),
        "mean_confidence": round(float(pseudo.confidence.mean(dtype=float)), 6) if len(pseudo.indices) else None,
        "per_class": per_class,
    }


def pseudo_labels_line(record: Mapping[str, Any]) -> str:
    """How many pseudo-labels were kept, in words."""
    parts = []
    for source, counts in record.items():
        right = "" if counts["right"] is None else f", of which {counts['right']:,} are right"
        parts.append(f"{counts['kept']:,} of {counts['asked']:,} {source} samples{right}")
    return f"pseudo-labels: {'; '.join(parts)}"
