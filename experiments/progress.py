"""What a study says while it runs: a bar on a terminal, a plain line per run elsewhere. Both on stderr."""

from __future__ import annotations

import sys
from typing import Protocol, TextIO

from experiments.store import Result, Run


class Progress(Protocol):
    """The runner's listener."""

    def start(self, run: Run) -> None:
        """A run begins."""

    def epoch(self) -> None:
        """An epoch of the current run has ended."""

    def finish(self, result: Result, repeated: bool) -> None:
        """A run has ended; `repeated` says that its result was on record already and nothing ran."""

    def close(self) -> None:
        """No more is to come, perhaps because of an error."""


def _outcome(result: Result) -> str:
    return result.error if result.score is None else f"score {result.score:.4f}"


class Lines:
    """One line per run, for logs and pipes."""

    def __init__(self, runs: int, out: TextIO | None = None):
        self._runs = runs
        self._done = 0
        self._out = out

    def start(self, run: Run) -> None:
        pass

    def epoch(self) -> None:
        pass

    def finish(self, result: Result, repeated: bool) -> None:
        self._done += 1
        how = "on record" if repeated else f"{result.seconds:.1f} s"
        line = f"[{self._done}/{self._runs}] {result.row}, seed {result.seed}: {_outcome(result)} ({how})"
        print(line, file=self._out or sys.stderr, flush=True)

    def close(self) -> None:
        pass


class Bar:
    """A bar over the epochs of all runs, with the time that is left."""

    def __init__(self, epochs_per_run: dict[str, int]):
        """epochs_per_run: for each run's label, how many epochs it takes at most."""
        from tqdm import tqdm

        self._epochs = epochs_per_run
        self._seen = 0
        self._bar = tqdm(total=sum(epochs_per_run.values()), unit="epoch", dynamic_ncols=True)

    def start(self, run: Run) -> None:
        self._seen = 0
        self._bar.set_description_str(run.label)

    def epoch(self) -> None:
        self._seen += 1
        self._bar.update(1)

    def finish(self, result: Result, repeated: bool) -> None:
        # A run on record or one that diverged took fewer epochs than the bar was told.
        label = f"{result.row}, seed {result.seed}"
        self._bar.update(self._epochs[label] - (0 if repeated else self._seen))
        if result.status == "diverged":
            self._bar.write(f"{label}: {result.error}", file=sys.stderr)

    def close(self) -> None:
        self._bar.close()


def progress_for(runs: list[Run]) -> Progress:
    """A bar where stderr is a terminal, plain lines elsewhere."""
    if sys.stderr.isatty():
        return Bar({run.label: run.config.epochs for run in runs})
    return Lines(len(runs))
