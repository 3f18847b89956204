"""`load_weights`: from a file of PyTorch or Keras into a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from engine.errors import UserError, unknown
from engine.layers.topology import Topology
from engine.network.network import Network
from engine.network.parameters import Array, as_numbers
from engine.weights.keras import keras_source
from engine.weights.match import match
from engine.weights.notes import notes
from engine.weights.report import Report, Row
from engine.weights.source import Source
from engine.weights.torch import torch_source

Framework = Literal["torch", "keras"]
Opener = Callable[[Path, Topology], AbstractContextManager[Source]]

SOURCES: Mapping[str, Opener] = {"torch": torch_source, "keras": keras_source}
SUFFIXES = {
    **dict.fromkeys((".pt", ".pth", ".bin", ".safetensors"), "torch"),
    **dict.fromkeys((".keras", ".h5", ".hdf5"), "keras"),
}


def load_weights(
    net: Network,
    path: Path | str,
    source: Framework | None = None,
    names: Mapping[str, str] | str | None = None,
    strict: bool = True,
) -> Report:
    """Load the weights in a file of PyTorch or Keras into `net`, and say what went where.

    path     a state_dict of PyTorch, by `torch.save` or as safetensors; a model or weights of Keras (.keras, .h5)
    source   "torch" or "keras"; None: by the file's name
    names    layer of the network → module of the file. None: by equal names; then, in strict mode, a layer and a module
             are taken that fit each other by their shapes and nothing else. "order": one after the other, as layers run
             and as the file has the modules, which safetensors and .weights.h5 do not tell
    strict   UserError where a layer or a module is left over; otherwise they are reported, and only names count

    Kernels of Keras (H, W, in, out) are turned into (out, in, H, W), and what follows a Flatten is put into the order
    C, H, W. Nothing in a file is run. UserError, and nothing is loaded, for a file that is none of these or is damaged,
    for shapes that do not fit, and for a normalisation whose epsilon is told and is another one.
    """
    path = Path(path)
    kind = SUFFIXES.get(path.suffix.lower()) if source is None else source
    if kind is None:
        raise UserError(f"{path}: cannot tell by its name whose weights these are: give source, torch or keras")
    if kind not in SOURCES:
        raise unknown("source", kind, SOURCES)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with SOURCES[kind](path, net.topology) as file:
        found = match(net.topology, file, names, strict)
        arrays: dict[str, Array] = {}
        rows = []
        for _, placements, how in found.pairs.values():
            for each in placements:
                values = each.convert(each.stored.read())
                arrays[each.key] = as_numbers(each.key, values)
                rows.append(Row(each.key, each.theirs, values.shape, each.change, how))
        told = notes(net.topology, {name: pair[0] for name, pair in found.pairs.items()}, file.epsilon)
    net.load_parameters({key: array for key, array in arrays.items() if key in net.store.slots}, strict=False)
    net.load_buffers({key: array for key, array in arrays.items() if key in net.store.buffer_slots}, strict=False)
    return Report(str(path), tuple(rows), found.kept, found.unused, file.ignored, told)
