"""How a training run shows where it is: a bar on a terminal, a line per epoch elsewhere, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Literal, get_args

from engine.cli import on_terminal

LOADER_BOUND = 0.05  # share of an epoch's time waited for data from which it is said
LEAST_WAIT = 0.5  # seconds; an epoch that takes a moment waits for its first batch, and nobody has to care

Mode = Literal["auto", "bar", "lines", "none"]
MODES: tuple[str, ...] = get_args(Mode)


class Progress:
    """Shows nothing; base of the others."""

    def begin(self, epochs: int, samples: int, done: int) -> None:
        """The run has `epochs` epochs of `samples` samples, of which `done` samples in all are behind it."""

    def step(self, samples: int, loss: float) -> None:
        """A batch of so many samples is done."""

    def epoch(self, number: int, epochs: int, record: Mapping[str, Any]) -> None:
        """Epoch `number` (from 1) has ended with these metrics."""

    def close(self) -> None:
        """The run has ended, well or not."""


class LineProgress(Progress):
    """One line per epoch on standard output."""

    def epoch(self, number: int, epochs: int, record: Mapping[str, Any]) -> None:
        print(epoch_line(number, epochs, record), flush=True)


class BarProgress(Progress):
    """A tqdm bar over the whole run, with images per second and the time left, and a line per epoch above it."""

    def begin(self, epochs: int, samples: int, done: int) -> None:
        from tqdm import tqdm  # only now: lines, and no display at all, do without it

        self._bar = tqdm(
            total=epochs * samples,
            initial=done,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            disable=sys.stderr is None,
        )

    def step(self, samples: int, loss: float) -> None:
        self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        self._bar.update(samples)

    def epoch(self, number: int, epochs: int, record: Mapping[str, Any]) -> None:
        self._bar.write(epoch_line(number, epochs, record))

    def close(self) -> None:
        self._bar.close()


def progress_for(mode: Mode) -> Progress:
    """The display for this mode; "auto" takes the bar when standard error is a terminal."""
    if mode == "auto":
        mode = "bar" if on_terminal() else "lines"
    return {"bar": BarProgress, "lines": LineProgress, "none": Progress}[mode]()


def epoch_line(number: int, epochs: int, record: Mapping[str, Any]) -> str:
    """`epoch 3/9  lr 0.001  train_loss 0.0512  …  12.3 s  4880 images/s`.

    Where more than LOADER_BOUND of the time, and LEAST_WAIT at least, went by waiting for data, it ends in
    `loader-bound: 37% waiting for data`.
    """
    skip = {"epoch", "step", "learning_rate", "seconds", "images_per_second", "data_wait_seconds"}
    metrics = [f"{name} {value:.4f}" for name, value in record.items() if name not in skip]
    speed = [f"{record['seconds']:.1f} s  {record['images_per_second']:.0f} images/s"]
    waited = record.get("data_wait_seconds", 0.0)
    share = waited / max(record["seconds"], 1e-9)
    if share > LOADER_BOUND and waited >= LEAST_WAIT:
        speed.append(f"loader-bound: {share:.0%} waiting for data")
    return "  ".join([f"epoch {number}/{epochs}", f"lr {record['learning_rate']:g}", *metrics, *speed])
