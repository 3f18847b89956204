"""Whether a run may go on: its settings compared with those that it was started with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cnncore
import numpy as np

from engine.data.dataset import Dataset
from engine.errors import UserError
from engine.network.checkpoint import Checkpoint
from engine.network.network import Network
from engine.reading.yaml_text import dump_yaml, read_yaml
from engine.training.folder import CONFIG, LAST, RUN_FILES


def holds_run(folder: Path, resume: bool) -> bool:
    """Whether the folder holds anything of a run (RUN_FILES); UserError where it does and `resume` is not wished."""
    found = any((folder / name).is_file() and (folder / name).stat().st_size for name in RUN_FILES)
    if found and not resume:
        raise UserError(
            f"{folder}: this folder holds a run already; go on with it (--resume), or choose another folder (--out)"
        )
    return found


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
    return dump_yaml(plain(mapping))


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
        raise UserError(f"{folder}: holds files of a run but neither {LAST} nor {CONFIG}; choose another folder")
    stored, now = read_yaml(path), plain(config)
    _refuse_difference(path, stored, now, [key for key in [*now, *stored] if key not in free])


def _refuse_difference(path: Path, stored: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        if stored.get(key) != now.get(key):
            raise UserError(f"{path}: the run was started with {key} = {stored.get(key)}, now it is {now.get(key)}")
