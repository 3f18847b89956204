"""Answers beside the true labels: figures in words and as JSON, and the mistakes with the names of their files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from engine.inference.rows import shortest
from engine.training.metrics import accuracy, confusion_matrix, format_confusion, macro_f1

WRITTEN_CLASSES = 20  # confusion matrices of up to so many classes are shown as numbers
SHOWN = 10  # mistakes, classes and confusions that the text shows at most


@dataclass(frozen=True)
class Judgement:
    """What was said about N samples, and what is true; `ranks` counts from 1 and has where the true class stands among
    the scores, and `what` says what `samples` names: a "file", or a "sample" by its number.
    """

    class_names: Sequence[str]
    samples: Sequence[str]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float32]
    true_probability: NDArray[np.float32]
    ranks: NDArray[np.int64]
    what: str = "file"

    def __len__(self) -> int:
        return len(self.truth)

    def mistakes(self) -> NDArray[np.int64]:
        """Indices of the samples with a wrong label, the most probable first (then in their order)."""
        return mistakes(self.truth, self.predicted, self.probability)


def mistakes(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], probability: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Indices of the samples (N,) with a wrong label, the most probable first (then in their order)."""
    wrong = np.flatnonzero(predicted != truth)
    return wrong[np.argsort(-probability[wrong], kind="stable")]


def rank_of(scores: NDArray[np.float32], label: int) -> int:
    """The place of the class among the scores (classes,), from 1; of equal ones the first class comes first."""
    own = scores[label]
    return 1 + int((scores > own).sum()) + int((scores[:label] == own).sum())


def class_figures(judgement: Judgement) -> list[dict[str, Any]]:
    """Of each class: images that are of it, how often it was said, recall TP / (TP + FN), precision TP / (TP + FP) and
    F1 = 2·TP / (2·TP + FP + FN); None where nothing stands below the line.
    """
    classes = len(judgement.class_names)
    right = judgement.truth[judgement.truth == judgement.predicted]
    met, said, hits = (
        np.bincount(each, minlength=classes).tolist() for each in (judgement.truth, judgement.predicted, right)
    )
    return [
        {
            "class": name,
            "images": images,
            "predicted": predicted,
            "recall": _share(hit, images),
            "precision": _share(hit, predicted),
            "f1": _share(2 * hit, images + predicted),
        }
        for name, images, predicted, hit in zip(judgement.class_names, met, said, hits, strict=True)
    ]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def confusions(judgement: Judgement) -> list[dict[str, Any]]:
    """The cells of the confusion matrix that are not 0, row by row: no more than there are samples."""
    names = judgement.class_names
    cells, counts = np.unique(judgement.truth * len(names) + judgement.predicted, return_counts=True)
    return [
        {"truth": names[cell // len(names)], "predicted": names[cell % len(names)], "count": count}
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True)
    ]


def figures(judgement: Judgement, top: int | None = None) -> dict[str, float | None]:
    """Accuracy, macro-F1 and, with `top`, the share of samples whose class is among so many; None without samples."""
    names = ["accuracy", "macro_f1", *([f"top_{top}_accuracy"] if top else [])]
    if not len(judgement):
        return dict.fromkeys(names)
    truth, predicted = judgement.truth, judgement.predicted
    values = [accuracy(truth, predicted), macro_f1(truth, predicted), float(np.mean(judgement.ranks <= (top or 1)))]
    return dict(zip(names, values))


def report(judgement: Judgement, top: int | None = None) -> dict[str, Any]:
    """All of it, in JSON's own types."""
    return {
        "images": len(judgement),
        **figures(judgement, top),
        "classes": list(judgement.class_names),
        "per_class": class_figures(judgement),
        "confusion": confusions(judgement),
        "mistakes": [_mistake(judgement, index) for index in judgement.mistakes()],
    }


def _mistake(judgement: Judgement, index: int) -> dict[str, Any]:
    names = judgement.class_names
    return {
        judgement.what: judgement.samples[index],
        "truth": names[judgement.truth[index]],
        "label": names[judgement.predicted[index]],
        "probability": shortest(judgement.probability[index]),
        "truth_probability": shortest(judgement.true_probability[index]),
    }


def write_mistakes(judgement: Judgement, file: TextIO) -> None:
    """CSV, the most confident mistake first: file (or sample), truth, label, and the probabilities of both."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow([judgement.what, "truth", "label", "probability", "truth_probability"])
    table.writerows(_mistake(judgement, index).values() for index in judgement.mistakes())


def describe(judgement: Judgement, top: int | None = None) -> str:
    """The figures, the first mistakes, and the confusion matrix or, of many classes, what is worst in it."""
    values = figures(judgement, top)
    further = f"  top-{top} accuracy {values[f'top_{top}_accuracy']:.4f}" if top else ""
    return "\n".join(
        [
            f"accuracy {values['accuracy']:.4f}  macro-F1 {values['macro_f1']:.4f}{further}  images {len(judgement)}",
            *_mistake_lines(judgement),
            *(_matrix_lines if len(judgement.class_names) <= WRITTEN_CLASSES else _worst_lines)(judgement),
        ]
    )


def _mistake_lines(judgement: Judgement) -> list[str]:
    wrong = judgement.mistakes()
    if not len(wrong):
        return ["no mistakes"]
    more = f", the {SHOWN} most confident" if len(wrong) > SHOWN else ", the most confident first"
    shown = [_mistake(judgement, index) for index in wrong[:SHOWN]]
    return [
        f"mistakes: {len(wrong):,}{more}",
        *(f"  {each[judgement.what]}: {each['truth']} taken for {each['label']} ({each['probability']:.4f})"
          for each in shown),
    ]  # fmt: skip


def _matrix_lines(judgement: Judgement) -> list[str]:
    names = judgement.class_names
    matrix = confusion_matrix(judgement.truth, judgement.predicted, len(names))
    return ["confusion matrix (row: true class, column: predicted class)", format_confusion(matrix, names)]


def _worst_lines(judgement: Judgement) -> list[str]:
    met = [each for each in class_figures(judgement) if each["f1"] is not None]
    worst = sorted(met, key=lambda each: each["f1"])[:SHOWN]
    wrong = [each for each in confusions(judgement) if each["truth"] != each["predicted"]]
    most = sorted(wrong, key=lambda each: -each["count"])[:SHOWN]
    lines = [f"of {len(judgement.class_names):,} classes, those with the least F1 (images, recall, precision, F1)"]
    lines += [f"  {each['class']}: {each['images']}  {_figures(each)}" for each in worst]
    if most:
        lines += ["the most frequent confusions"]
        lines += [f"  {each['truth']} taken for {each['predicted']}: {each['count']}" for each in most]
    return lines


def _figures(row: Mapping[str, Any]) -> str:
    values = (row[name] for name in ("recall", "precision", "f1"))
    return "  ".join("-" if value is None else f"{value:.4f}" for value in values)
