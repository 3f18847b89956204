"""What a network has learned and what it makes of an image: filters and feature maps."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.plots.canvas import BLANK, COLOURS, GREY, load_parts, mosaic, new_figure, picture, shorten, shown
from engine.training.metrics import predicted_classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_FILTERS = 64
MOST_CHANNELS = 16  # input channels of a filter
MOST_MAPS = 16  # channels of a feature map
ZOOM = 4  # pixels of a weight's side
STRIP = 128  # longest row in which a vector is drawn
BARS = 32  # vectors of up to so many elements are drawn as bars


def draw_filters(weights: NDArray[np.float32], name: str, colour: bool = False) -> Figure:
    """The filters of a convolution, or the matrix of a linear layer.

    weights   (OC, IC, KH, KW), or (out, in)
    colour    IC is 3 and stands for red, green, blue: a filter is drawn as one picture, in which grey means 0

    Otherwise a row is a filter and a column one of its input channels (with one channel the filters fill the rows);
    colours run from the largest negative to the largest positive weight, and white means 0. Of more than 64 filters
    or 16 channels the first are drawn, and the title says so.
    """
    bound = float(np.abs(weights).max()) or 1.0
    if weights.ndim == 2:
        return _draw_matrix(weights, name, bound)
    if weights.ndim != 4:
        raise UserError(f"filters have shape (OC, IC, KH, KW), those of {name!r} have {weights.shape}")
    filters, channels = weights.shape[:2]
    kernels = weights[:MOST_FILTERS]
    size = f"{weights.shape[2]}×{weights.shape[3]}"
    if colour and channels == 3:
        sheet = _kernel_sheet(kernels.transpose(0, 2, 3, 1) / (2 * bound) + 0.5, _columns(len(kernels)))
        title = f"{name}: {_of(len(kernels), filters)} filters {size} in red, green, blue, grey is 0"
        return _sheet(sheet, title, None)
    kernels = kernels[:, :MOST_CHANNELS]
    columns = _columns(len(kernels)) if channels == 1 else kernels.shape[1]
    sheet = _kernel_sheet(kernels.reshape(-1, *kernels.shape[2:]), columns)
    title = f"{name}: {_of(len(kernels), filters)} filters {size}"
    if channels > 1:
        title += f" (rows), {_of(kernels.shape[1], channels)} input channels (columns)"
    return _sheet(sheet, title, bound)


def _draw_matrix(weights: NDArray[np.float32], name: str, bound: float) -> Figure:
    figure = new_figure(7.0, min(6.0, max(2.2, 1.2 + 5.5 * weights.shape[0] / weights.shape[1])))
    axes = figure.add_subplot()
    image = axes.imshow(weights, cmap="RdBu_r", vmin=-bound, vmax=bound, aspect="auto", interpolation="nearest")
    axes.set_xlabel("input")
    axes.set_ylabel("output")
    _weight_bar(figure, image, axes)
    axes.set_title(f"{name}: weights, {weights.shape[0]} outputs × {weights.shape[1]} inputs", **_title())
    return figure


def _kernel_sheet(kernels: NDArray[np.float32], columns: int) -> NDArray[np.float64]:
    """A mosaic with each weight as 4×4 pixels, so that the gaps can be narrower than a weight."""
    return mosaic(kernels.repeat(ZOOM, axis=1).repeat(ZOOM, axis=2), columns, gap=ZOOM // 2)


def _sheet(sheet: NDArray[np.float64], title: str, bound: float | None) -> Figure:
    height, width = sheet.shape[:2]
    scale = min(6.0 / width, 8.0 / height, 0.12 / ZOOM)  # inches per pixel
    figure = new_figure(max(width * scale, 4.2) + (1.1 if bound else 0.2), max(height * scale, 1.2) + 0.6)
    axes = figure.add_subplot()
    if bound is None:
        picture(axes, sheet)
    else:
        colours = load_parts().colormaps["RdBu_r"].with_extremes(bad=BLANK)
        _weight_bar(figure, picture(axes, sheet, cmap=colours, vmin=-bound, vmax=bound), axes)
    figure.suptitle(_wrapped(title, figure.get_figwidth()), **_title())
    return figure


def _weight_bar(figure: Figure, image: Any, axes: Any) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25)
    bar.set_label("weight", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def draw_features(
    maps: Mapping[str, NDArray[np.float32]],
    image: NDArray[Any],
    layers: Mapping[str, str] | None = None,
    class_names: Sequence[str] = (),
) -> Figure:
    """The image, and below it what each layer gives for it, a strip per layer from the first to the last.

    maps          by layer: (C, H, W) or (K,), as `engine.inspection.activations.activations` gives them for one image
    image         (C, H, W), as the network takes it
    layers        how each layer is written, for its label
    class_names   of a last vector's elements

    The first 16 channels of a map are drawn, each strip on a scale of its own that its label states; a vector is drawn
    as bars (up to 32 elements) or, row by row, as shades.
    """
    strips = {name: _strip(values) for name, values in maps.items()}
    heights = [
        1.5,
        *(0.95 if values.ndim == 1 and len(values) <= BARS else _inches(strips[name]) for name, values in maps.items()),
    ]
    figure = new_figure(9.0, sum(heights) + 0.16 * len(heights) + 0.3)
    rows = figure.subplots(len(heights), 2, gridspec_kw={"height_ratios": heights, "width_ratios": [1.9, 7.0]})
    picture(rows[0][1], shown(image[None])[0], **({} if image.shape[0] == 3 else {"vmin": None, "vmax": None}))
    rows[0][1].set_anchor("W")
    _label(rows[0][0], "input", _times(image.shape))
    last = list(maps)[-1]
    for (left, right), (name, values) in zip(rows[1:], maps.items(), strict=True):
        text = (layers or {}).get(name, "")
        names = class_names if name == last and values.shape == (len(class_names),) else ()
        largest = ""
        if names:
            (answer,) = predicted_classes(values[None], lambda _: f"layer {last!r}")
            largest = f"\nlargest: {shorten(names[answer], 20)}"
        _label(left, f"{name}  {text}".strip(), f"{_times(values.shape)}, {_range(values)}{largest}")
        if values.ndim == 1 and len(values) <= BARS:
            _draw_bars(right, values, names, f"layer {name!r}")
        else:
            picture(right, strips[name], cmap="viridis", vmin=None, vmax=None, aspect=_aspect(values))
            right.set_anchor("W")
    return figure


def _strip(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The first channels of a map side by side, or a vector folded into rows."""
    if values.ndim == 3:
        channels = values[:MOST_MAPS]
        return mosaic(channels, MOST_MAPS, gap=max(1, values.shape[2] // 12))
    rows = math.ceil(len(values) / STRIP)
    padded = np.full(rows * STRIP if rows > 1 else len(values), np.nan)
    padded[: len(values)] = values
    return padded.reshape(rows, -1)


def _inches(strip: NDArray[np.float64]) -> float:
    """Height of a strip that is up to seven inches wide."""
    height, width = strip.shape
    return min(max(7.0 * height / width, 0.32), 1.5)


def _aspect(values: NDArray[np.float32]) -> str:
    return "equal" if values.ndim == 3 else "auto"


def _draw_bars(axes: Any, values: NDArray[np.float32], class_names: Sequence[str], source: str) -> None:
    places = np.arange(len(values))
    (largest,) = predicted_classes(values[None], lambda _: source)
    axes.bar(places, values, color=[COLOURS[1] if place == largest else COLOURS[0] for place in places])
    axes.axhline(0, color=GREY, linewidth=0.6)
    names = [shorten(name, 10) for name in class_names]
    if names:
        upright = sum(map(len, names)) > 70
        axes.set_xticks(places, names, fontsize=7, rotation=90 if upright else 0, parse_math=False)
    else:
        axes.set_xticks([])
    axes.tick_params(labelsize=7, length=2)
    axes.set_ylabel("value", fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _label(axes: Any, first: str, second: str) -> None:
    axes.axis("off")
    text = f"{_wrapped(first, 2.2, 7.5)}\n{second}"
    axes.text(0, 0.5, text, va="center", ha="left", fontsize=7.5, transform=axes.transAxes, parse_math=False)


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(2 * count))


def _of(drawn: int, all_of_them: int) -> str:
    return str(drawn) if drawn == all_of_them else f"the first {drawn} of {all_of_them}"


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _range(values: NDArray[np.float32]) -> str:
    return f"{values.min():.2g} to {values.max():.2g}"


def _wrapped(text: str, inches: float, size: float = 9.0) -> str:
    return "\n".join(textwrap.wrap(text, max(12, int(inches * 72 / (0.56 * size)))))


def _title() -> dict[str, Any]:
    return {"fontsize": 9, "parse_math": False}
