#!/usr/bin/env bash
# OpenVINO 2026.4.1: an ONNX LSTM or GRU with layout=1, batch first, is run as though the batch were the time axis.
#
# What happens: the attribute layout of LSTM, GRU and RNN says that the batch comes first in X, Y and Y_h. OpenVINO reads such a model without a word
#   and walks along the first axis: each sequence becomes a step of the one before, and the answer for one sequence depends on the others.
# Expected: the same numbers as without layout and with the axes swapped by Transpose, or a refusal (ONNX Runtime refuses; tract computes it right).
# Hurts: whoever writes the graph in the order in which the data lie. With one vector per sequence wanted, batch and steps equal or dynamic, no shape tells.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 tract==0.23.9 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
import tract
from onnx import TensorProto, helper, numpy_helper

for name in ("onnx", "onnxruntime", "openvino", "tract"):
    print(name, importlib.metadata.version(name), end=" ")
print()
folder = pathlib.Path(sys.argv[1])
# Two sequences of two steps. Sequence 0 is all zeros, and without biases its state stays 0.
X = np.array([[[0], [0]], [[1], [2]]], np.float32)


def write(op, gates, layout):
    """Y, batch first in both cases: by the attribute, or by a Transpose before and one after."""
    weights = {"w": np.ones((1, gates, 1), np.float32), "r": np.ones((1, gates, 1), np.float32)}
    if layout:
        nodes = [helper.make_node(op, ["x", "w", "r"], ["y"], hidden_size=1, layout=1)]
    else:
        nodes = [
            helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
            helper.make_node(op, ["t", "w", "r"], ["s"], hidden_size=1),
            helper.make_node("Transpose", ["s"], ["y"], perm=[2, 0, 1, 3]),
        ]
    graph = helper.make_graph(
        nodes,
        "rnn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2, 1, 1])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    path = folder / f"{op}{layout}.onnx"
    onnx.save(built, path)
    return path


def by_runtime(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options).run(None, {"x": X})[0]
    except Exception as error:
        print("    ONNX Runtime refuses:", "layout == 1" in str(error))
        return None


def by_tract(path):
    return tract.onnx().load(str(path)).into_model().into_runnable().run([X])[0].to_numpy()


def by_openvino(path):
    return openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([X])[0]


ENGINES = {"ONNX Runtime": by_runtime, "tract": by_tract, "OpenVINO": by_openvino}


def both(op, gates):
    """Per engine: right with Transposes, right with layout=1."""
    expected, verdicts = by_runtime(write(op, gates, 0)), []
    assert not expected[0].any()
    for name, engine in ENGINES.items():
        swapped, attribute = engine(write(op, gates, 0)), engine(write(op, gates, 1))
        shown = "refused" if attribute is None else attribute.reshape(2, 2).astype(float).round(4).tolist()
        print(f"  {op} {name:13} with Transposes {swapped.reshape(2, 2).astype(float).round(4).tolist()}, with layout=1 {shown}")
        right = None if attribute is None else np.allclose(attribute, expected, atol=1e-4)
        verdicts.append((np.allclose(swapped, expected, atol=1e-4), right))
    return verdicts


found = [both("LSTM", 4), both("GRU", 3)]
sys.exit(0 if all(f == [(True, None), (True, True), (True, False)] for f in found) else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
