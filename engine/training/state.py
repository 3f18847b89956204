"""What a checkpoint holds of a run, checked: whoever reads it further need not expect anything else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import UserError, shown, warn
from engine.network.checkpoint import Checkpoint, Damaged, read
from engine.reading.schema import read_stored
from engine.training.folder import is_epoch
from engine.training.history import History, Position

MOST = 2**53  # of whatever is counted
CHOSEN = ("isa", "batch", "convolutions")  # what a run that goes on needs of the choices of its plan


@dataclass(frozen=True)
class _Facts:
    """Of one part of the data; see `engine.training.resume.data_record`."""

    samples: int
    shape: list[int]
    counts: list[int]
    sums: dict[str, int]


@dataclass(frozen=True)
class _State:
    """The keys of `Checkpoint.training` in the checkpoint of a run that can go on."""

    settings: dict[str, Any]
    data: str
    position: dict[str, Any]
    facts: dict[str, _Facts] = field(default_factory=dict)
    initialized: dict[str, Any] | None = None


def read_run(path: Path) -> Checkpoint:
    """A checkpoint; UserError as `read` raises it, Damaged also where what it holds of a run is not what runs write."""
    last = read(path)
    if "position" in last.training:
        try:
            _check(last)
        except UserError as error:
            raise Damaged(f"{path}: {error}") from None
    return last


def _check(last: Checkpoint) -> None:
    missing = [name for name in CHOSEN if name not in last.plan_choices]
    if missing:
        raise UserError(f"header: plan_choices: the key {missing[0]!r} is missing")
    state = read_stored(_State, last.training, "header: training")
    where = "header: training: position"
    position = read_stored(Position, _without_infinities(state.position, "stop_best"), where)
    history = read_stored(History, _without_infinities(position.history, "best_value"), f"{where}: history")
    for name in ("epoch", "batch", "step", "samples", "stale", "seconds", "waited"):
        if not 0 <= getattr(position, name) <= MOST:
            raise UserError(f"{where}: {name} must be a number from 0 to 2^53, not {shown(getattr(position, name))}")
    for number, record in enumerate(history.epochs, 1):
        if not is_epoch(record) or record["epoch"] != number:
            raise UserError(f"{where}: history: expected the figures of epoch {number}, got {shown(record)}")
    if position.epoch != len(history.epochs):
        raise UserError(f"{where}: epoch {position.epoch} has {len(history.epochs)} epochs behind it")
    if history.best_epoch is not None and not 1 <= history.best_epoch <= position.epoch:
        raise UserError(f"{where}: history: the best epoch {shown(history.best_epoch)} is none of {position.epoch}")


def _without_infinities(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """With 0 for a metric that is NaN or infinite, which the best one so far may be."""
    value = given.get(name)
    return {**given, name: 0.0} if isinstance(value, float) and not math.isfinite(value) else dict(given)


def with_versions(before: Mapping[str, Sequence[str]], now: Mapping[str, str]) -> dict[str, list[str]]:
    """The versions with which a run was trained, by library, with the present ones; a warning where one is another.

    before   of the checkpoint that the run goes on from: empty for a new run, and where it does not tell
    """
    others = [f"{name} {before[name][-1]}, now {version}" for name, version in now.items()
              if before.get(name) and before[name][-1] != version]  # fmt: skip
    if others:
        warn(
            f"the run was trained with {'; '.join(others)}: what these decide in the preparation of images may differ "
            "from here on, and the bits from those of an undisturbed run"
        )
    known = {name: list(versions) for name, versions in before.items()}
    for name, version in now.items():
        if version not in known.setdefault(name, [])[-1:]:
            known[name].append(version)
    return known
