"""The loss by the learning rate, as a search for one measured it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.plots.canvas import COLOURS, GREY, new_figure
from engine.training.schedules.finder import Sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_rates(sweep: Sweep) -> Figure:
    """Loss of every step (dots) and smoothed (line) by the rate, with the two rates that the search proposes."""
    figure = new_figure(6.0, 4.0)
    axes = figure.subplots()
    axes.plot(sweep.rates, sweep.losses, ".", color=GREY, markersize=3, label="loss of a step")
    axes.plot(sweep.rates, sweep.smoothed, color=COLOURS[0], label="smoothed")
    for rate, words, colour in (
        (sweep.steepest, "steepest fall", COLOURS[1]),
        (sweep.tenth, "a tenth of the lowest's", COLOURS[2]),
    ):
        axes.axvline(rate, color=colour, linestyle="--", linewidth=1.0, label=f"{words}: {rate:.2g}")
    low, high = min(sweep.smoothed), max(sweep.smoothed)
    axes.set_xscale("log")
    if high > low:  # a step far off must not flatten the rest
        axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.legend(frameon=False)
    return figure
