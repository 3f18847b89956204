#!/usr/bin/env bash
# OpenCV 5.0.0: in its new dnn engine a constant column added to a square matrix product is added as a row.
#
# What happens: MatMul -> Add with a constant of shape (N, 1), where the product is N by N, gives every row the values 1..N instead of giving
#   row i the value i. The constant is taken for the product's bias by its number of values. A (3, 1) constant beside a (3, 4) product is
#   added correctly, so small tests with unequal sizes pass.
# Expected: broadcasting aligned at the last axis, whatever the sizes.
# Hurts: attention and mixer blocks with as many tokens as channels (a bias per token), and any W @ x + b in column convention; an accuracy
#   drop at one size only, and none at the next.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "opencv", cv2.__version__)


def agree(rows, columns, shape):
    """x times the identity, plus 1, 2, 3, ... in the given shape."""
    bias = np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(shape)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])],
        "affine",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, columns])],
        [numpy_helper.from_array(np.eye(columns, dtype=np.float32), "w"), numpy_helper.from_array(bias, "b")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    data = built.SerializeToString()
    x = np.zeros((rows, columns), np.float32)
    expected = onnxruntime.InferenceSession(data).run(None, {"x": x})[0]
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(x, "x")
    got = net.forward("y")
    print(f"product {rows} x {columns}, constant {shape}: onnxruntime {expected.tolist()} opencv {got.tolist()}")
    return np.array_equal(expected, got)


oblong = agree(3, 4, (3, 1))
row = agree(3, 3, (1, 3))
column = agree(3, 3, (3, 1))
sys.exit(0 if oblong and row and not column else 1)
PY
"$work/venv/bin/python" "$work/show.py"
