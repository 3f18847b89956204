#!/usr/bin/env bash
# OpenCV 5.0.0 dnn: activations with a scale for each channel are computed with the first channel's, in convolutions, matrix products and lookups.
#
# What happens: QuantizeLinear and DequantizeLinear may have a scale and zero point for each channel of an activation. Where a Conv or MatMul stands between
#   them, OpenCV's integer layer takes the first scale and zero point of what goes in and of what comes out for all channels: 10 comes out as 95, 30 as 25.6.
#   A Sigmoid, made a table of 256, likewise: 1.0 becomes 3 and 5. Nothing is said. Alone, or around a Relu, a pool or a sum, such scales are right.
# Expected: each channel by its own scale, as OpenVINO and ONNX Runtime without optimisation have it (with it, that one refuses), or a refusal.
# Hurts: depthwise and other networks whose channels differ by orders of magnitude, for which one takes scales by channel just where one scale is too coarse.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 \
  opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime", "openvino")), "OpenCV", cv2.__version__)
X = np.array([[1, 2, 3], [10, 20, 30]], np.float32).reshape(1, 2, 1, 3)
SCALES = np.array([0.1, 1], np.float32)
ZEROS = np.array([0, 5], np.uint8)


def rounded(x, scale, zero):
    codes = np.clip(np.rint(x / scale) + zero, 0, 255)
    return (codes - zero) * scale


def case(operator, before, after):
    """A node between two quantisations, each by channel or with the step 1/5 for all; whether each engine has the numbers counted by hand."""
    held = {"cs": SCALES, "cz": ZEROS, "os": np.float32(0.2), "oz": np.uint8(0), "w": np.eye(2, dtype=np.int8).reshape(2, 2, 1, 1)}
    held.update(ws=np.float32(1), wz=np.int8(0))
    grid = {True: (SCALES[:, None, None].astype(float), ZEROS[:, None, None].astype(float)), False: (0.2, 0.0)}

    def pair(source, target, by_channel):
        names = ["cs", "cz"] if by_channel else ["os", "oz"]
        along = {"axis": 1} if by_channel else {}
        return [
            helper.make_node("QuantizeLinear", [source, *names], [target + "q"], **along),
            helper.make_node("DequantizeLinear", [target + "q", *names], [target], **along),
        ]

    middle = [helper.make_node(operator, ["a"], ["r"])]
    if operator == "Conv":
        middle = [helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]), helper.make_node("Conv", ["a", "wd"], ["r"])]
    if operator == "MatMul":
        held["w"] = np.eye(3, dtype=np.int8)
        middle = [helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]), helper.make_node("MatMul", ["a", "wd"], ["r"])]
    nodes = [*pair("x", "a", before), *middle, *pair("r", "y", after)]
    used = {name for node in nodes for name in node.input}
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, X.shape) for name in "xy"]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items() if name in used]
    built = helper.make_model(helper.make_graph(nodes, "channels", info[:1], info[1:], constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    data = built.SerializeToString()
    function = {"Conv": lambda v: v, "MatMul": lambda v: v, "Relu": lambda v: np.maximum(v, 0), "Sigmoid": lambda v: 1 / (1 + np.exp(-v))}[operator]
    right = rounded(function(rounded(X[0].astype(float), *grid[before])), *grid[after])[None]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(X)
    core = openvino.Core()
    answers = [
        onnxruntime.InferenceSession(data, options).run(None, {"x": X})[0],
        core.compile_model(core.read_model(data), "CPU")([X])[0],
        net.forward(),
    ]
    verdict = tuple(bool(np.allclose(each, right, atol=1e-4)) for each in answers)
    where = " and ".join(name for name, there in (("in front", before), ("behind", after)) if there) or "nowhere"
    print(f"{operator}, by channel {where}: right {right.ravel().round(2).tolist()}, OpenCV {answers[2].ravel().astype(float).round(2).tolist()}")
    return verdict


wrong = [case("Conv", True, False), case("Conv", False, True), case("Conv", True, True), case("MatMul", False, True), case("Sigmoid", True, True)]
good = [case("Conv", False, False), case("MatMul", False, False), case("Relu", True, True), case("Sigmoid", False, False)]
as_seen = wrong == [(True, True, False)] * 5 and good == [(True, True, True)] * 4
print("ONNX Runtime and OpenVINO right, OpenCV wrong by channel:", as_seen)
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py"
