"""Weights of Keras: a model (.keras, .h5) or its weights alone (.weights.h5), read as numbers by h5py.

What a model's description (config.json) says is read as text: no layer is built of it, and no function in it is run.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.errors import UserError, shown
from engine.layers.topology import Topology
from engine.reading.strict_json import parse_json
from engine.weights.keras_layout import KerasLayout
from engine.weights.source import Described, Source

MOST_DESCRIPTION = 1 << 22  # bytes of config.json; that of a network of 300 layers has 300,000
EPSILON = 1e-3
CONTAINERS = ("Functional", "Sequential", "Model")
ZIP = b"PK\x03\x04"


@contextmanager
def keras_source(path: Path, topology: Topology) -> Iterator[Source]:
    """The layers of a Keras model that have weights. UserError for a file that is none, or holds a Lambda layer."""
    try:
        from engine.weights import h5  # only now: h5py is an extra
    except ImportError:
        raise UserError('Keras keeps its weights as HDF5: pip install "cnn-engine[keras]"') from None
    with path.open("rb") as file:
        is_zip = file.read(len(ZIP)) == ZIP
    description: Any = None
    content: Any = path
    if is_zip:
        description, content = _unpacked(path)
    try:
        with h5.opened(content) as file:
            yield _source(path, file, description, topology, h5)
    except (OSError, RuntimeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a whole HDF5 file ({error}); truncated, or not written by Keras") from None


def _unpacked(path: Path) -> tuple[Any, io.BytesIO]:
    """The description and the weights in a .keras archive, whose entries are not compressed."""
    wanted = {"config.json": MOST_DESCRIPTION, "model.weights.h5": path.stat().st_size}
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name, most in wanted.items():
                entries = [entry for entry in archive.infolist() if entry.filename == name]
                if len(entries) != 1:
                    raise UserError(f"{path}: expected one {name} in the archive, but it has {len(entries)}")
                entry = entries[0]
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size > most:
                    raise UserError(f"{path}: {name} is compressed, encrypted or of more than {most} bytes")
                found[name] = archive.read(entry)
        return parse_json(found["config.json"]), io.BytesIO(found["model.weights.h5"])
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a whole .keras file ({error}); truncated or damaged") from None


def _source(path: Path, file: Any, description: Any, topology: Topology, h5: ModuleType) -> Source:
    """The modules in an open HDF5 file, in the order of the description where there is one; `h5` is the reader."""
    legacy = file.get("model_weights", None) if "model_weights" in file else None
    if legacy is None and "layer_names" in file.attrs:
        legacy = file
    if description is None and "model_config" in file.attrs:
        description = _parsed(path, file.attrs["model_config"])
    layers = None if description is None else _layers(path, description)
    try:
        modules, ignored, ordered = (
            h5.numbered_modules(file, layers) if legacy is None else h5.legacy_modules(legacy, layers)
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return Source(str(path), modules, KerasLayout(topology, layers), ordered, EPSILON, ignored)


def _parsed(path: Path, text: Any) -> Any:
    try:
        return parse_json(text)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: the model's description is no JSON ({error})") from None


def _layers(path: Path, description: Any) -> dict[str, Described] | None:
    """Name → class and arguments of the layers of a description, in its order; None for a model that is a class of its
    own, which describes none."""
    config = description.get("config") if isinstance(description, dict) else None
    entries = config.get("layers") if isinstance(config, dict) else config if isinstance(config, list) else None
    if entries is None:
        return None
    found: dict[str, Described] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        kind = entry.get("class_name") if isinstance(entry, dict) else None
        arguments = entry.get("config") if isinstance(entry, dict) else None
        name = arguments.get("name") if isinstance(arguments, dict) else None
        if not isinstance(kind, str) or not isinstance(arguments, Mapping) or not isinstance(name, str):
            raise UserError(
                f"{path}: the model's description has the layer {shown(entry)}, expected class and arguments"
            )
        if kind == "Lambda":
            raise UserError(
                f"{path}: refused: the layer {shown(name)} is a Lambda, a function in the file, of which nothing here "
                "can tell what it does"
            )
        if kind in CONTAINERS:
            raise UserError(f"{path}: the layer {shown(name)} is a model of its own; save that one, or a flat model")
        if name in found:
            raise UserError(f"{path}: two layers have the name {shown(name)}")
        found[name] = Described(kind, arguments)
    return found
