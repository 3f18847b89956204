"""The folder of a run: the names of its files, and what its log says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from engine.errors import UserError, nearest
from engine.files import PATIENCE, locked

# Files of a run folder; any of RUN_FILES with something in it makes the folder one that holds a run.
BEST, LAST, CONFIG, RESULT, LOG = "best.safetensors", "last.safetensors", "config.yaml", "result.json", "log.jsonl"
BEST_SUFFIX = Path(BEST).suffix
TABLE = "log.csv"  # LOG as a table
BOARD, EVENTS = "tensorboard", "events.out.tfevents.*"  # a folder, and its files
PREVIOUS = "previous.safetensors"  # what LAST was before it was written anew
RUN_FILES = (BEST, LAST, PREVIOUS, RESULT, LOG)
LOCK = ".lock"
# In the folder of a cross-validation: its record, and what the folders of its runs begin with.
CROSSVAL, FOLD, FINAL = "crossval.json", "fold-", "final-seed"
TRAINERS_KEY = "order_seed"  # in a CONFIG that holds a trainer's own settings, and in no configuration
MOST_EPOCHS = 1 << 53  # beyond, numbers of epochs are no floats
MOST_SECONDS = 1 << 53
LARGEST_FIGURE = 1e150  # the squares of figures, and their sums, are floats too
PARTS = ("train_", "val_", "test_")  # what the names of metrics begin with


def only_training(folder: Path, patience: float = PATIENCE) -> AbstractContextManager[None]:
    """Hold the folder of a run, or of several, for this process; UserError, which names the holder, where another one
    has it for `patience` seconds more. The folder is made."""
    return locked(
        folder / LOCK,
        lambda holder: (
            f"{folder}: another training ({holder}) is at work here; wait until it has ended, "
            "or choose another folder (--out)"
        ),
        patience,
    )


def has_run(folder: Path) -> bool:
    """Whether the folder holds anything of a run."""
    return any((folder / name).is_file() and (folder / name).stat().st_size for name in RUN_FILES)


def foreign_file(folder: Path) -> Path | None:
    """A file that a run would write over and none has written: a run makes its log before these."""
    if (folder / LOG).is_file():
        return None
    found = [folder / name for name in (CONFIG, TABLE) if (folder / name).is_file()]
    return next(iter([*found, *folder.glob(f"{BOARD}/{EVENTS}")]), None)


def remove_unfinished(folder: Path) -> None:
    """Remove what a process left behind that was killed while it wrote a file of the run."""
    for name in (*RUN_FILES, CONFIG, TABLE):
        for stale in folder.glob(f".{name}.*.tmp"):
            stale.unlink(missing_ok=True)


def no_run(folder: Path, lacking: str) -> UserError:
    """The error for a folder that is none of a run, for what it lacks: it names one within, where there are any, and
    of a cross-validation the one that was trained on all samples."""
    places = sorted(folder.glob(f"{FINAL}*")) or sorted({*folder.glob("*"), *folder.glob("runs/*")})
    runs = [place for place in places if has_run(place)]
    if not runs and (folder / LOG).is_file() and not _has_epochs(folder / LOG):
        again = "remove the folder, or train into another (--out)" if has_run(folder) else "train into the folder again"
        return UserError(
            f"{folder}: the run in it has {lacking}: it is in its first epoch, or ended there; if it ended, {again}"
        )
    if not runs:
        return UserError(f"{folder}: holds no run, it has {lacking}")
    what = "a cross-validation" if (folder / CROSSVAL).is_file() else "others within"
    final = runs[0].name.startswith(FINAL)
    more = f" or another of {len(runs)}" if len(runs) > 1 else ""
    why = ", which was trained on all samples" if final else more
    return UserError(f"{folder}: holds no run but {what}; give {runs[0]}{why}")


def _has_epochs(log: Path) -> bool:
    """Whether the log tells of an epoch; True too where it is damaged."""
    try:
        return bool(read_epochs(log))
    except UserError:
        return True


def nearest_run(place: Path) -> str:
    """The run that may be meant by the name of a folder that is not there, in words: one beside it, or in runs/."""
    runs = {each.name: each for each in (*Path("runs").glob("*"), *place.parent.glob("*")) if has_run(each)}
    near = nearest(place.name, runs)
    return f"; did you mean {runs[near[0]]}?" if near else ""


def find_checkpoint(source: Path) -> Path:
    """The checkpoint meant by a file, or by a run folder: the best epoch's, or, where no validation part
    picked that, the last epoch's. UserError for a folder without either.
    """
    if not source.is_dir():
        if not source.suffix and not source.exists():
            raise UserError(f"{source}: no such checkpoint or run folder{nearest_run(source)}")
        if source.suffix != BEST_SUFFIX and source.is_file() and has_run(source.parent):
            raise UserError(f"{source}: is no checkpoint; give the run's folder {source.parent}, or {BEST} in it")
        return source
    found = [source / name for name in (BEST, LAST) if (source / name).is_file()]
    if not found:
        raise no_run(source, f"neither {BEST} nor {LAST}")
    epochs = read_epochs(source / LOG) if len(found) > 1 else []
    blind = bool(epochs) and not any(name.startswith("val_") for name in epochs[0])
    return found[-1 if blind else 0]


def read_epochs(path: Path) -> list[dict[str, Any]]:
    """The epochs in a log.jsonl, in the order of its lines; none where there is no file.

    A last line without its end is being written and not counted; lines of other events are passed over. UserError,
    which names file and line, for any other that is no JSON object with an epoch (from 1) and figures (number or null).
    """
    try:
        lines = path.read_text("utf-8").split("\n")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise UserError(f"{path}: is damaged, it is not UTF-8 text") from None
    records = (_record(line, f"{path}, line {number}") for number, line in enumerate(lines[:-1], 1))
    return [record for record in records if "event" not in record]


def _record(line: str, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not ("event" in record or is_epoch(record)):
        raise UserError(f"{place}: is damaged, expected one JSON object with the epoch's numbers")
    return record


def is_epoch(record: Mapping[str, Any]) -> bool:
    """Whether the record has an epoch, from 1, seconds, and figures that are numbers or null."""
    epoch, seconds = record.get("epoch"), record.get("seconds")
    figures = [value for name, value in record.items() if name.startswith(PARTS)]
    return (
        type(epoch) is int
        and 0 < epoch < MOST_EPOCHS
        and (seconds is None or is_duration(seconds))
        and all(each is None or is_figure(each) for each in figures)
    )


def is_figure(value: object) -> bool:
    """Whether what stood in JSON is a number that can be reckoned with; Python reads NaN and Infinity there as well."""
    return type(value) in (int, float) and -LARGEST_FIGURE <= value <= LARGEST_FIGURE  # type: ignore[operator]


def is_duration(value: object) -> bool:
    """Whether what stood in JSON can be seconds that something took."""
    return is_figure(value) and 0 <= value <= MOST_SECONDS  # type: ignore[operator]


def trained_seconds(epochs: Sequence[Mapping[str, Any]]) -> float:
    """Seconds of training, summed over the epochs of a log."""
    return sum(float(each.get("seconds") or 0.0) for each in epochs)


def measured_values(record: Mapping[str, Any]) -> dict[str, float]:
    """The losses and metrics of an epoch's record."""
    return {name: value for name, value in record.items() if name.startswith(PARTS)}
