"""Classifying images with one trained network or several."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from engine.data.images import load_cv2, read_image
from engine.errors import UserError
from engine.files import replacing
from engine.inference.ensemble import CHUNK, Member, ensemble_probabilities
from engine.inference.views import View
from engine.training.metrics import accuracy, confusion_matrix, format_confusion, macro_f1, predicted_classes


@dataclass(frozen=True)
class Prediction:
    """What is said about one image; probability is that of the label, 0 … 1."""

    path: Path
    index: int
    label: str
    probability: float


@dataclass(frozen=True)
class Damaged:
    """An image that was passed over, and why."""

    path: Path
    error: str


def classify(
    members: Sequence[Member], paths: Sequence[Path], views: Sequence[View] = (), skip_damaged: bool = False
) -> Iterator[Prediction | Damaged]:
    """Predictions in the order of the paths; each image is decoded once. UserError for one that is unreadable (with
    `skip_damaged` it is passed over) or does not give the input of a network, and where a network gives NaN or
    infinity.
    """
    names = members[0].class_names
    load_cv2()  # what is wrong with OpenCV is wrong with no image
    for start in range(0, len(paths), CHUNK):
        damaged: dict[Path, str] = {}
        part: list[Path] = []
        prepared: list[list[Any]] = [[] for _ in members]
        for path in paths[start : start + CHUNK]:
            try:
                raw = read_image(path)
            except UserError as error:
                if not skip_damaged:
                    raise
                damaged[path] = str(error)
                continue
            part.append(path)
            for member, images in zip(members, prepared, strict=True):
                images.append(member.preprocess.prepare(raw))
                _check_shape(path, images[-1].shape, member)
        said: dict[Path, tuple[int, float]] = {}
        if part:
            say = [str(path) for path in part].__getitem__
            scores = ensemble_probabilities(members, [np.stack(images) for images in prepared], views, say)
            labels = predicted_classes(scores, say).tolist()
            said = {path: (label, float(row[label])) for path, row, label in zip(part, scores, labels, strict=True)}
        for path in paths[start : start + CHUNK]:
            if path in damaged:
                yield Damaged(path, damaged[path])
            else:
                index, probability = said[path]
                yield Prediction(path, index, names[index], probability)


def _check_shape(path: Path, shape: tuple[int, ...], member: Member) -> None:
    if shape != member.net.input_shape:
        raise UserError(
            f"{path}: gives an input of shape {shape}, the network in {member.source} takes {member.net.input_shape}"
        )


def write_predictions(answers: Iterable[Prediction | Damaged], out: Path | None, errors: bool = False) -> None:
    """CSV with the columns file, label, probability, and with `errors` a fourth, to a file (UTF-8; a file's name by its
    own bytes, whatever they are) or to standard output: row by row, and the file is there when all rows are.
    """
    if out is None:
        _write_rows(answers, sys.stdout, errors)
        return
    with replacing(out) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        try:
            _write_rows(answers, text, errors)
            text.flush()
        finally:
            text.detach()


def _write_rows(answers: Iterable[Prediction | Damaged], file: TextIO, errors: bool) -> None:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["file", "label", "probability", *["error"] * errors])
    for each in answers:
        if isinstance(each, Damaged):
            table.writerow([each.path, "", "", each.error])
        else:
            table.writerow([each.path, each.label, f"{each.probability:.6f}", *[""] * errors])


def report(truth: NDArray[np.int64], predictions: Sequence[Prediction], names: Sequence[str]) -> str:
    """Accuracy, macro-F1 and the confusion matrix as text."""
    predicted: Any = np.array([each.index for each in predictions], np.int64)
    return "\n".join(
        [
            f"accuracy {accuracy(truth, predicted):.4f}  macro-F1 {macro_f1(truth, predicted):.4f}  "
            f"images {len(truth)}",
            "confusion matrix (row: true class, column: predicted class)",
            format_confusion(confusion_matrix(truth, predicted, len(names)), names),
        ]
    )
