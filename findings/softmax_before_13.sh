#!/usr/bin/env bash
# OpenVINO 2026.4.1, OpenCV 5.0.0, MNN 3.6.1: a Softmax of ONNX opset 11 or 12 is normalised over one axis instead of over all axes from the given one on.
#
# What happens: up to opset 12 Softmax flattens its input to two dimensions at axis (1 unless written) and normalises the rows. OpenVINO does so up to
#   opset 10, and from opset 11 on, two opsets early, takes axis as one axis; its LogSoftmax of the same opsets is right. OpenCV never flattens, and
#   has the default 1 up to 11 and -1 from 12 on. MNN flattens, but where axis is left out takes the last.
# Expected: for a (2, 3, 4) tensor and axis 1 or none, two groups of 12 that each sum to 1, as ONNX Runtime and tract compute.
# Hurts: opset 11 and 12 files, which a great many published models are: an attention map over height and width, scores over boxes and classes. Every value
#   is still between 0 and 1, and for a (batch, classes) classifier there is no difference.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 MNN==3.6.1 \
  opencv-python-headless==5.0.0.93 tract==0.23.9 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import pathlib
import subprocess
import sys

import cv2
import MNN.expr
import MNN.nn
import numpy as np
import onnx
import onnxruntime
import openvino
import tract
from onnx import TensorProto, helper

for name in ("onnx", "onnxruntime", "openvino", "MNN", "tract"):
    print(name, importlib.metadata.version(name), end=" ")
print("opencv", cv2.__version__)
folder = pathlib.Path(sys.argv[1])
X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


def by_runtime(path):
    return onnxruntime.InferenceSession(str(path)).run(None, {"x": X})[0]


def by_tract(path):
    return tract.onnx().load(str(path)).into_model().into_runnable().run([X])[0].to_numpy()


def by_openvino(path):
    return openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([X])[0]


def by_opencv(path):
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(X, "x")
    return net.forward("y")


def by_mnn(path):
    converted = path.with_suffix(".mnn")
    command = [pathlib.Path(sys.executable).parent / "mnnconvert", "-f", "ONNX", "--modelFile", path, "--MNNModel", converted, "--bizCode", "x"]
    subprocess.run([*command, "--keepInputFormat=1"], check=True, capture_output=True)
    net = MNN.nn.load_module_from_file(str(converted), ["x"], ["y"])
    y = net.forward(MNN.expr.const(X, list(X.shape), MNN.expr.NCHW, MNN.expr.float))
    return np.array(MNN.expr.convert(y, MNN.expr.NCHW).read()).reshape(X.shape)


ENGINES = {"onnxruntime": by_runtime, "tract": by_tract, "openvino": by_openvino, "opencv": by_opencv, "mnn": by_mnn}
GROUPS = {"flattened": (1, 2), "axis 1": (1,), "axis 2": (2,)}


def softmax(axes):
    e = np.exp(X - X.max())
    return e / e.sum(axis=axes, keepdims=True)


def row(opset, **axis):
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["y"], **axis)],
        "softmax",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, X.shape)],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    onnx.checker.check_model(built, full_check=True)
    path = folder / "softmax.onnx"
    onnx.save(built, path)
    answers = [engine(path) for engine in ENGINES.values()]
    told = [next((name for name, axes in GROUPS.items() if np.allclose(y, softmax(axes), atol=1e-5)), "?") for y in answers]
    print(f"opset {opset}, axis {axis.get('axis', 'left out')!s:8}", *(f"{name}: {way};" for name, way in zip(ENGINES, told, strict=True)))
    return told


rows = [row(9), row(9, axis=1), row(11), row(11, axis=1), row(12), row(13, axis=1)]
F, A1, A2 = GROUPS
expected = [[F, F, F, A1, A2], [F, F, F, A1, F], [F, F, A1, A1, A2], [F, F, A1, A1, F], [F, F, A1, A2, A2], [A1] * 5]
sys.exit(0 if rows == expected else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
