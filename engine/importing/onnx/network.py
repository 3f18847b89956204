"""A network from an ONNX file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import layers
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.export.onnx.model import CLASS_NAMES, IN_GRAPH, PREPROCESS, TRAINED_BY
from engine.export.onnx.preprocess import NORMALISED
from engine.importing.onnx import arithmetic, convolutions, norms, pointwise, pools, reshapes
from engine.importing.onnx.document import Document, Op, document, parsed
from engine.importing.onnx.fold import folded
from engine.importing.onnx.patterns import joined
from engine.importing.onnx.pointwise import unary
from engine.importing.onnx.reader import Handler, Reader
from engine.layers.topology import INPUT, Topology, checked_topology
from engine.network.inputs import checked_class_names, warn_of_nameless
from engine.network.network import Network
from engine.plan.layout import assign_slots
from engine.plan.table import byte_size
from engine.program.slots import total_floats
from engine.reading.memory import memory_for
from engine.reading.packages import optional

HANDLERS: Mapping[str, Handler] = {
    "Conv": convolutions.conv,
    "ConvTranspose": convolutions.conv_transpose,
    "Gemm": convolutions.gemm,
    "MatMul": convolutions.matmul,
    "MaxPool": pools.max_pool,
    "AveragePool": pools.average_pool,
    "OverhangingAverage": pools.overhanging_average,
    "GlobalAveragePool": pools.global_average,
    "GlobalMaxPool": pools.global_max,
    "ReduceMean": pools.reduce_mean,
    "BatchNormalization": norms.batch_norm,
    "InstanceNormalization": norms.instance_norm,
    "GroupNormalization": norms.group_norm,
    "GroupedInstances": norms.grouped_instances,
    "LayerNormalization": norms.layer_norm,
    "Relu": unary(lambda op: layers.ReLU()),
    "LeakyRelu": unary(lambda op: layers.LeakyReLU(op.number("alpha", 0.01))),
    "Elu": unary(lambda op: layers.ELU(op.number("alpha", 1.0))),
    "Sigmoid": unary(lambda op: layers.Sigmoid()),
    "Tanh": unary(lambda op: layers.Tanh()),
    "Softplus": unary(lambda op: layers.Softplus()),
    "HardSwish": unary(lambda op: layers.Hardswish()),
    "SiLU": unary(lambda op: layers.SiLU()),
    "Gelu": unary(pointwise.gelu),
    "HardSigmoid": pointwise.hard_sigmoid,
    "Celu": pointwise.celu,
    "Selu": pointwise.selu,
    "Mish": pointwise.mish,
    "Swish": pointwise.swish,
    "PRelu": pointwise.prelu,
    "Clip": pointwise.clip,
    "Max": pointwise.bound,
    "Min": pointwise.bound,
    "Softmax": pointwise.softmax,
    "Dropout": pointwise.dropout,
    "Identity": pointwise.unchanged,
    "Cast": pointwise.cast,
    "Add": arithmetic.add,
    "Sum": arithmetic.add,
    "Sub": arithmetic.sub,
    "Mul": arithmetic.mul,
    "Div": arithmetic.div,
    "Neg": arithmetic.neg,
    "Concat": arithmetic.concat,
    "Flatten": reshapes.flatten,
    "Reshape": reshapes.reshape,
    "Transpose": reshapes.transpose,
    "Squeeze": reshapes.squeeze,
    "Unsqueeze": reshapes.unsqueeze,
    "Pad": reshapes.pad,
    "Resize": reshapes.resize,
    "Upsample": reshapes.resize,
}
"""What reads an operation."""


def from_onnx(path: Path | str, input_shape: Sequence[int] | None = None, output: str | None = None) -> Network:
    """The network in an ONNX model, of the engine's own layers: it can be trained on.

    input_shape  of a sample, as the model has it, where the model does not state it
    output       which output of the model is the network's, where it has several of float32

    Channels come first here: a model of images (N, H, W, C) becomes a network of (N, C, H, W), and its weights are put
    in order. `preprocess` and `class_names` are taken from the metadata of our own files. UserError, which names the
    file, the node and the reason, for an operation or attribute that the engine does not have, and for a damaged file;
    nothing is built then. Constants in another file are read from the model's own folder only.
    """
    path = Path(path)
    onnx = optional("onnx", "onnx", "reading ONNX")
    data = path.read_bytes()
    try:
        network = imported(onnx, parsed(onnx, data), path.parent, input_shape, output).network
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if network.class_names:
        warn_of_nameless(f"{path}: the network has", network.class_names, network.output_shape[0])
    return network


@dataclass(frozen=True)
class Imported:
    """A network, and whether the model has the channels of its input last."""

    network: Network
    channels_last: bool


def imported(
    onnx: Any,
    model: Any,
    folder: Path | None = None,
    input_shape: Sequence[int] | None = None,
    output: str | None = None,
) -> Imported:
    """The network in an onnx.ModelProto whose further files lie in `folder`; the rest as in `from_onnx`."""
    scales = any(each.key == IN_GRAPH and each.value == "true" for each in model.metadata_props)
    begin = NORMALISED if scales else None
    whole = document(onnx, model, folder, input_shape, output, begin)
    reader = Reader(joined(whole), memory_for(model.ByteSize() + whole.constants.beside))
    for op in reader.document.ops:
        _read(reader, op)
    result = _output(reader)
    names = checked_class_names(_json(whole, CLASS_NAMES) or (), reader.nodes[result].shape[0])
    preprocess = _json(whole, PREPROCESS)
    if preprocess is not None:
        preprocess = Preprocess.from_dict(preprocess, f"metadata {PREPROCESS}").to_dict()
    topology = checked_topology(reader.input_shape, list(reader.nodes.values()), result)
    _check_weights(topology, reader.most)
    kept = {f"{node.name}.{spec.name}" for node in topology.nodes for spec in node.layer.buffers()}
    parameters = {key: array for key, array in reader.arrays.items() if key not in kept}
    network = Network(topology, arrays=(parameters, {key: reader.arrays[key] for key in kept}))
    network.preprocess = preprocess
    loss = _json(whole, TRAINED_BY)
    network.trained_by = None if loss is None else str(loss)
    network.name_classes(names)
    return Imported(network, reader.turned)


def _check_weights(topology: Topology, most: int) -> None:
    """UserError where the packed weights take far more memory than a file of this size has reason to."""
    need = 4 * sum(total_floats(slots.values()) for slots in assign_slots(topology))
    if need > most:
        raise UserError(
            f"its weights take {byte_size(need)} of memory, but {byte_size(most)} are allowed to a network from a file "
            "of this size"
        )


def _read(reader: Reader, op: Op) -> None:
    """Take the operation in: as a constant, or as layers."""
    constant = folded(reader, op)
    if constant is not None:
        reader.document.constants.add(op.outputs[0], constant)
    else:
        if op.kind not in HANDLERS:
            raise op.refused("the engine has no such operation")
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused with its layer
                reader.values[op.outputs[0]] = HANDLERS[op.kind](reader, op)
        except UserError as error:
            raise error if str(error).startswith(str(op)) else op.refused(error) from None
    op.check_all_used()


def _output(reader: Reader) -> str:
    """The layer that gives the network's output; UserError where its elements lie in another order than ONNX's."""
    name = reader.document.output
    if name in reader.document.constants or name not in reader.values:
        raise UserError(f"its output {name[:100]!r} does not depend on its input")
    value = reader.values[name]
    last = next((op for op in reversed(reader.document.ops) if name in op.outputs), None)
    if last is None:
        raise UserError(f"its output {name[:100]!r} is its input, and nothing is computed")
    turned = reader.turned and value.order is None and value.axes == (1, 2, 0)
    if not value.straight and not turned:
        raise last.refused(f"is the output, whose axes {value.axes} or elements lie in another order than the engine's")
    if len(value.axes) == 1:
        value = reader.flat(last, value)  # a map of one pixel, which was seen as a vector
    return reader.add(last, layers.Scale(1.0), [value]) if value.source == INPUT else value.source


def _json(whole: Document, key: str) -> Any:
    text = whole.metadata.get(key)
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"metadata {key}: is no JSON") from None
