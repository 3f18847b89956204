#!/usr/bin/env bash
# tinygrad 0.14.0: ScatterND of an ONNX model writes into its input: into the model's constants from call to call, and into the caller's tensor.
#
# What happens: OnnxRunner assigns the updates to the very tensor that the node was given. Where that is a constant of the file, such as the zeros that a
#   buffer begins with, each call finds the updates of all calls before. Where it is a Tensor of the caller's, that is changed. Where it is a value that
#   other nodes use as well, they get the changed one. TensorScatter, built of it, does the same; ScatterElements is right. Nothing is said.
# Expected: a new tensor, the input left as it is; the same answer to the same question, as ONNX Runtime gives.
# Hurts: masks and grids that are made by scattering into zeros: the second image has the first one's points too, and any test that calls once passes. And
#   caches of keys and values, whose old state is gone for whoever kept it to go back to.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check tinygrad==0.14.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tinygrad import Tensor
from tinygrad.nn.onnx import OnnxRunner

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("tinygrad", "onnx", "onnxruntime")))
path = pathlib.Path(sys.argv[1]) / "scatter.onnx"


def load(nodes, result, inputs, **constants):
    graph = helper.make_graph(
        nodes,
        "scatter",
        [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for name, v in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=11)
    onnx.checker.check_model(built, full_check=True)
    onnx.save(built, path)
    return onnxruntime.InferenceSession(str(path)), OnnxRunner(path)


zeros, update = np.zeros(4, np.float32), np.ones(1, np.float32)
scatter = helper.make_node("ScatterND", ["zeros", "place", "update"], ["y"])
calls = [{"place": np.array([[i]])} for i in range(3)]
runtime, runner = load([scatter], [4], calls[0], zeros=zeros, update=update)
right = [np.eye(4)[i].tolist() for i in range(3)]
by_runtime = [runtime.run(None, call)[0].tolist() for call in calls]
theirs = [runner(call)["y"].numpy().tolist() for call in calls]
print(f"a one at place 0, 1, 2 of a constant of zeros\n    ONNX Runtime {by_runtime}\n    tinygrad     {theirs}")
piled = by_runtime == right and theirs == np.tri(3, 4).tolist()

_, runner = load([scatter], [4], {"zeros": zeros, **calls[0]}, update=update)
mine = Tensor(zeros.copy()).realize()
runner({"zeros": mine, **calls[2]})["y"].numpy()
print("the caller's tensor of zeros afterwards:", mine.numpy().tolist())
overwritten = mine.numpy().tolist() == right[2]


def residual(operator, title, x, result, *inputs, **constants):
    """Relu(x) + scattered Relu(x): whether ONNX Runtime and tinygrad are right."""
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node(operator, ["r", *inputs], ["s"]), helper.make_node("Add", ["r", "s"], ["y"])]
    runtime, runner = load(nodes, x.shape, {"x": x}, **constants)
    first, second = runtime.run(None, {"x": x})[0], runner({"x": x})["y"].numpy()
    print(f"{title}: right {result.ravel().tolist()}, ONNX Runtime {first.ravel().tolist()}, tinygrad {second.ravel().tolist()}")
    return np.array_equal(first, result), np.array_equal(second, result)


shared = [
    residual("ScatterND", "Relu(0) + ScatterND", zeros, np.eye(4)[1], "place", "update", place=np.array([[1]]), update=update),
    residual(
        "TensorScatter",
        "Relu(0) + TensorScatter",
        zeros.reshape(1, 4, 1),
        np.eye(4)[1].reshape(1, 4, 1),
        "update",
        "place",
        update=update.reshape(1, 1, 1),
        place=np.array([1]),
    ),
    residual("ScatterElements", "Relu(0) + ScatterElements", zeros, np.eye(4)[1], "place", "update", place=np.array([1]), update=update),
]
print("constants pile up:", piled, "- the caller's tensor is written:", overwritten, "- of values used twice, wrong:", [not each[1] for each in shared])
sys.exit(0 if piled and overwritten and shared == [(True, False), (True, False), (True, True)] else 1)
PY
DEV=PYTHON "$work/venv/bin/python" "$work/show.py" "$work"
