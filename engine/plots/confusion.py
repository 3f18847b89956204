"""The confusion matrix: counts, and as shares of each true class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.inference.judging import WRITTEN_CLASSES
from engine.plots.canvas import BLANK, load_parts, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NAMES = 100  # classes that are named along an axis; of more, every second, third, … one is


def shares(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each row divided by its sum, so that the diagonal is the recall; NaN in the row of a class without samples."""
    totals = matrix.sum(axis=1, keepdims=True)
    return np.where(totals > 0, matrix / np.maximum(totals, 1), np.nan)


def draw_confusion(matrix: NDArray[np.int64], class_names: Sequence[str], title: str = "") -> Figure:
    """Counts beside shares of the true class; rows are true classes, columns predicted ones.

    matrix   (classes, classes), as `engine.training.metrics.confusion_matrix` gives it
    """
    classes = len(class_names)
    if matrix.shape != (classes, classes):
        raise UserError(f"a confusion matrix of {classes} classes has shape {(classes, classes)}, not {matrix.shape}")
    written = classes <= WRITTEN_CLASSES
    side = max(3.2, (0.36 if written else 0.135) * min(classes, MOST_NAMES))
    figure = new_figure(2 * side + 2.4, side + 0.95)
    left, right = figure.subplots(1, 2)
    # Square roots, so that a few mistakes show beside hundreds of right answers.
    counts = _draw(left, matrix.astype(np.float64), class_names, 0.5, float(max(matrix.max(), 1)))
    _bar(figure, counts, left, "samples", whole=True)
    _bar(figure, _draw(right, shares(matrix), class_names, 1.0, 1.0), right, "share of the true class")
    if written:
        _write(left, matrix.astype(np.float64), [[str(count) if count else "" for count in row] for row in matrix])
        normalised = shares(matrix)
        _write(right, normalised, [[_short(value) for value in row] for row in normalised])
    if title:
        figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def _draw(axes: Any, values: NDArray[np.float64], class_names: Sequence[str], gamma: float, top: float) -> Any:
    parts = load_parts()
    colours = parts.colormaps["Blues"].with_extremes(bad=BLANK)
    image = axes.imshow(values, cmap=colours, norm=parts.PowerNorm(gamma, 0.0, top), interpolation="nearest")
    classes = len(class_names)
    named = range(0, classes, math.ceil(classes / MOST_NAMES))
    names = [shorten(class_names[label], 14) for label in named]
    size = 8 if classes <= WRITTEN_CLASSES else 6
    upright = max(map(len, names)) > 2
    axes.set_xticks(named, names, rotation=90 if upright else 0, fontsize=size, parse_math=False)
    axes.set_yticks(named, names, fontsize=size, parse_math=False)
    axes.tick_params(length=0 if WRITTEN_CLASSES < classes <= MOST_NAMES else 2, pad=1.5)
    if classes <= MOST_NAMES:
        # Faint lines between the classes lead the eye from a cell to its names.
        between = np.arange(classes - 1) + 0.5
        axes.vlines(between, -0.5, classes - 0.5, color=BLANK, linewidth=0.4)
        axes.hlines(between, -0.5, classes - 0.5, color=BLANK, linewidth=0.4)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return image


def _bar(figure: Figure, image: Any, axes: Any, label: str, whole: bool = False) -> None:
    ticks = load_parts().MaxNLocator(5, integer=whole)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=30, ticks=ticks)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _write(axes: Any, values: NDArray[np.float64], texts: Sequence[Sequence[str]]) -> None:
    """Numbers in the cells: light on dark, dark on light."""
    norm = axes.images[0].norm
    size = 7 if len(values) <= 12 and max(len(text) for row in texts for text in row) <= 4 else 5
    for row, column in np.ndindex(values.shape):
        if texts[row][column]:
            colour = "white" if float(norm(values[row, column])) > 0.6 else "black"
            axes.text(column, row, texts[row][column], ha="center", va="center", fontsize=size, color=colour)


def _short(share: float) -> str:
    """Two decimals without the leading zero; nothing for none."""
    if np.isnan(share) or share == 0:
        return ""
    text = f"{share:.2f}"
    return "<.01" if text == "0.00" else text.removeprefix("0")
