"""Figures that need no display: how they are made, coloured and saved, and images laid out as one mosaic."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito's colours (https://jfly.uni-koeln.de/color/), told apart with any form of colour blindness; without the
# yellow, which is too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#6E6E6E"
BLANK = "#E6E6E6"  # where there is no value

DPI = 110
GUTTER = 16  # pixels between the columns of a sheet
FORMATS = (".png", ".svg", ".pdf")
MISSING = 'a plot needs matplotlib: pip install "cnn-engine[plots]"'


def load_parts() -> ModuleType:
    """What is used of matplotlib, an optional package that takes long to load; UserError where it is missing."""
    try:
        from engine.plots import parts
    except ImportError:
        raise UserError(MISSING) from None
    return parts


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of this size in inches; UserError with pip's command where matplotlib is missing."""
    parts = load_parts()
    layout = parts.ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.05)
    figure: Figure = parts.Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    parts.FigureCanvasAgg(figure)
    return figure


def check_target(path: Path) -> None:
    """UserError unless a figure can be written to `path`: by its ending, and by what the file system allows."""
    if path.suffix.lower() not in FORMATS:
        given = f"not in {path.suffix!r}" if path.suffix else f"such as {path}{FORMATS[0]}"
        raise UserError(f"{path}: a figure's file ends in {', '.join(FORMATS)}, {given}")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; the figure needs the name of a file")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """UserError unless files can be written in `folder`, or the folder can be made."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UserError(f"{existing}: is a file, so nothing can be written to {folder}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{existing}: no permission to write there")


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format of the path's ending, whole or not at all; equal figures give equal files."""
    check_target(path)
    write_atomically(path, encode(figure, path.suffix.lower()[1:]))


def encode(figure: Figure, kind: str = "png") -> bytes:
    """The figure as a file of this kind: png, svg (text stays text) or pdf."""
    buffer = io.BytesIO()
    # No dates and no random names inside, so that the same figure is the same file.
    dateless: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with load_parts().rc_context({"svg.hashsalt": "cnn-engine", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, metadata=dateless.get(kind))
    return buffer.getvalue()


def mosaic(images: NDArray[Any], columns: int, gap: int = 1) -> NDArray[np.float64]:
    """Images (n, H, W) or (n, H, W, 3), row by row in `columns` columns, as one; NaN in the gaps and empty places."""
    count, height, width = images.shape[:3]
    rows = math.ceil(count / columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, *images.shape[3:])
    sheet = np.full(shape, np.nan)
    for index, image in enumerate(images):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def shown(images: NDArray[Any]) -> NDArray[np.float64]:
    """Network inputs (n, C, H, W) as pictures from 0 to 1: (n, H, W), or (n, H, W, 3) for three channels.

    uint8 is divided by 255; floats are stretched from the smallest to the largest value of them all. Of other numbers
    of channels the mean is shown.
    """
    if images.dtype == np.uint8:
        values = images / 255
    else:
        low, high = float(images.min()), float(images.max())
        values = (images.astype(np.float64) - low) / ((high - low) or 1.0)
    return values.transpose(0, 2, 3, 1) if images.shape[1] == 3 else values.mean(axis=1)


def picture(axes: Any, image: NDArray[np.float64], **style: Any) -> Any:
    """Show an image, grey from 0 to 1 or red-green-blue, without axes; NaN is white."""
    if image.ndim == 3:
        image = np.where(np.isnan(image), 1.0, image)
    elif "cmap" not in style:
        style = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0, **style}
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes.imshow(image, interpolation="nearest", **style)


def shorten(name: str, most: int = 24) -> str:
    """The name, cut in the middle where it is longer than `most` letters."""
    if len(name) <= most:
        return name
    head = (most - 1) // 2
    return f"{name[:head]}…{name[head + 1 - most :]}"


def tile(pictures: Sequence[bytes], width: int, colours: int = 256) -> bytes:
    """PNGs in two columns, each below the shorter one, as one PNG of `width` pixels.

    Each is scaled to half the width, or to three quarters of its size where that is less; a palette of few colours
    keeps the file small.
    """
    pillow = load_parts().Image
    half = (width - GUTTER) // 2
    columns: list[list[Any]] = [[], []]
    for data in pictures:
        image = pillow.open(io.BytesIO(data)).convert("RGB")
        scale = min(half / image.width, 0.75)
        size = round(image.width * scale), max(1, round(image.height * scale))
        min(columns, key=_height).append(image.resize(size, pillow.Resampling.LANCZOS))
    sheet = pillow.new("RGB", (width, max(map(_height, columns))), "white")
    for place, column in enumerate(columns):
        top = 0
        for image in column:
            sheet.paste(image, (place * (half + GUTTER) + (half - image.width) // 2, top))
            top += image.height
    buffer = io.BytesIO()
    # An octree keeps rare colours, which the median cut would merge into common ones.
    sheet.quantize(colours, pillow.Quantize.FASTOCTREE, dither=pillow.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _height(column: Sequence[Any]) -> int:
    return sum(image.height for image in column)
