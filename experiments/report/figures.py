"""The drawings of a report: curves of every row with all its seeds, what its first finished run learned, and charts.

Charts and curves are SVG in the colours of the page (see `themed`); images are small PNGs. What was drawn from a
finished run never changes, so it is kept beside the runs and not drawn again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError
from engine.plots.canvas import COLOURS, GREY, encode, new_figure
from engine.plots.curves import draw_curves, make_log
from engine.training.folder import LOG, read_epochs
from experiments.learned import FOLDER, can_draw, kept_pictures, png_size
from experiments.report.document import Chart, Document, Picture, RowSection, with_pictures
from experiments.tasks.samples import DataCache

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BYTES = 4_500_000  # of all drawings of a page, so that it stays below 5 MB
LEFT_OUT_FIRST = ("features", "filters", "mistakes", "confusion", "curves")
LABEL_GAP = 11.0  # points between the numbers of two near points

# Colours of the drawings as names that the page's style gives values for, one for light and one for dark.
THEME = {"#ffffff": "--card", "#000000": "--ink", GREY.lower(): "--muted"} | {
    colour.lower(): f"--series-{place}" for place, colour in enumerate(COLOURS[:6], 1)
}


def illustrated(
    document: Document, root: Path, images: bool = True, drawn: MutableMapping[str, Picture | None] | None = None
) -> Document:
    """The document with its drawings; those that are kept lie in `root`/figures.

    images: also what needs the data: confusion matrices, feature maps and mistakes, and the filters. Where matplotlib
    or a set of data is missing, the document says so in its place.
    drawn: curves drawn before, by all that the document says of their row; new ones are added.
    """
    if complaint := can_draw():
        return with_pictures(document, (), {}, [complaint])
    keep = root / FOLDER
    pictures = [_chart(chart) for chart in document.charts if chart.points and not chart.note]
    missing: dict[str, None] = {}
    curves = {} if drawn is None else drawn
    by_row: dict[str, list[Picture]] = {}
    data = DataCache()
    for section in document.sections:
        known = repr(section)
        own: list[Picture] = []
        try:
            if known not in curves:
                curves[known] = _curves(section)
            own += filter(None, [curves[known]])
        except UserError as error:  # the other rows have curves, and this one figures, all the same
            missing[f"curves of {section.name}: {error}"] = None
        if images:
            shown, complaints = _of_network(section, keep, data)
            own += shown
            missing |= dict.fromkeys(complaints)
        by_row[section.name] = own
    left_out = _left_out(pictures, by_row)
    by_row = {name: [each for each in own if each.name not in left_out] for name, own in by_row.items()}
    if left_out:
        missing[
            f"Left out to keep the page small: {', '.join(left_out)} of every row (python -m engine.plots draws them)"
        ] = None
    return with_pictures(document, pictures, by_row, list(missing))


def _left_out(pictures: Sequence[Picture], by_row: dict[str, list[Picture]]) -> list[str]:
    """Kinds of drawings that do not fit, the least telling first."""
    total = sum(each.size for each in pictures)
    sizes = dict.fromkeys(LEFT_OUT_FIRST, 0)
    for own in by_row.values():
        for each in own:
            sizes[each.name] += each.size
    names: list[str] = []
    for name in LEFT_OUT_FIRST:
        if total + sum(sizes.values()) <= MOST_BYTES:
            break
        if sizes[name]:
            names.append(name)
            sizes[name] = 0
    return names


# ---- charts ----


def _chart(chart: Chart) -> Picture:
    figure = draw_chart(chart)
    text = f"{chart.title}, {len(chart.points)} rows; the numbers stand in the tables"
    caption = f"{chart.title}; the mean over the seeds, ± one standard deviation. Numbers are those of the tables."
    return Picture(chart.name, caption, text, themed(figure, f"chart-{chart.name}"))


def draw_chart(chart: Chart) -> Figure:
    """A numbered point per row with the spread over its seeds, a colour for each group."""
    figure = new_figure(6.6, 4.0)
    axes = figure.add_subplot()
    groups = list(dict.fromkeys(point.group for point in chart.points))
    for group, colour in zip(groups, COLOURS * (1 + len(groups) // len(COLOURS))):
        own = [point for point in chart.points if point.group == group]
        axes.errorbar(
            [point.x for point in own],
            [point.y for point in own],
            yerr=[point.std or 0.0 for point in own],
            fmt="o",
            color=colour,
            markersize=5,
            elinewidth=1,
            capsize=2,
            label=group or None,
        )
    values = [point.x for point in chart.points]
    if min(values) > 0 and max(values) / min(values) > 20:
        axes.set_xscale("log")
    axes.set_xlabel(chart.x_title)
    axes.set_ylabel(chart.y_title)
    axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(groups) > 1:
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.canvas.draw()  # places of the points on paper are known from here on
    _number_points(axes, chart)
    return figure


def _number_points(axes: Any, chart: Chart) -> None:
    """Each point's number beside it, moved up where another one is near."""
    taken: list[tuple[float, float]] = []
    places = [axes.transData.transform((point.x, point.y)) * 72 / axes.figure.dpi for point in chart.points]
    for (x, y), point in sorted(zip(places, chart.points, strict=True), key=lambda each: float(each[0][1])):
        shift = 2.0
        while any(abs(x - other) < LABEL_GAP * 1.4 and abs(y + shift - height) < LABEL_GAP for other, height in taken):
            shift += 1.0
        taken.append((x, y + shift))
        axes.annotate(str(point.number), (point.x, point.y), (5, shift), textcoords="offset points", fontsize=8)


