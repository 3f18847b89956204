#!/usr/bin/env bash
# onnxruntime 1.32.0: (1 / x) * y over integers is rewritten to y / x, which is another number.
#
# What happens: at the default optimisation level, and already at BASIC, a Div of the constant 1 by x followed by a Mul with y becomes
#   one Div of y by x, whatever the type. For int64, 1 / x is 0 for every |x| > 1, so the product must be 0; the session answers y / x.
#   A constant 1 of shape (1, 1, 1) is rewritten too, and the output loses two axes against the declared shape.
# Expected: the rewrite for floating point only, and only where the 1 does not broadcast. A level named basic should keep values.
# Hurts: graphs that compute with shapes or indices (1 / stride as a "stride is one" flag), and whoever compares two runtimes: the
#   difference vanishes with optimisation off, so it looks like the other engine's fault.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
LEVEL = onnxruntime.GraphOptimizationLevel


def run(one, x, y, shape, level):
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [helper.make_node("Div", ["one", "x"], ["r"]), helper.make_node("Mul", ["r", "y"], ["z"])],
        "reciprocal",
        [helper.make_tensor_value_info("x", kind, x.shape), helper.make_tensor_value_info("y", kind, y.shape)],
        [helper.make_tensor_value_info("z", kind, shape)],
        [numpy_helper.from_array(one, "one")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(built.SerializeToString(), options).run(None, {"x": x, "y": y})[0]


x, y = np.array([1, 2, 3], np.int64), np.array([5, 5, 9], np.int64)
plain = run(np.array(1, np.int64), x, y, (3,), LEVEL.ORT_DISABLE_ALL)
basic = run(np.array(1, np.int64), x, y, (3,), LEVEL.ORT_ENABLE_BASIC)
print("int64 (1 / x) * y, x", x.tolist(), "y", y.tolist(), ": off", plain.tolist(), "basic", basic.tolist())

one = np.ones((1, 1, 1), np.float32)
f = np.array([2, 4, 8], np.float32)
plain_shape = run(one, f, f, (1, 1, 3), LEVEL.ORT_DISABLE_ALL).shape
default_shape = run(one, f, f, (1, 1, 3), LEVEL.ORT_ENABLE_ALL).shape
print("float with a 1 of shape (1, 1, 1): off", plain_shape, "default", default_shape)

same = plain.tolist() == [5, 0, 0] and basic.tolist() == [5, 2, 3]
same = same and plain_shape == (1, 1, 3) and default_shape == (3,)
sys.exit(0 if same else 1)
PY
"$work/venv/bin/python" "$work/show.py"
