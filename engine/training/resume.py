"""Whether a run may go on, and from which checkpoint: its settings compared with those that it was started with."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cnncore
import numpy as np
import yaml

from engine.data.dataset import Dataset
from engine.errors import UserError
from engine.network.checkpoint import Checkpoint, Damaged, read
from engine.network.network import Network
from engine.schema import read_yaml
from engine.training.folder import BEST, CONFIG, LAST, LOG, PREVIOUS, RUN_FILES, read_epochs
from engine.training.history import Position


def holds_run(folder: Path, resume: bool) -> bool:
    """Whether the folder holds anything of a run (RUN_FILES); UserError where it does and `resume` is not wished."""
    found = any((folder / name).is_file() and (folder / name).stat().st_size for name in RUN_FILES)
    if found and not resume:
        raise UserError(
            f"{folder}: this folder holds a run already; go on with it (--resume), or choose another folder (--out)"
        )
    return found


@dataclass(frozen=True)
class Found:
    """What a run can go on from.

    last       the newest checkpoint that can be read, or None
    path       where it lies
    faults     what is wrong with those that are newer; each begins with its file
    lost_best  what is wrong with the checkpoint of the best epoch that `last` tells of, or nothing
    """

    last: Checkpoint | None
    path: Path
    faults: tuple[str, ...]
    lost_best: str = ""

    @property
    def best_is_last(self) -> bool:
        """Whether the network of the best epoch stands in `last` too."""
        if self.last is None:
            return False
        position = Position(**self.last.training["position"])
        return position.batch == 0 and position.history["best_epoch"] == position.epoch

    @property
    def start(self) -> Checkpoint | None:
        """The checkpoint to go on from, or None: the network of a best epoch that is lost must be trained again."""
        return None if self.lost_best and not self.best_is_last else self.last

    def take(self) -> Checkpoint | None:
        """`start`, from now on under the name of the last checkpoint. A warning tells of everything that is damaged."""
        text = "; ".join(filter(None, (*self.faults, self.lost_best)))
        if self.start is None:
            what = "the run begins again"
        elif self.path.name == LAST:
            what = "written anew, as it is that of the last checkpoint"
        else:
            what = f"the run goes on from {self.path}"
            self.path.replace(self.path.with_name(LAST))
        if text:
            warnings.warn(f"{text}; {what}", stacklevel=2)
        return self.start


def find_last(folder: Path) -> Found:
    """The newest checkpoint of the run in the folder that can be read.

    UserError, which says what to do, where there is none but files that may be whole, if not for this program.
    """
    faults: list[UserError] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.is_file():
            continue
        try:
            last = read(path)
        except UserError as error:
            faults.append(error)
            continue
        if path.name == PREVIOUS and not faults:
            faults.append(UserError(f"{folder / LAST}: is missing"))
        return Found(last, path, tuple(map(str, faults)), _lost_best(folder / BEST, last))
    for fault in faults:
        if not isinstance(fault, Damaged):
            raise UserError(f"{fault}; remove it to begin again, or choose another folder (--out)")
    return Found(None, folder / LAST, tuple(map(str, faults)))


def trained_epochs(folder: Path) -> list[dict[str, Any]]:
    """The epochs that the run in the folder has behind it: by its log, or by its last checkpoint where that is damaged.

    UserError where both are.
    """
    try:
        return read_epochs(folder / LOG)
    except UserError as error:
        found = find_last(folder)
        if found.last is None or "position" not in found.last.training:
            raise UserError(f"{error}; no checkpoint of the run tells it either: remove {folder}") from None
        epochs: list[dict[str, Any]] = found.last.training["position"]["history"]["epochs"]
        return epochs


def _lost_best(path: Path, last: Checkpoint) -> str:
    """What is wrong with the checkpoint of the best epoch so far; nothing where there is no such epoch."""
    position: Mapping[str, Any] = last.training.get("position") or {"history": {"best_epoch": None}}
    epoch = position["history"]["best_epoch"]
    if epoch is None:
        return ""
    try:
        found = read(path).training.get("epoch")
    except UserError as error:
        return str(error)
    # One of a later epoch than the checkpoint's is written again when that epoch is trained again.
    if found == epoch or isinstance(found, int) and found > position["epoch"]:
        return ""
    return f"{path}: is of epoch {found}, and not of the best one ({epoch})"


@contextmanager
def instruction_set(name: str | None) -> Iterator[None]:
    """Compute with this instruction set (None: the present one) for a while."""
    before = cnncore.isa()
    try:
        if name is not None:
            cnncore.set_isa(name)
        yield
    finally:
        cnncore.set_isa(before)


def plain(value: Any) -> Any:
    """The value in JSON's own types, as reading a checkpoint gives it."""
    return json.loads(json.dumps(value))


def to_yaml(mapping: Mapping[str, Any]) -> str:
    """The mapping as YAML, keys in their order."""
    return yaml.safe_dump(plain(mapping), sort_keys=False, allow_unicode=True)


def data_hash(datasets: Iterable[Dataset | None]) -> str:
    """SHA-256 of the images, labels and sample weights."""
    digest = hashlib.sha256()
    for dataset in datasets:
        if dataset is not None:
            digest.update(np.ascontiguousarray(dataset.images).data)
            digest.update(np.ascontiguousarray(dataset.labels).data)
            if dataset.sample_weights is not None:
                digest.update(dataset.sample_weights.data)
    return digest.hexdigest()


def check_same_run(path: Path, last: Checkpoint, net: Network, settings: Mapping[str, Any], data: str) -> None:
    """UserError unless the checkpoint in `path` belongs to a run of this network, with these settings and data."""
    if "position" not in last.training:
        raise UserError(f"{path}: this checkpoint holds no run that can be resumed")
    if last.graph != plain(net.to_config()):
        raise UserError(f"{path}: the run was started with another network")
    stored = last.training["settings"]
    _refuse_difference(path, stored, settings, settings)
    if last.preprocess is not None and net.preprocess is not None:
        # What is done to a batch is not in the data's hash.
        before, now = (
            {f"preprocess.{k}": v for k, v in each.items()} for each in (last.preprocess, plain(net.preprocess))
        )
        _refuse_difference(path, before, now, [*now, *before])
    if last.training["data"] != data:
        raise UserError(f"{path}: the run was started with other data")


def check_same_config(folder: Path, config: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """UserError unless config.yaml in the folder says that the run without a checkpoint had this configuration. The
    keys in `free` may differ: they do not change what a run computes."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder}: holds files of a run but neither {LAST} nor {CONFIG}; remove them, or choose another folder"
        )
    stored, now = read_yaml(path), plain(config)
    _refuse_difference(path, stored, now, [key for key in [*now, *stored] if key not in free])


def warn_of_other_choices(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """A warning where a run goes on with another instruction set, batch or algorithms than it was started with."""
    if before != now:
        warnings.warn(
            f"the run was started with the instruction set {before['isa']} and a batch of {before['batch']}, and goes "
            f"on with {now['isa']} and {now['batch']}: its bits will differ from those of an undisturbed run",
            stacklevel=2,
        )


def _refuse_difference(path: Path, stored: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        if stored.get(key) != now.get(key):
            raise UserError(f"{path}: the run was started with {key} = {stored.get(key)}, now it is {now.get(key)}")
