#!/usr/bin/env bash
# onnxslim 0.1.98: a constant of shape (C,) after a Conv is folded into the filters even where it multiplies columns.
#
# What happens: Conv -> Mul with a vector of as many values as the Conv has output channels becomes one Conv whose filters are scaled
#   channel by channel. By ONNX broadcasting (aligned at the last axis) that vector belongs to the width, so where the output is as wide
#   as it has channels every value with column != channel is wrong. Nothing is said. onnxslim's own shape check cannot see it: the
#   shape stays the same.
# Expected: the fusion only for (C, 1, 1) and the like; a vector along the width left alone.
# Hurts: whoever slims a network with a window or a per-column gain after a square convolution (C = W is common: 16, 32, 64).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 onnxslim==0.1.98 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
import onnxslim
from onnx import TensorProto, helper, numpy_helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "onnxslim", onnxslim.__version__)


def model(gain_shape, width):
    """An identity convolution of 4 channels, then a product with the gains 1, 10, 100, 1000."""
    weights = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    gain = np.array([1, 10, 100, 1000], np.float32).reshape(gain_shape)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Mul", ["c", "gain"], ["y"])],
        "gain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 2, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 2, width])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(gain, "gain")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    return built


def run(built):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    x = np.ones(tuple(d.dim_value for d in built.graph.input[0].type.tensor_type.shape.dim), np.float32)
    return onnxruntime.InferenceSession(built.SerializeToString(), options).run(None, {"x": x})[0]


def slimmed_is_right(gain_shape, width):
    before = model(gain_shape, width)
    after = onnxslim.slim(model(gain_shape, width))
    a, b = run(before), run(after)
    print(f"gain {gain_shape}, width {width}: nodes {[n.op_type for n in after.graph.node]}")
    print("  first row of each channel before:", a[0, :, 0, :].tolist())
    print("  and after slim:                  ", b[0, :, 0, :].tolist())
    return np.array_equal(a, b)


channels = slimmed_is_right((4, 1, 1), 4)
columns = slimmed_is_right((4,), 4)
print("per channel right:", channels, "- per column right:", columns)
sys.exit(0 if channels and not columns else 1)
PY
"$work/venv/bin/python" "$work/show.py"