def _curves(section: RowSection) -> Picture | None:
    """Loss, accuracy and F1 of all seeds of a row; None where no epoch has ended. UserError for a damaged log."""
    logs = []
    for run in section.runs:
        records = read_epochs(run.folder / LOG)
        if records:
            logs.append(make_log(f"seed {run.seed}", records, str(run.folder / LOG)))
    if not logs:
        return None
    text = f"Loss, accuracy and F1 of {section.name} over the epochs, {len(logs)} seeds"
    caption = "Curves of all seeds: validation solid, training dotted."
    return Picture("curves", caption, text, themed(draw_curves(logs), f"curves-{section.number}"))


# ---- what a run learned ----


def _of_network(section: RowSection, keep: Path, data: DataCache) -> tuple[list[Picture], list[str]]:
    """Confusion matrix, filters, feature maps and worst mistakes of the row's first finished run; and complaints."""
    run = next((each for each in section.runs if each.state == "finished"), None)
    if run is None:
        return [], []
    of = f"{section.name}, seed {run.seed}"
    captions = {
        "confusion": "Confusion matrix, counts beside shares of the true class",
        "mistakes": "The most confident mistakes",
        "filters": "Filters of the first convolution",
        "features": "Feature maps of every layer for one image",
    }
    try:
        drawn = kept_pictures(run.key, run.folder, keep, data)
    except (UserError, OSError) as error:
        return [], [f"{of}: {error}"]
    return [
        Picture(name, f"{captions[name]} (seed {run.seed}).", f"{captions[name]}: {of}", png, *png_size(png))
        for name, png in drawn.items()
    ], []


# ---- formats ----


def themed(figure: Figure, prefix: str) -> str:
    """The figure as SVG markup to stand in a page: no background, colours by the page's names for them.

    prefix: put before every id, so that the drawings of one page do not take each other's.
    """
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    text = encode(figure, "svg").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    mark = f"{prefix}-{hashlib.sha256(prefix.encode()).hexdigest()[:4]}-"
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{mark}", text)
    text = re.sub(r"font: (?:\d+ )?([\d.]+)px [^;\"]*", r"font: \1px var(--font)", text)
    # Coordinates to a hundredth of a point are exact enough, and half as long; what is to be read stays as it is.
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(?<![#\w])(-?\d+\.\d{2})\d+", r"\1", tag.group()), text)
    return re.sub(r"#[0-9a-fA-F]{6}\b", lambda match: _named_colour(match.group()), text).strip()


def _named_colour(colour: str) -> str:
    name = THEME.get(colour.lower())
    return f"var({name})" if name else colour
