"""Loss, accuracy and F1 over the epochs of one or many runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.plots.canvas import COLOURS, GREY, load_parts, new_figure, shorten
from engine.training.folder import LOG, nearest_run, no_run, read_epochs
from engine.training.state import read_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {"loss": "loss", "accuracy": "accuracy (share right)", "macro_f1": "macro F1"}
PARTS = {"train": ":", "val": "-"}  # dotted: training, solid: validation
PART_NAMES = {"train": "training", "val": "validation"}
NAMED_RUNS = len(COLOURS)  # so many runs have a colour and a name each; of more, the median is drawn
MARKED_EPOCHS = 15  # runs of up to so many epochs have a mark at each


@dataclass(frozen=True)
class Log:
    """The epochs of one run: `epochs` (n,) counted from 1, `values` by metric, (n,), NaN where one is missing."""

    name: str
    epochs: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]


def read_log(source: Path | str, name: str | None = None) -> Log:
    """The log of a run folder, of its log.jsonl, or the history in a checkpoint that a run can go on from.

    UserError that names file and line for what is no record of an epoch, and where there is no epoch at all.
    """
    source = Path(source)
    name = source.name if name is None else name
    if source.is_dir():
        if not (source / LOG).is_file():
            raise no_run(source, f"no {LOG}")
        source = source / LOG
    elif not source.exists():
        raise UserError(f"{source}: no such run folder{nearest_run(source)}")
    if source.suffix == ".safetensors":
        return make_log(name, _history(source), str(source))
    return make_log(name, read_epochs(source), str(source))


def make_log(name: str, records: Sequence[Mapping[str, Any]], where: str) -> Log:
    """A log of records as `Trainer.fit` gives them (`History.epochs`): a mapping with "epoch" and metrics for each."""
    if not records:
        raise UserError(f"{where}: no epoch has been logged yet: the run has just begun, or ended within its first")
    metrics = dict.fromkeys(f"{part}_{panel}" for panel in PANELS for part in PARTS)
    values = {
        metric: np.array([_number(record.get(metric)) for record in records])
        for metric in metrics
        if any(metric in record for record in records)
    }
    return Log(name, np.array([record["epoch"] for record in records], np.int64), values)


def _history(path: Path) -> list[dict[str, Any]]:
    position = read_run(path).training.get("position")
    if not position:
        raise UserError(f"{path}: this checkpoint keeps no history; give the run folder, or its last.safetensors")
    epochs: list[dict[str, Any]] = position["history"]["epochs"]
    return epochs


def _number(value: Any) -> float:
    """NaN for a null, which is how a log writes NaN and infinity, and for what was not measured."""
    return math.nan if value is None else float(value)


def draw_curves(logs: Sequence[Log]) -> Figure:
    """A panel for each of loss, accuracy and macro F1 that any of the runs has.

    Validation is solid, training dotted. Up to seven runs have a colour each and stand in the legend; of more, every
    run is a thin line, and a thick one shows the median of those that reached the epoch.
    """
    panels = [panel for panel in PANELS if any(f"{part}_{panel}" in log.values for log in logs for part in PARTS)]
    if not panels:
        raise UserError("none of the runs has logged a loss, an accuracy or a macro F1")
    named = len(logs) <= NAMED_RUNS
    figure = new_figure(max(4.6, 3.6 * len(panels)), 3.3 + (0.18 * (len(logs) - 1) if named else 0.1))
    handles: dict[str, Any] = {}
    for axes, panel in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
        for part, style in PARTS.items():
            metric = f"{part}_{panel}"
            if named:
                handles |= _draw_named(axes, logs, metric, part, style)
            elif own := [log for log in logs if metric in log.values]:
                handles |= _draw_many(axes, own, metric, part, style)
        _finish(axes, PANELS[panel], max(int(log.epochs[-1]) for log in logs))
    # A legend leaves out names that begin with an underscore: a space before it keeps them.
    names = [f" {name}" if name.startswith("_") else name for name in handles]
    legend = figure.legend(
        list(handles.values()), names, loc="outside lower center", ncols=2, fontsize=8, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    for line in legend.get_lines():
        line.set_alpha(1)  # alone, the thin lines of many runs are hardly seen
    return figure


def _draw_named(axes: Any, logs: Sequence[Log], metric: str, part: str, line: str) -> dict[str, Any]:
    """A line for each run that has the metric; gives the lines by name for the legend."""
    handles = {}
    for log, colour in zip(logs, COLOURS, strict=False):
        if metric in log.values:
            style = {"color": colour, "linewidth": 1.6, **_marks(log, part)}
            (line_drawn,) = axes.plot(log.epochs, log.values[metric], line, **style)
            handles[f"{shorten(log.name, 40)}, {PART_NAMES[part]}"] = line_drawn
    return handles


def _draw_many(axes: Any, own: Sequence[Log], metric: str, part: str, line: str) -> dict[str, Any]:
    colour = COLOURS[0] if part == "val" else COLOURS[1]
    alpha = max(0.1, min(0.4, 6 / len(own)))
    for log in own:
        style = {"color": colour, "linewidth": 0.6, "alpha": alpha, **_marks(log, part, 2)}
        (thin,) = axes.plot(log.epochs, log.values[metric], line, **style)
    epochs, median = median_of(own, metric)
    # A white rim sets the median apart from the lines around it.
    rim = [load_parts().withStroke(linewidth=4.5, foreground="white")]
    (thick,) = axes.plot(epochs, median, line, color=colour, linewidth=2.2, path_effects=rim)
    return {f"{PART_NAMES[part]}, {len(own)} runs": thin, f"{PART_NAMES[part]}, median": thick}


def median_of(logs: Sequence[Log], metric: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Epochs and, for each, the median of the metric over the runs that have a value there."""
    found: dict[int, list[float]] = {}
    for log in logs:
        for epoch, value in zip(log.epochs.tolist(), log.values[metric].tolist(), strict=True):
            if not math.isnan(value):
                found.setdefault(epoch, []).append(value)
    epochs = sorted(found)
    return np.array(epochs, np.int64), np.array([float(np.median(found[epoch])) for epoch in epochs])


def _marks(log: Log, part: str, size: float = 4) -> dict[str, Any]:
    """A mark at every epoch of a short run, hollow for training: a run of one epoch has no line to see."""
    if len(log.epochs) > MARKED_EPOCHS:
        return {}
    return {"marker": "o", "markersize": size, **({"markerfacecolor": "white"} if part == "train" else {})}


def _finish(axes: Any, label: str, last: int) -> None:
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    margin = 0.04 * max(last - 1, 1)
    axes.set_xlim(max(1 - margin, 0.1), last + margin)  # no epoch 0
    axes.xaxis.set_major_locator(load_parts().MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def run_names(folders: Sequence[Path]) -> list[str]:
    """A name for each run folder: its own, or as it was given where two have the same."""
    own = [folder.name or str(folder.resolve().name) for folder in folders]
    return [name if own.count(name) == 1 else str(folder) for name, folder in zip(own, folders, strict=True)]
