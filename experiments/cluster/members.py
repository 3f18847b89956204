"""The workers of a scheduler, and the runs that they hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from distributed import Future

from engine.errors import UserError
from engine.training.resume import find_last
from experiments.cluster import worker
from experiments.running.execute import Job


@dataclass
class Held:
    """A job of the runner's until it has a result."""

    job: Job
    order: worker.Order
    epochs: int = 0  # how many the runner has heard of
    progress: tuple[int, int] = (0, 0)
    deaths: int = 0
    sent: set[tuple[str, str]] = field(default_factory=set)  # (worker, hash) of data that were sent for it


@dataclass
class Member:
    """A worker of the cluster. `host`: which of them share their files."""

    address: str
    state: Literal["asked", "idle", "busy", "refused"] = "asked"
    host: str = ""
    future: Future | None = None
    key: str = ""  # of the task
    held: Held | None = None


class Lost(Exception):
    """The worker is no longer there."""


def last_step(folder: Path) -> int:
    """Optimiser steps in the last checkpoint of a run, as far as it can be seen from here."""
    try:
        last = find_last(folder).start
        return 0 if last is None else int(last.training["position"]["step"])
    except (UserError, OSError, KeyError):
        return 0
