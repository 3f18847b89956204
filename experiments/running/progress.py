"""What a study says while it runs: a bar on a terminal, a plain line per run elsewhere. Both on stderr."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TextIO

from engine.cli import on_terminal
from experiments.records.result import Result
from experiments.running.eta import Eta
from experiments.tasks.keys import Run
from experiments.words import duration


class Progress(Protocol):
    """The runner's listener. Runs may overlap."""

    def start(self, run: Run) -> None:
        """A run begins."""

    def epoch(self, run: Run, record: Mapping[str, Any]) -> None:
        """An epoch of a run has ended, with this line in its log."""

    def finish(self, run: Run, result: Result, repeated: bool) -> None:
        """A run has ended; `repeated` says that its result was on record already and nothing ran."""

    def close(self) -> None:
        """No more is to come, perhaps because of an error."""


def _outcome(result: Result, metric: str) -> str:
    if result.status != "finished":
        return f"{result.status.upper()}: {result.error}"
    value = result.metrics.get(metric)
    return "finished" if value is None else f"{metric.replace('_', ' ')} {value:.4f}"


class Lines:
    """One line per run, for logs and pipes."""

    def __init__(self, runs: Sequence[Run], metric: str, jobs: int = 1, out: TextIO | None = None):
        self._runs = len(runs)
        self._eta = Eta(runs, jobs)
        self._metric = metric
        self._done = 0
        self._out = out

    def start(self, run: Run) -> None:
        self._eta.start(run)

    def epoch(self, run: Run, record: Mapping[str, Any]) -> None:
        self._eta.epoch(run, record["epoch"])

    def finish(self, run: Run, result: Result, repeated: bool) -> None:
        self._done += 1
        self._eta.finish(run, result, repeated)
        how = "on record" if repeated else f"{result.seconds:.1f} s"
        outcome = _outcome(result, self._metric)
        left = "" if repeated else _left("; ", self._eta)
        line = f"[{self._done}/{self._runs}] {run.label}: {outcome} ({how}){left}"
        print(line, file=self._out or sys.stderr, flush=True)

    def close(self) -> None:
        pass


class Bar:
    """A bar over the epochs of all runs, with the time that is left."""

    def __init__(self, runs: Sequence[Run], metric: str, jobs: int = 1):
        from tqdm import tqdm  # only now: lines do without it

        self._epochs = {run.key: run.config.epochs for run in runs}
        self._seen: Counter[str] = Counter()
        self._metric = metric
        self._eta = Eta(runs, jobs)
        # Epochs of different rows take different times: what is left is ours to say.
        shape = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} epochs, {elapsed}{postfix}"
        self._bar = tqdm(total=sum(self._epochs.values()), bar_format=shape, dynamic_ncols=True)

    def start(self, run: Run) -> None:
        self._eta.start(run)
        self._bar.set_description_str(run.label)

    def epoch(self, run: Run, record: Mapping[str, Any]) -> None:
        self._eta.epoch(run, record["epoch"])
        self._bar.set_postfix_str(_left("", self._eta))
        self._seen[run.key] += 1
        self._bar.update(1)

    def finish(self, run: Run, result: Result, repeated: bool) -> None:
        self._eta.finish(run, result, repeated)
        # A run on record, resumed, stopped early or failed took fewer epochs than the bar was told.
        self._bar.update(self._epochs[run.key] - self._seen[run.key])
        if result.status != "finished":
            self._bar.write(f"{run.label}: {_outcome(result, self._metric)}", file=sys.stderr)

    def close(self) -> None:
        self._bar.close()


def _left(before: str, eta: Eta) -> str:
    """`about 7 min left`; nothing where that is not known, or nothing is left."""
    seconds = eta.seconds
    return f"{before}about {duration(seconds)} left" if seconds else ""


def progress_for(runs: Sequence[Run], metric: str, jobs: int = 1) -> Progress:
    """A bar where stderr is a terminal, plain lines elsewhere. `jobs` runs are trained at a time."""
    return (Bar if on_terminal() else Lines)(runs, metric, jobs)
