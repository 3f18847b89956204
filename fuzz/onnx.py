"""ONNX models: `engine.from_onnx`, and a prediction, of files that a parser of ONNX accepts.

What is accepted predicts, and says the same, but for rounding, when it is written as ONNX and read again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

import engine
from engine.export.onnx.model import OnnxOptions, to_model
from engine.reading.packages import optional
from fuzz.promises import promised, scratch
from fuzz.values import REALS, TEXTS, WHOLES, Plain, near, sprinkled

onnx = optional("onnx", "onnx", "this harness")
FOLDER = scratch()
PATH, AGAIN = FOLDER / "a.onnx", FOLDER / "again.onnx"
SIDE = 6
MOST_ELEMENTS = 1 << 20  # of an input that is predicted
KNOWN = {
    schema.name: set(schema.attributes) for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""
}
"""Operator → the names of its attributes, in any version."""
USUAL: dict[str, tuple[Any, ...]] = {
    "": (0, 1, -1, 2, 3, 0.5, [1, 1], [2, 2], [0, 1, 1, 0], "linear"),
    "auto_pad": ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"),
    "mode": ("nearest", "linear", "cubic", "constant", "reflect", "edge", "wrap"),
    "coordinate_transformation_mode": ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
    "pads": ([1, 1, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0], [1, 1]),
    "strides": ([2, 2], [1, 2], [3, 3]),
    "dilations": ([2, 2], [1, 2], [3, 1]),
    "kernel_shape": ([2, 2], [3, 3], [1, 6]),
    "axes": ([1], [-1], [2, 3], [-1, -2]),
    "perm": ([0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2], [0, 1]),
    "output_padding": ([1, 1], [0, 1]),
    "output_shape": ([12, 12], [6, 6]),
    "epsilon": (1e-3, 0.0, -1.0),
}
OPERATORS = (
    "Conv",
    "Relu",
    "Add",
    "Mul",
    "Reshape",
    "Flatten",
    "Transpose",
    "Gemm",
    "MaxPool",
    "Softmax",
    "Pad",
    "Clip",
    "AveragePool",
    "ConvTranspose",
    "Concat",
    "Squeeze",
    "ReduceMean",
    "Resize",
    "BatchNormalization",
    "Sub",
    "Div",
    "Identity",
)


def corpus() -> dict[str, bytes]:
    """Networks with every kind of node, and shapes that a file computes itself."""
    layers: dict[str, list[Any]] = {
        "convolutions": [
            engine.Conv2D(2, 4, 3, padding=1, groups=2),
            engine.BatchNorm(4),
            engine.SiLU(),
            engine.ConvTranspose2D(4, 2, 2, 2),
            engine.GroupNorm(2, 2),
            engine.GlobalAvgPool2D(),
            engine.Linear(2, 3),
            engine.Softmax(),
        ],
        "pools": [
            engine.MaxPool2D(3, 2, 1),
            engine.AvgPool2D(2, 2, ceil_mode=True),
            engine.Upsample2D(2),
            engine.Pad2D(1, "reflect"),
            engine.PReLU(2),
            engine.Flatten(),
            engine.Linear(72, 2, bias=False),
        ],
        "activations": [
            engine.GELU(),
            engine.Softplus(),
            engine.Hardswish(),
            engine.Clip(-1.0, 2.0),
            engine.Scale(0.5),
        ],
    }
    found = {}
    for name, each in layers.items():
        net = engine.Sequential(each, input_shape=(2, SIDE, SIDE), seed=1)
        net.class_names = [f"class {index}" for index in range(net.output_shape[0])]
        found[name] = to_model(net, OnnxOptions()).SerializeToString(deterministic=True)
    for name, model in (("shapes", _shapes()), ("options", _options())):
        found[name] = model.SerializeToString(deterministic=True)
    return found


def _shapes() -> Any:
    """Channels last, a flattening whose shape is computed, a residual sum."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["turned", "w"], ["c"], auto_pad="SAME_UPPER"),
        helper.make_node("Add", ["c", "b"], ["shifted"]),
        helper.make_node("Add", ["shifted", "turned"], ["sum"]),
        helper.make_node("Transpose", ["sum"], ["back"], perm=[0, 2, 3, 1]),
        helper.make_node("Shape", ["back"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
        helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["back", "target"], ["flat"]),
        helper.make_node("Gemm", ["flat", "m"], ["y"], transB=1, alpha=0.5),
    ]
    count = 2 * SIDE * SIDE
    arrays = {
        "w": np.full((2, 2, 3, 3), 0.25, np.float32),
        "b": np.array([[[0.5]], [[-0.5]]], np.float32),
        "zero": np.array([0], np.int64),
        "rest": np.array([-1], np.int64),
        "m": np.linspace(-1, 1, 2 * count, dtype=np.float32).reshape(2, count),
    }
    return _model(nodes, arrays, ["N", SIDE, SIDE, 2], opset=17)


