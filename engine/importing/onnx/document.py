"""An ONNX file as plain data: its operations in order, its constants, its one input and one output.

A file is looked at as it is: nothing in it is trusted, and nothing in it is run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import UserError, listed, shortened, shown
from engine.importing.onnx.tensors import Constants

OLDEST, NEWEST = 6, 28  # opsets
OURS = ("", "ai.onnx")  # names of the domain of ONNX's own operators
MOST_NODES = 5_000
SETTINGS = {"FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "FLOATS": "floats", "INTS": "ints"}
"""Kinds of attributes that are read → the field that holds the value."""


@dataclass
class Op:
    """One node. `attributes` are numbers, texts, tuples of numbers and arrays; `used` has the names of those that were
    asked for: one that nobody asks for is one that we do not know."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    used: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"node {shown(self.name or self.outputs[0])} ({shortened(self.kind)})"

    def refused(self, reason: object) -> UserError:
        """The error that names the node and says why it cannot be read."""
        return UserError(f"{self}: {reason}")

    def has(self, index: int) -> bool:
        """Whether an input stands there."""
        return len(self.inputs) > index and self.inputs[index] != ""

    def get(self, name: str, default: Any = None) -> Any:
        self.used.add(name)
        return self.attributes.get(name, default)

    def whole(self, name: str, default: int) -> int:
        value = self.get(name, default)
        if type(value) is not int:
            raise self.refused(f"attribute {name} must be a whole number, not {shown(value)}")
        return value

    def flag(self, name: str, default: int) -> bool:
        """A whole number that stands for no or yes; engines differ in what they take another one for."""
        value = self.whole(name, default)
        if value not in (0, 1):
            raise self.refused(f"attribute {name} must be 0 or 1, not {shown(value)}")
        return value == 1

    def number(self, name: str, default: float) -> float:
        """As the shortest decimal that is this float32: 1e-05, where the file has 9.99999974e-06."""
        value = self.get(name, default)
        if isinstance(value, (str, bytes, tuple, np.ndarray)):
            raise self.refused(f"attribute {name} must be a number, not {shown(value)}")
        with np.errstate(over="ignore"):
            result = float(str(np.float32(value)))
        if not math.isfinite(result):
            raise self.refused(f"attribute {name} must be a finite float32, not {shown(value)}")
        return result

    def text(self, name: str, default: str) -> str:
        value = self.get(name, default)
        if not isinstance(value, str):
            raise self.refused(f"attribute {name} must be a text, not {shown(value)}")
        return value

    def wholes(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        value = self.get(name, tuple(default))
        if not isinstance(value, tuple) or not all(type(each) is int for each in value):
            raise self.refused(f"attribute {name} must be a list of whole numbers, not {shown(value)}")
        return value

    def check_all_used(self) -> None:
        """UserError for an attribute that has not been asked for."""
        unread = [name for name in self.attributes if name not in self.used]
        if unread:
            raise self.refused(f"attribute {shown(unread[0])} is none that the engine knows")


@dataclass(frozen=True)
class Document:
    """What a file holds. `shape` is the input's, per sample; `batch` its first extent where that is stated as a number,
    else None. `output` is the value that the network gives."""

    ops: tuple[Op, ...]
    constants: Constants
    opset: int
    input: str
    shape: tuple[int, ...]
    batch: int | None
    output: str
    metadata: Mapping[str, str]

    def living(self) -> Document:
        """Without the operations that do not lead to the output."""
        needed, kept = {self.output}, []
        for op in reversed(self.ops):
            if needed.intersection(op.outputs) - {""}:
                kept.append(op)
                needed.update(op.inputs)
        return replace(self, ops=tuple(reversed(kept)))


def parsed(onnx: Any, data: bytes) -> Any:
    """The onnx.ModelProto of these bytes; UserError where they are none."""
    broken = import_module("google.protobuf.message").DecodeError  # onnx stands on it
    try:
        model = onnx.ModelProto.FromString(data)
    except (broken, RecursionError, ValueError):
        raise UserError("is no ONNX model, or a damaged one") from None
    if not model.HasField("graph") or not model.graph.node:
        raise UserError("is no ONNX model: it has no graph with nodes")
    return model


def document(
    onnx: Any,
    model: Any,
    folder: Path | None,
    shape: Sequence[int] | None = None,
    output: str | None = None,
    begin: str | None = None,
) -> Document:
    """The model as plain data.

    folder   where files beside it lie; None: there are none
    shape    of the input, per sample, where the model does not state it
    output   which of several outputs is the network's
    begin    the value that takes the input's place: what gives it is left out
    """
    graph = model.graph
    constants = Constants(onnx, folder)
    for tensor in graph.initializer:
        constants.add_tensor(utf8(tensor.name), tensor)
    for what, found in (
        ("functions of its own", model.functions),
        ("sparse initialisers", graph.sparse_initializer),
    ):
        if len(found):
            raise UserError(f"has {what}, which the engine does not read")
    for entry in (*graph.input, *graph.output):
        utf8(entry.name)
    inputs = [each for each in graph.input if each.name not in constants]
    if len(inputs) != 1:
        names = listed([shown(each.name) for each in inputs]) or "none"
        raise UserError(f"expected one input that is no constant, but the model has {len(inputs)}: {names}")
    stated = _stated_shape(onnx, inputs[0], begin is not None)
    if len(graph.node) > MOST_NODES:
        raise UserError(f"has {len(graph.node)} nodes, of {MOST_NODES} at most")
    opset = _opset(model)
    ops = _ops(onnx, graph.node, {inputs[0].name, *constants}, opset)
    if begin is not None and not any(begin in op.outputs for op in ops):
        raise UserError(f"says that it scales images itself, but no node gives {begin!r}")
    if begin is not None:
        ops = tuple(op for op in ops if begin not in op.outputs)
    first = inputs[0].name if begin is None else begin
    batch, sample = _sample_shape(inputs[0].name, stated, shape)
    metadata = {utf8(each.key): utf8(each.value) for each in model.metadata_props}
    whole = Document(ops, constants, opset, first, sample, batch, _output(onnx, graph, output), metadata)
    return whole.living()


def _opset(model: Any) -> int:
    versions = [each.version for each in model.opset_import if each.domain in OURS]
    if len(versions) != 1:
        raise UserError("does not state the version (opset) of ONNX's operators")
    if not OLDEST <= versions[0] <= NEWEST:
        raise UserError(f"is of opset {versions[0]}, but {OLDEST} to {NEWEST} are read")
    return int(versions[0])


def _ops(onnx: Any, nodes: Iterable[Any], known: set[str], opset: int) -> tuple[Op, ...]:
    """All nodes; UserError unless each stands behind what it reads, and gives what nobody else gives."""
    found = []
    for node in nodes:
        for text in (node.op_type, node.domain, node.name, *node.input, *node.output):
            utf8(text)
        kind = node.op_type if node.domain in OURS else f"{node.domain}.{node.op_type}"
        if not any(node.output):
            raise UserError(f"node {shown(node.name)} ({shortened(kind)}) gives nothing")
        op = Op(kind, node.name, tuple(node.input), tuple(node.output), {})
        for name in op.inputs:
            if name and name not in known:
                raise op.refused(f"reads {shown(name)}, which is neither a constant nor the output of a node before it")
        for name in op.outputs:
            if name and name in known:
                raise op.refused(f"gives {shown(name)}, as something before it does")
        known.update(name for name in op.outputs if name)
        if node.domain in OURS:
            _check_inputs(onnx, op, opset)
        op.attributes = {utf8(each.name): _setting(onnx, op, each) for each in node.attribute}
        found.append(op)
    return tuple(found)


def _check_inputs(onnx: Any, op: Op, opset: int) -> None:
    """UserError where the operator has other numbers of inputs; one that this opset lacks is refused later."""
    try:
        schema = onnx.defs.get_schema(op.kind, opset)
    except onnx.defs.SchemaError:
        return
    if not schema.min_input <= len(op.inputs) <= schema.max_input:
        wanted = " to ".join(map(str, sorted({schema.min_input, schema.max_input})))
        raise op.refused(f"has {len(op.inputs)} inputs, expected {wanted}")


def _setting(onnx: Any, op: Op, attribute: Any) -> Any:
    """The value of an attribute; what no operator of ours has is given as it is, and refused when nobody asks."""
    kinds = onnx.AttributeProto.AttributeType
    kind = kinds.Name(attribute.type) if attribute.type in kinds.values() else ""
    if kind not in SETTINGS:
        return None
    value = getattr(attribute, SETTINGS[kind])
    if kind == "STRING":
        return value.decode("utf-8", "replace")
    if kind == "TENSOR":
        array = Constants(onnx, None)
        array.add_tensor(attribute.name, value)
        try:
            return array[attribute.name]
        except UserError as error:
            raise op.refused(error) from None
    return tuple(value) if kind in ("FLOATS", "INTS") else value


def _stated_shape(onnx: Any, entry: Any, any_kind: bool) -> list[int | None] | None:
    """The extents that the model states for its input, None for one that is a name; None without any."""
    if not entry.type.HasField("tensor_type"):
        raise UserError(f"its input {shown(entry.name)} is no tensor")
    tensor = entry.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT and not any_kind:
        kinds = onnx.TensorProto.DataType
        kind = kinds.Name(tensor.elem_type).lower() if tensor.elem_type in kinds.values() else "unknown"
        raise UserError(f"its input {shown(entry.name)} is of type {kind}, but the engine computes in float32")
    if not tensor.HasField("shape"):
        return None
    return [each.dim_value if each.HasField("dim_value") and each.dim_value > 0 else None for each in tensor.shape.dim]


def _sample_shape(
    name: str, stated: list[int | None] | None, given: Sequence[int] | None
) -> tuple[int | None, tuple[int, ...]]:
    """The batch that the file states, and the extents of a sample."""
    if given is not None:
        sample = tuple(given)
        if stated is not None and (
            len(stated) != len(sample) + 1
            or any(known not in (None, extent) for known, extent in zip(stated[1:], sample, strict=True))
        ):
            raise UserError(f"its input {shown(name)} has shape {_written(stated)}, which is not (N, *{sample})")
        return (stated[0] if stated else None), sample
    if not stated:
        raise UserError(f"does not state the shape of its input {shown(name)}: give input_shape")
    if any(extent is None for extent in stated[1:]):
        raise UserError(
            f"its input {shown(name)} has shape {_written(stated)}, of which all but the first extent must be known: "
            "give input_shape"
        )
    return stated[0], tuple(extent for extent in stated[1:] if extent is not None)


def _written(stated: Sequence[int | None]) -> str:
    return f"({', '.join('?' if extent is None else str(extent) for extent in stated)})"


def _output(onnx: Any, graph: Any, wanted: str | None) -> str:
    """The name of the output; of several the one that is wanted, or the only one of floats: a classifier's label may
    stand beside its probabilities."""
    names = [each.name for each in graph.output]
    if wanted is not None:
        if wanted not in names:
            raise UserError(f"has no output {wanted!r}: its outputs are {listed([shown(name) for name in names])}")
        return wanted
    floats = [each.name for each in graph.output if each.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    chosen = names if len(names) == 1 else floats
    if len(chosen) != 1:
        outputs = listed([shown(name) for name in names]) or "none"
        raise UserError(f"expected one output of float32, but the model's outputs are {outputs}; say which (output)")
    return str(chosen[0])


def utf8(text: Any) -> str:
    """A text of the file; the parser gives bytes for what is none."""
    if not isinstance(text, str):
        raise UserError(f"has a name that is no UTF-8: {shown(text)}")
    return text


def word(name: str) -> str:
    """The name as a layer can have it: without white space and without a slash at its beginning."""
    return re.sub(r"\s+", "_", "".join(sign for sign in name if sign.isprintable())).strip("/")[:200]
