"""Whether a run may go on, and from which checkpoint: its settings compared with those that it was started with."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset
from engine.errors import UserError, shortened, warn
from engine.network.checkpoint import Checkpoint, Damaged, read, stored_hash
from engine.network.network import Network
from engine.reading.yaml_text import dump_yaml, read_yaml
from engine.training.folder import BEST, CONFIG, LAST, LOG, PREVIOUS, foreign_file, has_run, read_epochs
from engine.training.history import Position
from engine.training.state import read_run

MOST_TOLD = 8  # differences that a message names
SUM_CHUNK = 1024  # samples


def holds_run(folder: Path, resume: bool) -> bool:
    """Whether the folder holds anything of a run (RUN_FILES); UserError where it does and `resume` is not wished, and
    where a file lies in the way that is none of a run."""
    found = has_run(folder)
    if not found and (foreign := foreign_file(folder)):
        raise UserError(f"{foreign}: lies where a run would write, and is none of a run; choose another folder (--out)")
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
            warn(f"{text}; {what}")
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
            last = read_run(path)
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
        best = read(path)
    except UserError as error:
        return str(error)
    found, own = best.training.get("epoch"), best.training.get("run")
    wanted = position["history"].get("best_hash")  # the checkpoints of earlier versions have neither this nor `run`
    if found == epoch:
        right = wanted is None or stored_hash(best) == wanted
        return "" if right else f"{path}: is not the network of epoch {epoch} of this run"
    # One of a later epoch than the checkpoint's is written again when that epoch is trained again.
    if isinstance(found, int) and found > position["epoch"]:
        right = own is None and wanted is None or own == run_hash(last.training["settings"], last.training["data"])
        return "" if right else f"{path}: is of another run"
    return f"{path}: is of epoch {found}, and not of the best one ({epoch})"


def run_hash(settings: Mapping[str, Any], data: str) -> str:
    """SHA-256, hexadecimal, of what a run is known by: its settings and the hash of its data."""
    return hashlib.sha256(json.dumps([settings, data], sort_keys=True).encode()).hexdigest()


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


def data_record(training: Dataset, validation: Dataset | None) -> dict[str, Any]:
    """What a checkpoint keeps of the data: `data`, their hash, by which a resumed run is known, and `facts`, by which
    it is told what differs: of each part the samples, of each class too, and checksums of images, labels and weights.
    """
    parts = {"training": training, "validation": validation}
    facts = {name: facts_of(dataset) for name, dataset in parts.items() if dataset is not None}
    return {"data": data_hash(parts.values()), "facts": facts}


def facts_of(dataset: Dataset) -> dict[str, Any]:
    """What `data_record` keeps of one part."""
    labels = dataset.labels
    arrays = {"images": dataset.images, "labels": labels, "weights": dataset.sample_weights}
    sums = {name: _checksum(array) for name, array in arrays.items() if array is not None}
    counts = np.bincount(labels).tolist() if labels.ndim == 1 else []
    return {"samples": len(dataset), "shape": list(dataset.sample_shape), "counts": counts, "sums": sums}


def _checksum(array: NDArray[Any]) -> int:
    """CRC-32 of the array's bytes, a part at a time where it is mapped from a file."""
    sum_ = 0
    for start in range(0, len(array), SUM_CHUNK):
        sum_ = zlib.crc32(np.ascontiguousarray(array[start : start + SUM_CHUNK]).data, sum_)
    return sum_


def check_same_run(
    path: Path, last: Checkpoint, net: Network, settings: Mapping[str, Any], data: Mapping[str, Any]
) -> None:
    """UserError unless the checkpoint in `path` belongs to a run of this network, with these settings and data (see
    `data_record`); it names what differs, with the values then and now."""
    stored = last.training["settings"]
    found = _differences(stored, settings, settings)
    if "total" not in (stored.get("average") or {"total": None}):
        found.pop("average.total", None)  # a checkpoint of an earlier version
    # The network has the trainer's seed in a configuration: one change is told once.
    told = {values for key, values in found.items() if key == "seed"}
    found = {key: values for key, values in found.items() if key != "order_seed" or values not in told}
    graphs = [{"network": _by_name(each)} for each in (last.graph, plain(net.to_config()))]
    network = _differences(graphs[0], graphs[1], ["network"])
    found |= {key: values for key, values in network.items() if key != "network.seed" or values not in told}
    if last.preprocess is not None and net.preprocess is not None:
        # What is done to a batch is not in the data's hash.
        found |= _differences({"preprocess": last.preprocess}, {"preprocess": plain(net.preprocess)}, ["preprocess"])
    names = list(last.class_names), list(net.class_names)
    renamed = bool(names[0] and names[1] and names[0] != names[1])
    others = _other_names(*names) if renamed else []
    if last.training["data"] != data["data"]:
        others += other_data(last.training.get("facts", {}), data["facts"], names[1])
    elif not renamed:
        _refuse(path, found)
        return
    words = f"other data: {_some(others)}" if others else "other data"
    also = [f"{key} = {then}, now it is {now}" for key, (then, now) in found.items()]
    raise UserError(f"{path}: the run was started with {'; '.join([words, *([_some(also)] if also else [])])}")