def _options() -> Any:
    """Inputs that may be absent, constants that are computed, two branches that meet, axes that count from the end."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Slice", ["numbers", "from", "to", "", "step"], ["every"]),
        helper.make_node("Cast", ["every"], ["scales"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Resize", ["x", "", "scales"], ["large"], nearest_mode="round_prefer_ceil"),
        helper.make_node("Clip", ["large", "", "most"], ["clipped"]),
        helper.make_node("PRelu", ["large", "slopes"], ["bent"]),
        helper.make_node("InstanceNormalization", ["bent", "one", "one"], ["normal"], epsilon=1e-3),
        helper.make_node("Concat", ["clipped", "normal"], ["both"], axis=-3),
        helper.make_node("Pad", ["both", "pads", "", "axes"], ["padded"], mode="edge"),
        helper.make_node("AveragePool", ["padded"], ["small"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        helper.make_node("Dropout", ["small", "share"], ["kept"]),
        helper.make_node("Max", ["kept", "low"], ["bounded"]),
        helper.make_node("ReduceMean", ["bounded", "axes"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["bounded", "mean"], ["gated"]),
        helper.make_node("ReduceMean", ["gated", "axes"], ["features"], keepdims=0),
        helper.make_node("LayerNormalization", ["features", "four"], ["level"]),
        helper.make_node("Unsqueeze", ["level", "last"], ["column"]),
        helper.make_node("Squeeze", ["column", "last"], ["row"]),
        helper.make_node("MatMul", ["row", "m"], ["product"]),
        helper.make_node("Sub", ["product", "half"], ["y"]),
    ]  # fmt: skip
    arrays = {
        "numbers": np.array([1, 9, 1, 9, 2, 9, 2, 9], np.int64),
        "from": np.array([0], np.int64),
        "to": np.array([2**31 - 1], np.int64),
        "step": np.array([2], np.int64),
        "most": np.array(0.75, np.float32),
        "slopes": np.array([[[0.25]], [[0.5]]], np.float32),
        "one": np.ones(2, np.float32),
        "pads": np.array([0, 1, 1, 0], np.int64),
        "axes": np.array([-1, -2], np.int64),
        "share": np.array(0.25, np.float32),
        "low": np.array([-1], np.float32),
        "four": np.ones(4, np.float32),
        "last": np.array([-1], np.int64),
        "m": np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2),
        "half": np.array(0.5, np.float32),
    }
    return _model(nodes, arrays, ["N", 2, SIDE, SIDE], opset=18)


def _model(nodes: list[Any], arrays: dict[str, Any], shape: list[Any], opset: int) -> Any:
    """From "x" to "y", of two numbers for each sample."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, ["N", 2])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


def run(data: bytes) -> None:
    PATH.write_bytes(data)
    with promised(data):
        net = engine.from_onnx(PATH)
        if np.prod(net.input_shape) > MOST_ELEMENTS:
            return
        values = np.linspace(-1, 1, int(np.prod(net.input_shape)), dtype=np.float32).reshape(1, *net.input_shape)
        with np.errstate(all="ignore"):
            said = net.predict(values)
        assert said.shape == (1, *net.output_shape)
        engine.to_onnx(net, AGAIN)
        again = engine.from_onnx(AGAIN)
        repeated = again.predict(values.reshape(1, *again.input_shape)).reshape(said.shape)
        # What stood there in several operations may have become one layer by now, which rounds otherwise.
        np.testing.assert_allclose(repeated, said, rtol=1e-4, atol=1e-4 * _largest(said))


def _largest(values: Any) -> float:
    """The largest finite number, or 1 where that is below it."""
    finite = np.abs(values[np.isfinite(values)])
    return max(1.0, float(finite.max(initial=0)))


def mutate(data: bytes, most: int, seed: int, plain: Plain) -> bytes:
    rng = random.Random(seed)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # whatever the parser of protocol buffers says: it is no model any more
        return sprinkled(data, rng, plain, most)
    if not model.graph.node or rng.randrange(16) == 0:
        return sprinkled(data, rng, plain, most)
    try:
        for _ in range(rng.choice((1, 1, 2, 3))):
            rng.choice(CHANGES)(model, rng)
    except UnicodeDecodeError:  # the parser takes bytes for a text, and finds out when it is read
        return sprinkled(data, rng, plain, most)
    return bytes(model.SerializeToString(deterministic=True))


