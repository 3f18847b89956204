#!/usr/bin/env bash
# OpenVINO 2026.4.1, tract 0.23.9, OpenCV 5.0.0: ConvTranspose with output_shape, and each one crops it in its own way.
#
# What happens: with output_shape the specification derives the padding: total = stride * (n - 1) + kernel - output_shape, halved, and of an
#   odd total the larger half at the start, or at the end for SAME_UPPER. tract crops the whole total at the end. OpenCV crops nothing
#   and gives 18 values where the node names 6 or 7. OpenVINO crops an odd total at the start for SAME_UPPER as well. Nothing is said by
#   any of them.
# Expected: the values that the formula keeps, as ONNX Runtime does.
# Hurts: decoders and upsamplers that name their output size: a picture shifted by a pixel passes for a small loss of accuracy.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 tract==0.23.9 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import openvino
import tract
from onnx import TensorProto, helper, numpy_helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "openvino", openvino.__version__)
print("tract", version("tract"), "opencv", cv2.__version__)
path = Path(sys.argv[1]) / "up.onnx"
x = np.array([[[[1, 10, 100]]]], np.float32)
w = np.array([[[[1, 2, 3, 4]]]], np.float32)
STRIDE = 2


def by_formula(width, upper):
    full = np.zeros(STRIDE * 2 + 4)
    for i, value in enumerate(x.ravel()):
        full[STRIDE * i : STRIDE * i + 4] += value * w.ravel()
    total = full.size - width
    start = total // 2 if upper else total - total // 2
    return full[start : start + width].tolist()


def by_openvino(data):
    core = openvino.Core()
    return core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])[0]


def by_opencv(data):
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(x, "x")
    return net.forward("y")


def four(width, **pad):
    graph = helper.make_graph(
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[1, STRIDE], output_shape=[1, width], kernel_shape=[1, 4], **pad)],
        "up",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, width])],
        [numpy_helper.from_array(w, "w")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    onnx.save(built, path)
    data = built.SerializeToString()
    answers = {"formula": by_formula(width, pad.get("auto_pad") == "SAME_UPPER")}
    answers["ONNX Runtime"] = onnxruntime.InferenceSession(data).run(None, {"x": x})[0]
    answers["OpenVINO"] = by_openvino(data)
    if not pad:
        answers["tract"] = tract.onnx().load(str(path)).into_model().into_runnable().run([x])[0].to_numpy()
        answers["OpenCV"] = by_opencv(data)
    print("output_shape", [1, width], pad or "")
    answers = {name: np.asarray(y, float).ravel().tolist() for name, y in answers.items()}
    for name, y in answers.items():
        print(f"  {name:12} {y}")
    return {name: y == answers["formula"] for name, y in answers.items() if name != "formula"}


even, odd = four(6), four(7)
upper, lower = four(7, auto_pad="SAME_UPPER"), four(7, auto_pad="SAME_LOWER")
as_seen = [
    all(case["ONNX Runtime"] for case in (even, odd, upper, lower)),
    even == {"ONNX Runtime": True, "OpenVINO": True, "tract": False, "OpenCV": False},
    odd["OpenVINO"] and lower["OpenVINO"] and not upper["OpenVINO"],
]
sys.exit(0 if all(as_seen) else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
