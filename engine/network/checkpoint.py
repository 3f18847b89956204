"""Checkpoints: one safetensors file with the network, what it needs to predict, and the state of its training.

Tensors are the parameters and buffers in the public layouts ("parameters/0.weights", "buffers/1.running_mean") and, in
a checkpoint of a training run, the optimiser's state ("optimizer/…"). The header's metadata holds one JSON document:
format version, graph, plan choices, preprocessing, class names, training state; NaN, which JSON lacks, stands there as
{"float": "nan"}. A SHA-256 over that document and all tensors detects any change. Loading reads numbers and text and
builds layers by name: it never runs code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise

from engine.errors import UserError
from engine.files import json_text, write_atomically

METADATA_KEY = "cnn-engine"
FORMAT_VERSION = 1
_NAMES = ("nan", "inf", "-inf")
GROUPS = ("parameters", "buffers", "optimizer")

Tensors = dict[str, NDArray[Any]]


class Damaged(UserError):
    """A checkpoint that is not what was written: cut off, or changed."""


class Storable(Protocol):
    """What a checkpoint takes from a network."""

    @property
    def preprocess(self) -> dict[str, Any] | None: ...

    @property
    def class_names(self) -> Sequence[str]: ...
    def to_config(self) -> dict[str, Any]: ...
    def parameters(self) -> Tensors: ...
    def buffers(self) -> Tensors: ...


@dataclass
class Checkpoint:
    """The content of a checkpoint.

    graph         what `Network.to_config` gives
    parameters, buffers   by name, public layouts
    preprocess    `Preprocess.to_dict`, or None when it is not known
    class_names   by label, or empty
    plan_choices  algorithm of each convolution and instruction set of the training plan
    optimizer     the session's state, for a run that can go on
    training      position, counters, history, settings of the run (JSON-able), or empty
    """

    graph: dict[str, Any]
    parameters: Tensors
    buffers: Tensors
    preprocess: dict[str, Any] | None = None
    class_names: list[str] = field(default_factory=list)
    plan_choices: dict[str, Any] = field(default_factory=dict)
    optimizer: Tensors = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, net: Storable, **rest: Any) -> Checkpoint:
        """The network as it is now, with its preprocessing and class names if it has them."""
        return cls(
            graph=net.to_config(),
            parameters=net.parameters(),
            buffers=net.buffers(),
            preprocess=net.preprocess,
            class_names=list(net.class_names or ()),
            **rest,
        )


def save(net: Storable, path: Path | str) -> None:
    """Write the network to `path`; a file that is there is replaced whole, or not at all."""
    write(path, Checkpoint.of(net))


def weights_hash(net: Storable) -> str:
    """SHA-256 (hex) of all parameters and running statistics: equal exactly when all bits are."""
    return stored_hash(Checkpoint.of(net))


def stored_hash(checkpoint: Checkpoint) -> str:
    """The `weights_hash` of the network in a checkpoint."""
    return _digest("", _grouped({"parameters": checkpoint.parameters, "buffers": checkpoint.buffers}))


def write(path: Path | str, checkpoint: Checkpoint, keep: Path | None = None) -> None:
    """Write a checkpoint so that `path` always holds a whole one: the old or the new. UserError for a tensor that is no
    array of numbers.

    keep: the name that the checkpoint that was there gets; of the two names, one always holds a whole checkpoint.
    """
    tensors = _grouped({group: getattr(checkpoint, group) for group in GROUPS})
    document = json_text(
        {
            "project": _project_version(),
            "graph": checkpoint.graph,
            "preprocess": checkpoint.preprocess,
            "class_names": checkpoint.class_names,
            "plan_choices": checkpoint.plan_choices,
            "training": checkpoint.training,
        },
        stand_in=_named_float,
    )
    header = {"version": FORMAT_VERSION, "sha256": _digest(document, tensors), "document": document}
    # One key only: safetensors writes several in a random order, and equal networks shall give equal files.
    write_atomically(Path(path), serialise(tensors, {METADATA_KEY: json.dumps(header)}), keep)


def read(path: Path | str) -> Checkpoint:
    """The checkpoint in `path`, verified; UserError that names the file otherwise: Damaged where it is not whole."""
    path = Path(path)
    if path.is_dir():
        raise UserError(
            f"{path}: no such checkpoint file, but a folder; give a file in it, such as {path / 'best.safetensors'}"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint file")
    metadata, tensors = _read_file(path)
    if METADATA_KEY not in metadata:
        raise UserError(f"{path}: a safetensors file, but not a checkpoint of this project")
    groups: dict[str, Tensors] = {group: {} for group in GROUPS}
    try:
        header = json.loads(metadata[METADATA_KEY])
        if header["version"] != FORMAT_VERSION:
            raise UserError(f"{path}: checkpoint format {header['version']}, but this program reads {FORMAT_VERSION}")
        if header["sha256"] != _digest(header["document"], tensors):
            raise Damaged(f"{path}: the checkpoint was changed or damaged after it was written (SHA-256 differs)")
        content: dict[str, Any] = json.loads(header["document"], object_hook=_float_named)
        for key, tensor in tensors.items():
            group, _, name = key.partition("/")
            groups[group][name] = tensor
        del content["project"]
        return Checkpoint(**{**content, **groups})
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Damaged(f"{path}: the checkpoint's header is not what this format prescribes") from None


def _read_file(path: Path) -> tuple[dict[str, str], Tensors]:
    with path.open("rb"):  # a file that may not be read is none that is damaged
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise Damaged(f"{path}: not a whole safetensors file ({error}); truncated, or no checkpoint") from None


def _grouped(groups: Mapping[str, Tensors]) -> Tensors:
    named = {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}
    return {name: _storable(name, tensor) for name, tensor in named.items()}


def _storable(name: str, tensor: Any) -> NDArray[Any]:
    """The tensor without gaps and, as safetensors writes the bytes as they lie, with the low byte first."""
    array = np.asarray(tensor)
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > 8:
        raise UserError(f"{name} has dtype {array.dtype}, but a checkpoint stores numbers of up to 64 bits")
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _named_float(value: float) -> dict[str, str]:
    """How NaN and infinities stand in the document: JSON has no numbers for them."""
    return {"float": str(value)}


def _float_named(content: dict[str, Any]) -> Any:
    """The inverse of `_named_float`, for every object of the document."""
    return float(content["float"]) if content.get("float") in _NAMES and len(content) == 1 else content


def _digest(document: str, tensors: Tensors) -> str:
    digest = hashlib.sha256(document.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()


def _project_version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # only now: a prediction starts faster without it

    try:
        return version("cnn-engine")
    except PackageNotFoundError:  # run from the tree, not installed
        return "source"
