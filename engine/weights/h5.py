"""Finds the arrays in an HDF5 file of Keras, in both of its forms. It needs h5py, which comes with an extra."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import h5py
import numpy as np

from engine.errors import UserError, shown
from engine.weights.source import Array, Described, Module, Stored

MOST_OBJECTS = 100_000  # groups and arrays that are walked through
DEEPEST = 32
OTHERS = ("optimizer", "_optimizer", "metrics", "_metrics", "loss_tracker", "compile_metrics", "_compile_metrics")
SEEDS = "seed_generator"  # a counter of layers that draw


Found = tuple[tuple[Module, ...], tuple[str, ...], bool]
"""Modules, names of what is ignored, and whether the modules are in the order of the model."""


def opened(content: Any) -> Any:
    """An HDF5 file, by its path or its bytes, to be read."""
    return h5py.File(content, "r")


def numbered_modules(file: Any, layers: Mapping[str, Described] | None) -> Found:
    """Of Keras 3: the arrays of a layer lie in its group `vars` as 0, 1, …, and the group tells the layer's name."""
    arrays: dict[str, dict[str, Stored]] = {}
    names: dict[str, str] = {}
    ignored = []
    for path, dataset in _datasets(file):
        owner, _, number = path.rpartition("/vars/")
        if path.startswith("vars/") or not number.isdecimal():
            raise UserError(f"{shown(path)} is no array of a layer, as Keras 3 writes them: LAYER/vars/NUMBER")
        if owner.split("/")[0] in OTHERS or owner.split("/")[-1] == SEEDS:
            ignored.append(path)
            continue
        told = file[f"{owner}/vars"].attrs.get("name")
        names[owner] = told if isinstance(told, str) else owner
        arrays.setdefault(owner, {})[number] = dataset
    if len(set(names.values())) < len(names):
        raise UserError("two layers of the file have one name")
    found = {}
    for owner, given in arrays.items():
        described = None if layers is None else layers.get(names[owner])
        kind = described.kind if described else _class_of(owner.rpartition("/")[2])
        in_order = {number: given[number] for number in sorted(given, key=int)}
        found[names[owner]] = Module(names[owner], in_order, kind, described.arguments if described else {})
    return _ordered(found, None if layers is None else list(layers)), tuple(ignored), layers is not None


def legacy_modules(group: Any, layers: Mapping[str, Described] | None) -> Found:
    """Of the older form: a group for each layer, with the arrays by name somewhere below it."""
    arrays: dict[str, dict[str, Stored]] = {}
    ignored = []
    for path, dataset in _datasets(group):
        layer, _, rest = path.partition("/")
        role = rest.rpartition("/")[2].partition(":")[0]
        if SEEDS in rest:
            ignored.append(path)
            continue
        if role in arrays.setdefault(layer, {}):
            raise UserError(f"the layer {shown(layer)} has two arrays {shown(role)}: is it a model of its own?")
        arrays[layer][role] = dataset
    found = {}
    for name, given in arrays.items():
        described = None if layers is None else layers.get(name)
        found[name] = Module(name, given, *((described.kind, described.arguments) if described else ()))
    order = [each if isinstance(each, str) else bytes(each).decode() for each in group.attrs.get("layer_names", ())]
    return _ordered(found, order or None), tuple(ignored), bool(order)


def _ordered(found: Mapping[str, Module], order: list[str] | None) -> tuple[Module, ...]:
    places = {name: place for place, name in enumerate(order or ())}
    return tuple(sorted(found.values(), key=lambda module: places.get(module.name, len(places))))


def _datasets(group: Any) -> Iterator[tuple[str, Stored]]:
    """Path and array of every dataset below a group. UserError for whatever is not simply in the file: links into
    others, numbers kept elsewhere, and compressed ones, of which a few bytes unpack to any amount."""
    pending = [("", group)]
    walked = 0
    while pending:
        path, current = pending.pop(0)
        for name in current:
            walked += 1
            inner = f"{path}/{name}" if path else name
            if walked > MOST_OBJECTS or inner.count("/") > DEEPEST:
                raise UserError(f"the file has more than {MOST_OBJECTS} groups, or groups {DEEPEST} deep in each other")
            if not isinstance(current.get(name, getlink=True), h5py.HardLink):
                raise UserError(f"refused: {shown(inner)} is a link, which Keras does not write")
            item = current[name]
            if isinstance(item, h5py.Group):
                pending.append((inner, item))
            elif isinstance(item, h5py.Dataset):
                if item.chunks or item.external or item.is_virtual or item.shape is None:
                    raise UserError(
                        f"refused: {shown(inner)} is compressed, in parts or elsewhere, unlike Keras's arrays"
                    )
                yield inner, Stored(tuple(item.shape), item.dtype.name, partial(_read, item))


def _read(dataset: Any) -> Array:
    return np.asarray(dataset[()])


def _class_of(part: str) -> str:
    """The class that the name of a group is made of: conv2d_1 is of Conv2D."""
    stem = re.sub(r"_\d+$", "", part)
    return next((kind for kind in KINDS if _snake(kind) == stem), stem)


def _snake(name: str) -> str:
    """As Keras makes a name of a class: a sign between a small letter or digit and a capital one."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


KINDS = (
    "Conv2D",
    "DepthwiseConv2D",
    "Conv2DTranspose",
    "Dense",
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "PReLU",
)
"""Classes whose arrays a layer of ours can have."""
