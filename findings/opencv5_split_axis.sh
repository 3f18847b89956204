#!/usr/bin/env bash
# OpenCV 5.0.0 dnn: a Split that leaves axis out is split along axis 1 instead of axis 0.
#
# What happens: the attribute axis of Split is 0 where it is not written. OpenCV takes 1, so a (4, 2) tensor in two parts comes out as two
#   (4, 1) columns and not as two (2, 2) blocks of rows, with nothing said at load or at run. With axis=0 written out it is right.
# Expected: the same answer with and without axis=0, as ONNX Runtime gives it.
# Hurts: graphs written by hand or through a tool that drops attributes equal to their default. On a square tensor the shapes agree too,
#   and the parts are simply other values.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  onnx==1.23.2 onnxruntime==1.32.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "opencv", cv2.__version__)


def parts(columns, **axis):
    """Four rows in two parts: whether OpenCV gives what NumPy gives."""
    x = np.arange(4 * columns, dtype=np.float32).reshape(4, columns)
    graph = helper.make_graph(
        [helper.make_node("Split", ["x"], ["a", "b"], num_outputs=2, **axis)],
        "split",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, columns]) for name in "ab"],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    data = built.SerializeToString()
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(x, "x")
    theirs, runtime, rows = net.forward(["a", "b"]), onnxruntime.InferenceSession(data).run(None, {"x": x}), np.split(x, 2)
    print(f"{x.shape}, axis {axis.get('axis', 'left out')}: ONNX Runtime", [y.astype(int).tolist() for y in runtime])
    print("    OpenCV", [y.astype(int).tolist() for y in theirs])
    assert all(np.array_equal(y, r) for y, r in zip(runtime, rows, strict=True))
    return all(np.array_equal(y, r) for y, r in zip(theirs, rows, strict=True))


written, left_out, two_by_two = parts(2, axis=0), parts(2), parts(4)
print("right with axis written:", written, "- left out:", left_out, two_by_two)
sys.exit(0 if written and not left_out and not two_by_two else 1)
PY
"$work/venv/bin/python" "$work/show.py"
