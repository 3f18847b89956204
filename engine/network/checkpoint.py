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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as serialise

from engine.errors import UserError, shown, warn
from engine.files import json_text, write_atomically
from engine.layers.topology import Topology
from engine.network.inputs import checked_class_names
from engine.reading.schema import read_stored
from engine.reading.strict_json import check_depth, parse_json
from engine.reading.tensor_file import read_tensors

METADATA_KEY = "cnn-engine"
QUANTIZED_KEY = "cnn-engine-int8"  # of another format, see engine.quantize.stored
FORMAT_VERSION = 1
_NAMES = ("nan", "inf", "-inf")
GROUPS = ("parameters", "buffers", "optimizer")

Tensors = dict[str, NDArray[Any]]


class Damaged(UserError):
    """A checkpoint that is not what was written: cut off, or changed."""


@dataclass(frozen=True)
class _Header:
    """The metadata's one entry. `sha256` is that of the document, itself a JSON text, and of all tensors."""

    version: int
    sha256: str
    document: str


@dataclass(frozen=True)
class _Document:
    """What of a checkpoint is no array; the fields are those of Checkpoint."""

    project: str
    graph: dict[str, Any]
    preprocess: dict[str, Any] | None = None
    class_names: list[str] = field(default_factory=list)
    plan_choices: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    trained_by: str | None = None


@dataclass(frozen=True)
class _PlanChoices:
    """What `Plan.choices` gives, as far as a checkpoint has it."""

    isa: str = ""
    batch: int = 1
    mode: str = ""
    convolutions: dict[str, dict[str, str]] = field(default_factory=dict)


