"""The ratios of a run as a picture: a point per peer and case at the median, a line over the range of the rounds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.files import write_atomically
from experiments.peers.frameworks import PEERS
from experiments.peers.records import CaseRecord, Run
from experiments.peers.render import label
from experiments.stats import spread

PALETTE = (
    "#d1495b", "#edae49", "#8d5a97", "#30638e", "#3f8f5b", "#c8b6a6", "#222222", "#6b6b9d", "#00a6a6", "#b5651d",
    "#7f7f7f", "#e377c2", "#9acd32",
)  # fmt: skip
COLOURS = dict(zip(PEERS, PALETTE, strict=True))
TICKS = (0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100)


def load_pyplot() -> ModuleType:
    """matplotlib's pyplot, which needs no display now; ImportError where the optional package is missing."""
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    return pyplot


def draw(run: Run, path: Path) -> None:
    """Write the picture to `path`, in the format that its ending names: a panel per task and number of threads."""
    pyplot = load_pyplot()
    panels: dict[tuple[str, int], list[CaseRecord]] = {}
    for record in run.records:
        if record.peers:
            panels.setdefault((record.case.task, record.case.threads), []).append(record)
    heights = [len(records) + 2 for records in panels.values()]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(9, 0.32 * sum(heights) + 1), squeeze=False, height_ratios=heights, layout="constrained"
    )
    for axis, ((task, threads), records) in zip(axes[:, 0], panels.items(), strict=True):
        _panel(axis, records)
        axis.set_title(f"{task}, {threads} thread{'s' if threads > 1 else ''}", loc="left", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=150, format=path.suffix[1:] or None)
    write_atomically(path, buffer.getvalue())
    pyplot.close(figure)


def _panel(axis: Any, records: Sequence[CaseRecord]) -> None:
    sides = [side for side in PEERS if any(side in record.peers for record in records)]
    for place, side in enumerate(sides):
        offset = 0.6 * ((place + 0.5) / len(sides) - 0.5)
        chosen = [(row, spread(each.ratios(side))) for row, each in enumerate(records) if side in each.peers]
        middle = [each.median for _, each in chosen]
        lengths = [[each.median - each.least for _, each in chosen], [each.most - each.median for _, each in chosen]]
        axis.errorbar(
            middle, [row + offset for row, _ in chosen], xerr=lengths, fmt="o", markersize=4, linewidth=1.2,
            color=COLOURS[side], label=side,
        )  # fmt: skip
    axis.set_xscale("log")
    axis.axvline(1.0, color="black", linewidth=0.8)
    low, high = axis.get_xlim()
    low, high = min(low, 0.9), max(high, 1.1)
    axis.set_xlim(low, high)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_yticks(range(len(records)), [label(record.case) for record in records], fontsize=8)
    axis.set_ylim(len(records) - 0.4, -0.6)
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_xlabel("time of the peer / time of ours", fontsize=9)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
