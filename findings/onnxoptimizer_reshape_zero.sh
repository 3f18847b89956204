#!/usr/bin/env bash
# onnxoptimizer 0.4.2 and OpenCV 5.0.0: of two Reshapes in a row both drop the first, also where the second copies an axis from it.
#
# What happens: a (2, 3, 4) tensor goes through Reshape (4, 6) and then Reshape (0, -1). A 0 copies the axis of its own input, so the result is
#   (4, 6). onnxoptimizer's default passes and OpenCV's new dnn engine apply (0, -1) to the first input instead and answer (2, 12). The optimised file
#   still declares (4, 6) and passes the checker; with a dynamic batch nothing is left to contradict it.
# Expected: two Reshapes merged only where the second names no 0 (or the copied axes are unchanged).
# Hurts: exported split-into-heads and flatten-but-the-batch code, where (0, -1) is the idiom; and whoever takes one tool to check the other,
#   as both agree on the wrong shape.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxoptimizer==0.4.2 onnxruntime==1.32.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import cv2
import numpy as np
import onnx
import onnxoptimizer
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

for name in ("onnx", "onnxoptimizer", "onnxruntime"):
    print(name, importlib.metadata.version(name), end=" ")
print("opencv", cv2.__version__)
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def model(second):
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "a"], ["h"]), helper.make_node("Reshape", ["h", "b"], ["y"])],
        "reshapes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "columns"])],
        [numpy_helper.from_array(np.array([4, 6]), "a"), numpy_helper.from_array(np.array(second), "b")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    return built


def run(built):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(built.SerializeToString(), options).run(None, {"x": X})[0].shape


def shapes(second):
    optimised = onnxoptimizer.optimize(model(second))
    onnx.checker.check_model(optimised, full_check=True)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model(second).SerializeToString(), np.uint8))
    net.setInput(X, "x")
    out = run(model(second)), run(optimised), net.forward("y").shape
    print(f"(4, 6) then {second}: as written {out[0]}, after onnxoptimizer {out[1]}, OpenCV {out[2]}")
    return out


named = shapes((3, -1))
copied = shapes((0, -1))
sys.exit(0 if named == ((3, 8),) * 3 and copied == ((4, 6), (2, 12), (2, 12)) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