def check_same_config(folder: Path, config: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """UserError unless config.yaml in the folder says that the run without a checkpoint had this configuration. The
    keys in `free` may differ: they do not change what a run computes."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder}: holds files of a run but neither {LAST} nor {CONFIG}; remove them, or choose another folder"
        )
    stored, now = read_yaml(path), plain(config)
    _refuse(path, _differences(stored, now, [key for key in {**now, **stored} if key not in free]))


def check_length(path: Path, last: Checkpoint, epochs: int) -> None:
    """UserError where the checkpoint in `path` is of no run, or of one that is longer than `epochs`."""
    if "position" not in last.training:
        raise UserError(f"{path}: this checkpoint holds no run that can be resumed")
    position = Position(**last.training["position"])
    begun = " and a part of the next one" if position.batch else ""
    if position.epoch + bool(begun) > epochs:
        count = f"{position.epoch} epoch{'s' * (position.epoch != 1)}"
        raise UserError(
            f"{path.parent}: the run has {count}{begun} behind it, more than epochs = {epochs}; nothing was changed: "
            f"give epochs = {position.epoch + bool(begun)} or more, or choose another folder (--out)"
        )


def config_as_trained(folder: Path, config: Mapping[str, Any], free: Collection[str]) -> dict[str, Any]:
    """The configuration for the record of a run that has ended: the keys in `free`, in which `config` may differ, as
    they stand in the folder, where its file can be read."""
    try:
        stored = read_yaml(folder / CONFIG)
    except UserError:
        return dict(config)
    return {**config, **{key: stored[key] for key in free if key in stored}}


def warn_of_other_choices(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """A warning where a run goes on with another instruction set, batch or algorithms than it was started with."""
    if before != now:
        warn(
            f"the run was started with the instruction set {before['isa']} and a batch of {before['batch']}, and goes "
            f"on with {now['isa']} and {now['batch']}: its bits will differ from those of an undisturbed run"
        )


def _refuse(path: Path, found: Mapping[str, tuple[str, str]]) -> None:
    if found:
        words = [f"{key} = {then}, now it is {now}" for key, (then, now) in found.items()]
        raise UserError(f"{path}: the run was started with {_some(words)}")


def _some(words: Sequence[str]) -> str:
    more = f"; and {len(words) - MOST_TOLD} more" if len(words) > MOST_TOLD else ""
    return "; ".join(words[:MOST_TOLD]) + more


def _differences(
    stored: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str], prefix: str = ""
) -> dict[str, tuple[str, str]]:
    """{key: (value then, value now)}, in words, of what differs under these keys; keys of mappings are dotted."""
    found: dict[str, tuple[str, str]] = {}
    for key in keys:
        then, today = stored.get(key), now.get(key)
        if then == today:
            continue
        if isinstance(then, Mapping) and isinstance(today, Mapping):
            found |= _differences(then, today, {**today, **then}, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = shortened(str(then)), shortened(str(today))
    return found


def _by_name(graph: Mapping[str, Any]) -> dict[str, Any]:
    """A network's description with its layers by name, as far as it has names."""
    named = {each["name"]: each for each in graph["nodes"]}
    return {**graph, "nodes": named, "order": list(named)}


def _other_names(then: Sequence[str], now: Sequence[str]) -> list[str]:
    pairs = zip_longest(then, now, fillvalue="missing")
    return [
        f"class {place} was {shortened(old)}, now it is {shortened(new)}"
        for place, (old, new) in enumerate(pairs)
        if old != new
    ]


def other_data(then: Mapping[str, Any], now: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """What differs in the parts of the data, in words."""
    found = []
    for part in {**now, **then}:
        if part not in then or part not in now:
            found += [f"there {'was' if part in then else 'is now'} a {part} part"] if then else []
            continue
        old, new = then[part], now[part]
        if old["samples"] != new["samples"]:
            found.append(f"{part} had {old['samples']} samples, now it has {new['samples']}")
        if old["shape"] != new["shape"]:
            found.append(f"images of {part} had shape {old['shape']}, now they have {new['shape']}")
        for place, (before, after) in enumerate(zip_longest(old["counts"], new["counts"], fillvalue=0)):
            if before != after:
                name = names[place] if place < len(names) else place
                found.append(f"{before} samples of {part} were of class {name}, now it is {after}")
        for what in {**old["sums"], **new["sums"]}:
            if old["samples"] == new["samples"] and old["sums"].get(what) != new["sums"].get(what):
                found.append(f"the {what} of {part} are others, or in another order")
    return found
