"""Where the ops of a program stand under the roofs of the machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.errors import UserError
from engine.inspection.profile import Profile
from engine.plots.canvas import check_target, new_figure, save


def check_roofline(path: Path) -> None:
    """UserError where it cannot be drawn or written: to be said before anything is measured."""
    new_figure(8, 5)
    check_target(path)
    if not path.parent.is_dir():
        raise UserError(f"--out: there is no folder {path.parent}")


def draw_roofline(result: Profile, path: Path) -> None:
    """The roofline: GFLOP/s of every op over its FLOPs per byte, under the two measured roofs."""
    figure = new_figure(8, 5)
    axes = figure.add_subplot()
    ops = [op for op in result.ops if op.flops]
    intensity = [op.flops / op.bytes for op in ops]
    roof = np.geomspace(min([*intensity, 0.1]) / 2, max([*intensity, 100.0]) * 2, 200)
    limit = np.minimum(result.peak_flops, roof * result.bandwidth)
    axes.loglog(roof, limit / 1e9, color="black", label="measured peak and bandwidth")
    kinds = sorted({op.op for op in ops})
    for kind in kinds:
        mine = [place for place, op in enumerate(ops) if op.op == kind]
        axes.scatter(
            [intensity[place] for place in mine],
            [ops[place].flops / ops[place].seconds / 1e9 for place in mine],
            # The area of a mark is the op's share of the run.
            s=[10 + 600 * ops[place].seconds / result.seconds for place in mine],
            alpha=0.6,
            label=kind,
        )
    axes.set_xlabel("FLOPs per byte of operands")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(
        f"{result.network}, {result.mode}, batch {result.batch}, {result.threads} threads, {result.isa}", fontsize=10
    )
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save(figure, path)
