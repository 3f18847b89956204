"""A whole network as an ONNX model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import __version__, layers
from engine.errors import UserError
from engine.export.onnx import moves, pointwise, quantized, windows
from engine.export.onnx.emitter import Emitter, Place, Write
from engine.export.onnx.preprocess import emit_preprocess
from engine.files import write_atomically
from engine.layers import Layer, layer_name
from engine.layers.topology import INPUT, Topology
from engine.network.network import Network
from engine.quantize.network import AnyNetwork, QuantizedNetwork
from engine.reading.packages import optional

PRODUCER = "cnn-engine"
OUTPUT = "output"
# Keys of the metadata.
PREPROCESS, CLASS_NAMES, IN_GRAPH, TRAINED_BY = "preprocess", "class_names", "preprocess_in_graph", "trained_by"
OPSETS = range(14, 23)  # which all engines load; the first in which they agree on Softmax and on BatchNormalization
OPSET = 17
IRS = range(7, 11)
ANSWERS = ("as it is", "logits", "softmax")

WRITES: Mapping[type[Layer], Write] = {
    layers.Conv2D: windows.convolution,
    layers.ConvTranspose2D: windows.transposed,
    layers.MaxPool2D: windows.max_pool,
    layers.AvgPool2D: windows.average_pool,
    layers.GlobalAvgPool2D: windows.global_average,
    layers.Pad2D: moves.pad,
    layers.PadChannels: moves.pad_channels,
    layers.Upsample2D: moves.upsample,
    layers.Linear: moves.linear,
    layers.BatchNorm: pointwise.batch_norm,
    layers.GroupNorm: pointwise.group_norm,
    layers.LayerNorm: pointwise.group_norm,
    layers.InstanceNorm: pointwise.instance_norm,
    layers.Dropout: moves.unchanged,
    layers.Dropout2D: moves.unchanged,
    layers.StochasticDepth: moves.unchanged,
    layers.Scale: moves.scale,
    layers.ReLU: pointwise.relu,
    layers.LeakyReLU: pointwise.leaky_relu,
    layers.ELU: pointwise.elu,
    layers.PReLU: pointwise.prelu,
    layers.GELU: pointwise.gelu,
    layers.SiLU: pointwise.silu,
    layers.Hardswish: pointwise.hard_swish,
    layers.Hardsigmoid: pointwise.hard_sigmoid,
    layers.Softplus: pointwise.softplus,
    layers.ReLU6: pointwise.clip,
    layers.Clip: pointwise.clip,
    layers.Sigmoid: pointwise.sigmoid,
    layers.Tanh: pointwise.tanh,
    layers.Softmax: pointwise.softmax,
    layers.Flatten: moves.flatten,
    layers.Add: moves.add,
    layers.Multiply: moves.multiply,
    layers.Concat: moves.concat,
}
"""What writes the nodes of a layer."""


@dataclass(frozen=True)
class OnnxOptions:
    """What can be chosen about a model.

    opset, ir    the versions of ONNX's operators and of its file; opset None: 17, or 19, their least, for networks of
                 integers
    answer       what the model gives: "as it is", the network's own output; "logits", without a Softmax at its end;
                 "softmax", with one
    preprocess   True: the model takes uint8 images as `Preprocess.prepare` gives them, and scales and normalises them
    """

    opset: int | None = None
    ir: int = 8
    answer: str = "as it is"
    preprocess: bool = False

    def __post_init__(self) -> None:
        for name, known in (("opset", OPSETS), ("ir", IRS)):
            value = getattr(self, name)
            if name == "opset" and value is None:
                continue
            if type(value) is not int or value not in known:
                raise UserError(f"{name} of an ONNX model must be {known[0]} to {known[-1]}, not {value!r}")
        if self.answer not in ANSWERS:
            raise UserError(f"answer of an ONNX model must be one of {', '.join(ANSWERS)}, not {self.answer!r}")


def opset_of(network: AnyNetwork, options: OnnxOptions) -> int:
    """The version of the operators; UserError for one that is too old for networks of integers."""
    if not isinstance(network, QuantizedNetwork):
        return options.opset or OPSET
    if options.opset is not None and options.opset < quantized.OPSET:
        raise UserError(f"a quantised network needs opset {quantized.OPSET} or later, not {options.opset}")
    return options.opset or quantized.OPSET


def to_onnx(network: AnyNetwork, path: Path | str, options: OnnxOptions | None = None) -> None:
    """Write the network as an ONNX model: input "input", float32 (N, *input_shape), output "output", for any N.

    What is done to images before, and the names of classes, stand in the model's metadata, as JSON under `preprocess`
    and `class_names`. A quantised network is written with QuantizeLinear and DequantizeLinear round every layer.
    UserError for a layer that ONNX cannot express, before anything is written; OSError, which names the file, where it
    cannot be written.
    """
    write_atomically(Path(path), to_model(network, options or OnnxOptions()).SerializeToString(deterministic=True))


def to_model(network: AnyNetwork, options: OnnxOptions) -> Any:
    """The same as an onnx.ModelProto."""
    onnx = optional("onnx", "onnx", "writing ONNX")
    for node in network.topology.nodes:
        if type(node.layer) not in WRITES:
            raise UserError(
                f"layer {node.name!r}: {layer_name(node.layer)} cannot be written as ONNX: it is none of ours"
            )
    parts = [network] if isinstance(network, Network) else [network.head, network.tail]
    arrays = {key: array for part in parts if part for key, array in (part.parameters() | part.buffers()).items()}
    out = Emitter(onnx, opset_of(network, options), arrays, taken={INPUT})
    value = emit_preprocess(out, network.preprocess, INPUT, network.input_shape) if options.preprocess else INPUT
    if isinstance(network, Network):
        output = _emit(out, network.topology, value, options)
    else:
        output = value if network.head is None else _emit(out, network.head.topology, value, OnnxOptions())
        output = quantized.emit_body(out, network.body, output)
        output = output if network.tail is None else _emit(out, network.tail.topology, output, options)
    last = network.topology.node(network.topology.output).layer
    if options.answer == "softmax" and not isinstance(last, layers.Softmax):
        output = out.node("Softmax", "softmax", [output], axis=1)
    _name_output(out, output)
    return _model(onnx, out, network, options)


def _emit(out: Emitter, topology: Topology, source: str, options: OnnxOptions) -> str:
    """Nodes of layers in float; the name of their output."""
    values = {INPUT: source}
    for node in topology.nodes:
        if node.name == topology.output and options.answer == "logits" and isinstance(node.layer, layers.Softmax):
            values[node.name] = values[node.inputs[0]]
            continue
        shapes = tuple(topology.shape_of(name) for name in node.inputs)
        place = Place(out, node, tuple(values[name] for name in node.inputs), shapes)
        values[node.name] = WRITES[type(node.layer)](place)
    return values[topology.output]


def _name_output(out: Emitter, value: str) -> None:
    """Call the value "output"; what had that name gets another."""
    if value == INPUT:  # no layer did anything
        value = out.node("Identity", "same", [INPUT])
    if value == OUTPUT:
        return
    names = {value: OUTPUT}
    if OUTPUT in out.taken:
        names[OUTPUT] = out.unique(OUTPUT)
    for node in out.nodes:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]
    out.constants = {names.get(name, name): array for name, array in out.constants.items()}


def _model(onnx: Any, out: Emitter, network: AnyNetwork, options: OnnxOptions) -> Any:
    helper, numpy_helper, kinds = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    entry = kinds.UINT8 if options.preprocess else kinds.FLOAT
    graph = helper.make_graph(
        out.nodes,
        PRODUCER,
        [helper.make_tensor_value_info(INPUT, entry, ["batch", *network.input_shape])],
        [helper.make_tensor_value_info(OUTPUT, kinds.FLOAT, ["batch", *network.output_shape])],
        [numpy_helper.from_array(array, name) for name, array in out.constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name=PRODUCER,
        producer_version=__version__,
        ir_version=options.ir,
        opset_imports=[helper.make_opsetid("", out.opset)],
    )
    helper.set_model_props(model, _metadata(network, options))
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise UserError("the network's numbers do not fit into one ONNX file, of 2 GiB at most")
    onnx.checker.check_model(model, full_check=True)
    return model


def _metadata(network: AnyNetwork, options: OnnxOptions) -> dict[str, str]:
    found = {}
    if network.preprocess is not None:
        found[PREPROCESS] = json.dumps(network.preprocess)
    if network.class_names:
        found[CLASS_NAMES] = json.dumps(list(network.class_names), ensure_ascii=False)
    if network.trained_by is not None:
        found[TRAINED_BY] = json.dumps(network.trained_by)
    if options.preprocess:
        found[IN_GRAPH] = "true"
    return found


def random_input(network: AnyNetwork, count: int, preprocess: bool, seed: int = 0) -> np.ndarray:
    """Inputs to compare engines with: float32, or with `preprocess` uint8, (count, *input_shape)."""
    draws = np.random.default_rng(seed)
    shape = (count, *network.input_shape)
    if preprocess:
        return draws.integers(0, 256, shape, np.uint8)
    return draws.standard_normal(shape, np.float32)