def _attribute(model: Any, rng: random.Random) -> None:
    """A number, text or list of an attribute, or a further one of those that the operator can have."""
    node = rng.choice(model.graph.node)
    if not node.attribute or rng.randrange(4) == 0:
        known = sorted(KNOWN.get(node.op_type, ())) or ["axis"]
        name = rng.choice(known)
        if name not in [each.name for each in node.attribute]:
            node.attribute.append(onnx.helper.make_attribute(name, rng.choice(USUAL.get(name, USUAL[""]))))
        return
    attribute = rng.choice(node.attribute)
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    changed = rng.choice(WHOLES + REALS + TEXTS) if rng.randrange(4) == 0 else near(value, rng)
    if isinstance(changed, list):
        changed = [each for each in changed if isinstance(each, (int, float))]
    try:
        made = onnx.helper.make_attribute(attribute.name, changed)
    except Exception:  # a value that no attribute can have
        node.attribute.remove(attribute)
        return
    attribute.CopyFrom(made)


def _extent(model: Any, rng: random.Random) -> None:
    """An extent of a constant or of the input."""
    tensors = [each.dims for each in model.graph.initializer if each.dims]
    shapes = [each.type.tensor_type.shape.dim for each in model.graph.input]
    number = rng.choice((0, 1, 2, 3, 5, 7, 64, 1000, 2**20, 2**31, 2**62, -1))
    if rng.randrange(2) and tensors:
        dims = rng.choice(tensors)
        dims[rng.randrange(len(dims))] = number
    elif shapes and shapes[0]:
        rng.choice(shapes[0]).dim_value = number


def _wiring(model: Any, rng: random.Random) -> None:
    """Which value a node reads or gives, which nodes there are and in which order."""
    nodes = model.graph.node
    place, other = rng.randrange(len(nodes)), rng.choice(nodes)
    node = nodes[place]
    what = rng.randrange(6)
    if what == 0 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice([*other.output, *other.input, "", "x", "input"])
    elif what == 1:
        node.op_type = rng.choice((*OPERATORS, other.op_type))
    elif what == 2 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif what == 3:
        node.input.append(rng.choice([*other.output, *other.input, ""]))
    elif what == 4 and len(nodes) > 1:
        del nodes[place]
    else:
        copied = onnx.NodeProto()
        copied.CopyFrom(other)
        copied.output[:] = [f"{name}/again" for name in copied.output]
        nodes.insert(place, copied)


def _constant(model: Any, rng: random.Random) -> None:
    """The bytes, the type or the place of a constant."""
    if not model.graph.initializer:
        return
    tensor = rng.choice(model.graph.initializer)
    what = rng.randrange(5)
    if what == 0:
        tensor.data_type = rng.choice((0, 1, 2, 6, 7, 8, 9, 10, 11, 16, 99))
    elif what == 1:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=rng.choice(("../a", "/etc/hosts", "a.onnx", "", ".")))
    elif what == 2 and tensor.raw_data:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data))]
    elif tensor.raw_data:
        changed = bytearray(tensor.raw_data)
        for _ in range(rng.choice((1, 2, 8))):
            changed[rng.randrange(len(changed))] = rng.choice((0, 1, 2, 127, 128, 255))
        tensor.raw_data = bytes(changed)


def _frame(model: Any, rng: random.Random) -> None:
    """Versions, names of inputs and outputs, metadata."""
    what = rng.randrange(5)
    if what == 0 and model.opset_import:
        model.opset_import[0].version = rng.choice((0, 1, 6, 7, 10, 11, 12, 13, 14, 18, 22, 28, 99, -1))
    elif what == 1:
        model.metadata_props.add(
            key=rng.choice(("preprocess", "class_names")), value=rng.choice(("{", "{}", "[1]", "3", "null"))
        )
    elif what == 2:
        model.metadata_props.add(key="preprocess_in_graph", value="true")
    elif what == 3 and model.graph.output:
        model.graph.output[0].name = rng.choice([each for node in model.graph.node for each in node.output] or ["y"])
    elif model.graph.input:
        model.graph.input[0].name = rng.choice(("x", "y", "", "0"))


CHANGES: tuple[Callable[[Any, random.Random], None], ...] = (
    _attribute,
    _attribute,
    _attribute,
    _extent,
    _wiring,
    _wiring,
    _constant,
    _constant,
    _frame,
)