class Storable(Protocol):
    """What a checkpoint takes from a network."""

    @property
    def preprocess(self) -> dict[str, Any] | None: ...

    @property
    def class_names(self) -> Sequence[str]: ...
    @property
    def trained_by(self) -> str | None: ...
    @property
    def topology(self) -> Topology: ...
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
    trained_by    `Network.trained_by`
    """

    graph: dict[str, Any]
    parameters: Tensors
    buffers: Tensors
    preprocess: dict[str, Any] | None = None
    class_names: list[str] = field(default_factory=list)
    plan_choices: dict[str, Any] = field(default_factory=dict)
    optimizer: Tensors = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    trained_by: str | None = None

    @classmethod
    def of(cls, net: Storable, **rest: Any) -> Checkpoint:
        """The network as it is now, with its preprocessing and class names if it has them; UserError where these are
        none that could be used."""
        if net.preprocess is not None:
            from engine.data.preprocess import Preprocess  # only now: a first prediction loads nothing of data sets

            Preprocess.from_dict(net.preprocess)
        return cls(
            graph=net.to_config(),
            parameters=net.parameters(),
            buffers=net.buffers(),
            preprocess=net.preprocess,
            trained_by=net.trained_by,
            class_names=checked_class_names(
                () if net.class_names is None else net.class_names, net.topology.output_shape[0]
            ),
            **rest,
        )


def save(net: Storable, path: Path | str) -> None:
    """Write the network to `path`; a file that is there is replaced whole, or not at all."""
    warn_of_own_layers(net)
    write(path, Checkpoint.of(net))


def warn_of_own_layers(net: Storable) -> None:
    """Warn of layers that no checkpoint can bring back: it holds numbers and names, and no code."""
    own = net.topology.own_layers
    if own:
        name, kind = next(iter(own.items()))
        warn(
            f"layer {name!r} ({kind}) is not one of the engine's: engine.load cannot make the network from its "
            "checkpoint; build it in Python, and take the weights with engine.network.transfer.initialize"
        )


def weights_hash(net: Storable) -> str:
    """SHA-256 (hex) of all parameters and running statistics: equal exactly when all bits are."""
    return stored_hash(Checkpoint.of(net))


def stored_hash(checkpoint: Checkpoint) -> str:
    """The `weights_hash` of the network in a checkpoint."""
    return digest("", _grouped({"parameters": checkpoint.parameters, "buffers": checkpoint.buffers}))


def write(path: Path | str, checkpoint: Checkpoint, keep: Path | None = None) -> None:
    """Write a checkpoint so that `path` always holds a whole one: the old or the new. UserError for a tensor that is no
    array of numbers; a warning for one that holds NaN or infinity, with which nothing can be predicted or trained.

    keep: the name that the checkpoint that was there gets; of the two names, one always holds a whole checkpoint, and
    where the file system has hard links that is `path`.
    """
    tensors = _grouped({group: getattr(checkpoint, group) for group in GROUPS})
    content = {
        "project": project_version(),
        "graph": checkpoint.graph,
        "preprocess": checkpoint.preprocess,
        "class_names": checkpoint.class_names,
        "plan_choices": checkpoint.plan_choices,
        "training": checkpoint.training,
        **({"trained_by": checkpoint.trained_by} if checkpoint.trained_by else {}),
    }
    try:
        check_depth(content)
    except ValueError as error:
        raise UserError(f"{path}: {error}, so that it could not be read back") from None
    lost = next((name for name, tensor in tensors.items() if not np.isfinite(tensor).all()), None)
    if lost is not None:
        warn(f"{path}: the checkpoint is of no use, {lost} holds NaN or infinity; it is written all the same")
    document = json_text(content, stand_in=_named_float)
    header = {"version": FORMAT_VERSION, "sha256": digest(document, tensors), "document": document}
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
    if QUANTIZED_KEY in metadata:
        raise UserError(f"{path}: holds a quantised network, which engine.quantize.load reads")
    if METADATA_KEY not in metadata:
        raise UserError(f"{path}: a safetensors file, but not a checkpoint of this project")
    header = _parsed(path, metadata[METADATA_KEY])
    version = header.get("version") if isinstance(header, dict) else None
    if version is not None and (type(version) is not int or version != FORMAT_VERSION):
        raise UserError(f"{path}: checkpoint format {shown(version)}, but this program reads {FORMAT_VERSION}")
    try:
        stated = read_stored(_Header, header, "header")
        if stated.sha256 != digest(stated.document, tensors):
            raise UserError("the checkpoint was changed or damaged after it was written (SHA-256 differs)")
        content = read_stored(_Document, _parsed(path, stated.document, _float_named), "header")
        read_stored(_PlanChoices, content.plan_choices, "header: plan_choices")
    except Damaged:
        raise
    except UserError as error:
        raise Damaged(f"{path}: {error}") from None
    return Checkpoint(
        graph=content.graph,
        preprocess=content.preprocess,
        class_names=list(content.class_names),
        plan_choices=content.plan_choices,
        training=content.training,
        trained_by=content.trained_by,
        **_by_group(path, tensors),
    )


def _read_file(path: Path) -> tuple[dict[str, str], Tensors]:
    try:
        return read_tensors(path)
    except ValueError as error:
        raise Damaged(f"{path}: not a whole safetensors file ({error}); truncated, or no checkpoint") from None


def _parsed(path: Path, text: str, hook: Callable[[dict[str, Any]], Any] = dict) -> Any:
    try:
        return parse_json(text, hook)
    except ValueError as error:
        raise Damaged(f"{path}: the checkpoint's header is not what this format prescribes ({error})") from None


def _by_group(path: Path, tensors: Tensors) -> dict[str, Tensors]:
    """{"parameters": {name: tensor}, …} of tensors that are named "parameters/name"."""
    groups: dict[str, Tensors] = {group: {} for group in GROUPS}
    for key, tensor in tensors.items():
        group, _, name = key.partition("/")
        if group not in groups:
            raise Damaged(f"{path}: the tensor {shown(key)} is of none of the groups {', '.join(GROUPS)}")
        groups[group][name] = tensor
    return groups


def _grouped(groups: Mapping[str, Tensors]) -> Tensors:
    named = {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}
    return {name: storable(name, tensor) for name, tensor in named.items()}


def storable(name: str, tensor: Any) -> NDArray[Any]:
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


def digest(document: str, tensors: Tensors) -> str:
    """SHA-256 (hex) of a document and of tensors with their names, types and shapes."""
    digest = hashlib.sha256(document.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()


def project_version() -> str:
    """Of the installed package; "source" in a tree that is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # only now: a prediction starts faster without it

    try:
        return version("cnn-engine")
    except PackageNotFoundError:  # run from the tree, not installed
        return "source"
