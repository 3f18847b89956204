#!/usr/bin/env bash
# OpenCV 5.0.0 dnn: an int8 convolution takes the codes of its bias and not their step.
#
# What happens: a Conv between DequantizeLinear and QuantizeLinear becomes OpenCV's integer layer, which adds the int32 bias to the sum of products as it is,
#   in steps of input step times weight step. A bias whose DequantizeLinear has another step, or a scale for each output of its own, is taken for one of
#   that: codes 8 of step 1/2 count as 1 in place of 4. Nothing is said. With just that step, or a bias of floats, it is right.
# Expected: the value that the file's DequantizeLinear gives, as ONNX Runtime has it, which keeps such a Conv in floats.
# Hurts: files of quantisers that give the bias a step of its own, such as a power of two, or whose scales were rounded or changed after the bias was made.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime")), "OpenCV", cv2.__version__)
X = np.array([4, 6], np.float32).reshape(1, 2, 1, 1)


def case(times):
    """Input step 1/4, weights 1, weight step 1/2; the bias has codes 8 and -4 of `times` the product of the steps, or is a float where `times` is None."""
    step = np.float32(0.125) * np.asarray(times or 1, np.float32)
    each = step.ndim > 0
    held = {
        "xs": np.float32(0.25),
        "xz": np.uint8(0),
        "w": (2 * np.eye(2, dtype=np.int8)).reshape(2, 2, 1, 1),
        "ws": np.full(2, 0.5, np.float32) if each else np.float32(0.5),
        "wz": np.zeros(2, np.int8) if each else np.int8(0),
        "b": np.array([8, -4], np.int32),
        "bs": step,
        "ys": np.float32(0.25),
        "yz": np.uint8(100),
    }
    real = held["b"] * held["bs"]
    along = {"axis": 0} if each else {}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], **along),
        helper.make_node("DequantizeLinear", ["b", "bs"], ["bd"], **along),
        helper.make_node("Conv", ["xd", "wd", "bd"], ["s"]),
        helper.make_node("QuantizeLinear", ["s", "ys", "yz"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]),
    ]
    if times is None:
        del nodes[3], held["b"], held["bs"]
        held["bd"] = real.astype(np.float32)
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, X.shape) for name in "xy"]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()]
    built = helper.make_model(helper.make_graph(nodes, "bias", info[:1], info[1:], constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    right = (X.ravel() + real).tolist()
    runtime = onnxruntime.InferenceSession(built.SerializeToString()).run(None, {"x": X})[0].ravel().tolist()
    net = cv2.dnn.readNetFromONNX(np.frombuffer(built.SerializeToString(), np.uint8))
    net.setInput(X)
    theirs = net.forward().ravel().tolist()
    name = "a bias of floats" if times is None else f"bias step {times} times the product's"
    print(f"{name}: right {right}, ONNX Runtime {runtime}, OpenCV {theirs}")
    return runtime == right, theirs == right, theirs


same, real = case(1), case(None)
steps = [case(2), case(4), case([1, 4]), case(0.5)]
unread = all(each == (True, False, same[2]) for each in steps)
print("the step of the bias is not read:", unread, "- right with just that step and with floats:", same[1] and real[1])
sys.exit(0 if unread and same[:2] == real[:2] == (True, True) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
