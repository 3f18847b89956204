"""Quantised networks from files: numbers and text are read, and held to what the arithmetic needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import UserError, shown
from engine.layers.topology import topology_from_config
from engine.network.checkpoint import Damaged, Tensors, digest
from engine.network.inputs import warn_of_nameless
from engine.network.load import check_width, from_config
from engine.network.load import load as load_network
from engine.network.network import Network
from engine.quantize.arithmetic import Encoding
from engine.quantize.body import Body, Clamp, check_body
from engine.quantize.network import AnyNetwork, QuantizedNetwork
from engine.quantize.stored import ENDS, FORMAT_VERSION, METADATA_KEY, Document, Header, Notes
from engine.reading.memory import memory_for
from engine.reading.schema import read_stored
from engine.reading.strict_json import parse_json
from engine.reading.tensor_file import read_tensors


def is_quantized(path: Path | str) -> bool:
    """Whether a file says in its header that it holds a quantised network; False for what cannot be read as one."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = parse_json(file.read(min(length, path.stat().st_size)))
    except (OSError, ValueError):
        return False
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return isinstance(metadata, dict) and METADATA_KEY in metadata


def load(path: Path | str) -> QuantizedNetwork:
    """The quantised network in a file, with `preprocess` and `class_names`.

    UserError that names the file when it is missing, truncated, changed, of another version or no such file, and for
    whatever its arithmetic could not bear: a layer without one, shapes that do not fit, numbers out of range, sums that
    could leave an int32.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        metadata, tensors = read_tensors(path)
    except ValueError as error:
        raise Damaged(f"{path}: not a whole safetensors file ({error}); truncated, or no quantised network") from None
    if METADATA_KEY not in metadata:
        raise UserError(f"{path}: a safetensors file, but not a quantised network of this project")
    try:
        header = parse_json(metadata[METADATA_KEY])
        version = header.get("version") if isinstance(header, dict) else None
        if version is not None and (type(version) is not int or version != FORMAT_VERSION):
            raise UserError(f"format {shown(version)} of quantised networks, but this program reads {FORMAT_VERSION}")
        stated = read_stored(Header, header, "header")
        if stated.sha256 != digest(stated.document, tensors):
            raise Damaged("the file was changed or damaged after it was written (SHA-256 differs)")
        net = _network(read_stored(Document, parse_json(stated.document), "header"), tensors)
        check_width(net, memory_for(path.stat().st_size))
    except Damaged as error:
        raise Damaged(f"{path}: {error}") from None
    except ValueError as error:  # a UserError is one
        raise UserError(f"{path}: {error}") from None
    warn_of_nameless(f"{path}: the network has", net.class_names, net.output_shape[0])
    return net


def load_any(path: Path | str) -> AnyNetwork:
    """The network in a file, quantised or not; UserError as `load` and engine.network.load.load have it."""
    return load(path) if is_quantized(path) else load_network(path)


def _network(document: Document, tensors: Tensors) -> QuantizedNetwork:
    groups = _grouped(tensors)
    topology = topology_from_config(document.graph)
    encodings = {name: Encoding(*_pair(name, each, (float, int))) for name, each in document.encodings.items()}
    clamps = {name: Clamp(*_pair(name, each, (int, int))) for name, each in document.clamps.items()}
    body = Body(topology, encodings, clamps, groups["body"])
    check_body(body)
    ends = {end: _end(end, getattr(document, end), groups) for end in ENDS}
    net = QuantizedNetwork(body, ends["head"], ends["tail"], read_stored(Notes, document.notes, "header: notes"))
    _check_joints(net)
    net.preprocess, net.trained_by = document.preprocess, document.trained_by
    net.name_classes(document.class_names)
    return net


def _pair(name: str, values: Any, kinds: tuple[type[Any], type[Any]]) -> Any:
    """Two numbers of these types, no truth values among them."""
    if (
        not isinstance(values, (list, tuple))
        or len(values) != 2
        or any(type(v) is not k for v, k in zip(values, kinds, strict=True))
    ):
        wanted = " and ".join(kind.__name__ for kind in kinds)
        raise UserError(f"the numbers of {shown(name)} must be {wanted}, not {shown(values)}")
    return values


def _end(end: str, graph: dict[str, Any] | None, groups: Mapping[str, Tensors]) -> Network | None:
    arrays = groups[f"{end}/parameters"], groups[f"{end}/buffers"]
    if graph is None:
        if any(arrays):
            raise UserError(f"there are tensors of a {end}, but the document describes none")
        return None
    part = from_config(graph, arrays)
    if damaged := part.store.first_nonfinite():
        raise UserError(f"{damaged} holds NaN or infinite values")
    return part


def _check_joints(net: QuantizedNetwork) -> None:
    """UserError where the parts do not fit to each other."""
    names = [node.name for part in (net.head, net.body, net.tail) if part is not None for node in part.topology.nodes]
    if len(set(names)) < len(names):
        raise UserError("two layers have one name")
    inner, outer = net.body.topology.input_shape, net.body.topology.output_shape
    if net.head is not None and net.head.output_shape != inner:
        raise UserError(f"the layers before the integers give shape {net.head.output_shape}, these take {inner}")
    if net.tail is not None and net.tail.input_shape != outer:
        raise UserError(f"the integers give shape {outer}, the layers behind them take {net.tail.input_shape}")


def _grouped(tensors: Tensors) -> dict[str, Tensors]:
    known = ["body", *(f"{end}/{group}" for end in ENDS for group in ("parameters", "buffers"))]
    groups: dict[str, Tensors] = {name: {} for name in known}
    for key, tensor in tensors.items():
        group = next((each for each in known if key.startswith(f"{each}/")), None)
        if group is None:
            raise UserError(f"the tensor {shown(key)} is of none of the groups {', '.join(known)}")
        groups[group][key.removeprefix(f"{group}/")] = tensor
    return groups
