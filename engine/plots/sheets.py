"""Sheets of images: the most confident mistakes, and samples of each class beside their counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.inference.judging import mistakes
from engine.plots.canvas import COLOURS, GREY, load_parts, mosaic, new_figure, picture, shorten, shown
from engine.training.metrics import predicted_classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("training", "validation", "test")  # in the order of their colours
MOST_MISTAKES, MOST_PER_CLASS = 100, 50
MOST_ROWS = 100  # classes of a sheet of samples
LONGEST = 16  # letters of a class or file beside a picture; longer names are cut in the middle
CELL = 64  # pixels of a sample's side at most; larger images are thinned out


def check_number(what: str, value: int, most: int) -> None:
    """UserError unless so many images fit on a sheet."""
    if not 1 <= value <= most:
        raise UserError(f"{what} must be 1 or more and at most {most}, got {value}")


def worst_mistakes(truth: NDArray[np.int64], probabilities: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Indices of the samples with a wrong label, the most probable first (then by index), at most `count`."""
    predicted = predicted_classes(probabilities)
    return mistakes(truth, predicted, probabilities[np.arange(len(predicted)), predicted])[:count]


def draw_mistakes(
    images: NDArray[Any],
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    class_names: Sequence[str],
    count: int = 24,
    captions: Sequence[str] = (),
) -> Figure:
    """The `count` wrong predictions of the highest probability, with true and predicted label.

    images          (N, C, H, W), as in a data set
    truth           (N,)
    probabilities   (N, classes), as `engine.inference.ensemble.probabilities` gives them
    captions        what names each sample, such as its file (none: nothing)
    """
    check_number("the number of mistakes", count, MOST_MISTAKES)
    worst = worst_mistakes(truth, probabilities, count)
    answers = predicted_classes(probabilities)
    total = int((answers != truth).sum())
    columns = min(8, max(len(worst), 4))
    rows = max(1, math.ceil(len(worst) / columns))
    # Long class names need wide cells.
    named = [shorten(captions[sample], LONGEST) for sample in worst] if len(captions) else []
    longest = max((len(shorten(name, LONGEST)) for name in class_names), default=1)
    longest = max(longest, *(len(name) - 6 for name in named), 1)  # six letters: the probability behind a class
    cell = min(1.75, max(1.05, 0.085 * (longest + 6)))
    figure = new_figure(columns * cell, rows * (cell + (0.5 if named else 0.38)) + 0.45)
    figure.suptitle(f"{total:,} mistakes in {len(truth):,} samples" + (", the most confident first" if total else ""),
                    fontsize=10)  # fmt: skip
    if not total:
        return figure
    pictures = shown(images[worst])
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes in grid[len(worst) :]:
        axes.axis("off")
    for place, (axes, sample, image) in enumerate(zip(grid, worst, pictures)):
        predicted = int(answers[sample])
        picture(axes, image)
        true_name, name = (shorten(class_names[label], LONGEST) for label in (int(truth[sample]), predicted))
        percent = _percent(float(probabilities[sample, predicted]))
        axes.set_title(f"true {true_name}", fontsize=7.5, color=COLOURS[0], pad=2, parse_math=False)
        below = f"{name} ({percent})" + (f"\n{named[place]}" if named else "")
        axes.set_xlabel(below, fontsize=7.5, color=COLOURS[1], labelpad=2, parse_math=False)
    what = (
        "predicted class, its probability, and which sample it is" if named else "predicted class and its probability"
    )
    figure.supxlabel(f"above: true class; below: {what}", fontsize=8, color=GREY)
    return figure


def _percent(probability: float) -> str:
    """Rounded down, so that nothing but certainty is 100 %."""
    return f"{math.floor(probability * 1000) / 10:.1f} %" if probability < 1 else "100 %"


def draw_samples(
    images: NDArray[Any],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    counts: Mapping[str, NDArray[np.int64]],
    per_class: int = 10,
) -> Figure:
    """A row of samples for each of the first 100 classes, and beside it the class's number of samples.

    images   (N, C, H, W); labels (N,)
    counts   by part ("training", "validation", "test"): (classes,), stacked in one bar
    """
    check_number("the number of samples per class", per_class, MOST_PER_CLASS)
    classes = min(len(class_names), MOST_ROWS)
    sheet = _class_rows(images, labels, classes, per_class)
    row = 0.5 if classes <= 20 else 0.25
    wide = per_class * row * images.shape[3] / images.shape[2]
    figure = new_figure(wide + 4.2, classes * row + 1.0)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [wide, 2.8]})
    # One unit per class, so that both halves share their axis.
    picture(left, sheet, extent=(0, wide / row, classes - 0.5, -0.5), aspect="auto")
    names = [shorten(name, 18) for name in class_names[:classes]]
    left.set_yticks(range(classes), names, fontsize=8 if classes <= 20 else 6, parse_math=False)
    left.tick_params(length=0)
    left.set_ylabel("class" if classes == len(class_names) else f"the first {classes} of {len(class_names)} classes")
    left.set_xlabel(f"the first {per_class} samples of each")
    _draw_counts(right, counts, classes)
    return figure


def _class_rows(images: NDArray[Any], labels: NDArray[np.int64], classes: int, per_class: int) -> NDArray[np.float64]:
    """The mosaic: a row of `per_class` cells for each class, NaN where it has fewer samples."""
    step = math.ceil(max(images.shape[2:]) / CELL)
    chosen = [np.flatnonzero(labels == label)[:per_class] for label in range(classes)]
    order = np.concatenate(chosen).astype(np.int64)
    pictures = shown(images[order][:, :, ::step, ::step])
    cells = np.full((classes * per_class, *pictures.shape[1:]), np.nan)
    places = [label * per_class + place for label, own in enumerate(chosen) for place in range(len(own))]
    cells[places] = pictures
    return mosaic(cells, per_class)


def _draw_counts(axes: Any, counts: Mapping[str, NDArray[np.int64]], classes: int) -> None:
    before = np.zeros(classes, np.int64)
    for part, values in counts.items():
        colour = COLOURS[PARTS.index(part) if part in PARTS else len(PARTS)]
        axes.barh(
            np.arange(classes),
            values[:classes],
            left=before,
            height=0.7,
            color=colour,
            label=f"{part} ({values.sum():,})",
        )
        before = before + values[:classes]
    for place, total in enumerate(before):
        axes.annotate(
            f"{total:,}",
            (total, place),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7 if classes <= 20 else 6,
        )
    axes.set_xlim(0, max(int(before.max()), 1) * 1.22)
    axes.xaxis.set_major_locator(load_parts().MaxNLocator(4, integer=True))
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("samples")
    axes.spines[["top", "right"]].set_visible(False)
    axes.figure.legend(loc="outside upper right", ncols=3, fontsize=7, frameon=False)
