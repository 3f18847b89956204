"""The table of predictions: a line for each image, as CSV or as JSON."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from engine.files import json_text, replacing
from engine.inference.classify import Damaged, Prediction


@dataclass(frozen=True)
class Form:
    """What stands in a row beside file, label and probability.

    class_names    of the network, by index
    top            so many labels, the likeliest first (None: the label alone)
    probabilities  of all classes
    errors         what is wrong with an image that was passed over
    json           JSON objects instead of CSV
    """

    class_names: Sequence[str]
    top: int | None = None
    probabilities: bool = False
    errors: bool = False
    json: bool = False


@contextmanager
def opened(out: Path | None) -> Iterator[TextIO]:
    """Standard output, or a text file (UTF-8; the name of a file by its own bytes, whatever they are), which takes its
    place at the end of the block and vanishes on an error.
    """
    if out is None:
        yield sys.stdout
        return
    with replacing(out) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        try:
            yield text
            text.flush()
        finally:
            text.detach()


def write_rows(answers: Iterable[Prediction | Damaged], file: TextIO, form: Form) -> None:
    """A row for each answer, as it comes."""
    if form.json:
        for each in answers:
            file.write(json_text(record(each, form)) + "\n")
        return
    table = csv.writer(file, lineterminator="\n")
    rows = iter(answers)
    first = list(islice(rows, 1))  # before anything is written: an error in it leaves no header behind
    table.writerow(header(form))
    for each in chain(first, rows):
        table.writerow(cells(each, form))


def header(form: Form) -> list[str]:
    """The columns of the CSV: label_2, probability_2, … for the further ones of `top`, p(NAME) for each class."""
    places = range(2, (form.top or 1) + 1)
    return [
        *("file", "label", "probability"),
        *(f"{what}_{place}" for place in places for what in ("label", "probability")),
        *(f"p({name})" for name in form.class_names if form.probabilities),
        *["error"] * form.errors,
    ]


def cells(answer: Prediction | Damaged, form: Form) -> list[Any]:
    """The row of the CSV."""
    if isinstance(answer, Damaged):
        return [answer.path, *[""] * (len(header(form)) - 2), answer.error]
    ranked, scores = answer.ranked, answer.scores
    return [
        *(answer.path, answer.label, f"{answer.probability:.6f}"),
        *(cell for index in ranked[1:] for cell in (form.class_names[index], scores[index])),
        *(scores if form.probabilities else ()),
        *[""] * form.errors,
    ]


def record(answer: Prediction | Damaged, form: Form) -> dict[str, Any]:
    """The row as a JSON object. An image that was passed over has null where others have something."""
    if isinstance(answer, Damaged):
        empty = dict.fromkeys(("label", "probability"))
        more = {"top": None} if form.top else {}
        more |= {"probabilities": None} if form.probabilities else {}
        return {"file": str(answer.path), **empty, **more, "error": answer.error}
    names, scores = form.class_names, answer.scores
    row: dict[str, Any] = {
        "file": str(answer.path),
        "label": answer.label,
        "probability": shortest(scores[answer.index]),
    }
    if form.top:
        row["top"] = [{"label": names[each], "probability": shortest(scores[each])} for each in answer.ranked]
    if form.probabilities:
        row["probabilities"] = dict(zip(names, map(shortest, scores), strict=True))
    if form.errors:
        row["error"] = None
    return row


def shortest(value: np.float32) -> float:
    """The number of the fewest digits that is this one in float32: 0.1, and not 0.10000000149011612."""
    return float(str(value))
