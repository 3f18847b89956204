"""Classifying images with one trained network or several."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.images import read_image
from engine.errors import UserError
from engine.files import write_atomically
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


def classify(members: Sequence[Member], paths: Sequence[Path], views: Sequence[View] = ()) -> Iterator[Prediction]:
    """Predictions in the order of the paths; each image is decoded once. UserError for one that is unreadable or does
    not give the input of a network, and where a network gives NaN or infinity.
    """
    names = members[0].class_names
    for start in range(0, len(paths), CHUNK):
        part = paths[start : start + CHUNK]
        prepared: list[list[Any]] = [[] for _ in members]
        for path in part:
            raw = read_image(path)
            for member, images in zip(members, prepared, strict=True):
                images.append(member.preprocess.prepare(raw))
                _check_shape(path, images[-1].shape, member)
        say = [str(path) for path in part].__getitem__
        scores = ensemble_probabilities(members, [np.stack(images) for images in prepared], views, say)
        labels = predicted_classes(scores, say)
        for path, row, index in zip(part, scores, labels.tolist(), strict=True):
            yield Prediction(path, index, names[index], float(row[index]))


def _check_shape(path: Path, shape: tuple[int, ...], member: Member) -> None:
    if shape != member.net.input_shape:
        raise UserError(
            f"{path}: gives an input of shape {shape}, the network in {member.source} takes {member.net.input_shape}"
        )


def write_predictions(predictions: Sequence[Prediction], out: Path | None) -> None:
    """CSV with the columns file, label, probability, to a file (UTF-8; a file's name by its own bytes, whatever they
    are) or to standard output.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "label", "probability"])
    table.writerows([each.path, each.label, f"{each.probability:.6f}"] for each in predictions)
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_atomically(out, text.getvalue().encode("utf-8", "surrogateescape"))


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
