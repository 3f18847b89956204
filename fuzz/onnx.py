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
    return {**found, "shapes": _shapes().SerializeToString(deterministic=True)}


def _shapes() -> Any:
    """Channels last, a flattening whose shape is computed, a residual sum."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
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
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "shapes",
        [helper.make_tensor_value_info("x", kind, ["N", SIDE, SIDE, 2])],
        [helper.make_tensor_value_info("y", kind, ["N", 2])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


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
    """A number, text or list of an attribute."""
    node = rng.choice(model.graph.node)
    if not node.attribute:
        node.attribute.append(
            onnx.helper.make_attribute(rng.choice(("axis", "perm", "alpha", "pads")), rng.choice(WHOLES[:8]))
        )
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
        copied.output[0] = f"{copied.output[0]}/again"
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
