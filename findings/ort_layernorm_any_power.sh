#!/usr/bin/env bash
# onnxruntime 1.32.0: the layer-norm fusion looks at the shape of the pattern and not at the exponent of its Pow.
#
# What happens: (x - mean) / sqrt(mean((x - mean)^p) + eps) * gamma + beta is replaced by LayerNormalization for every constant p.
#   With p = 4 (a fourth-moment, outlier-sensitive normalisation) the default session returns plain layer norm. No warning.
# Expected: the fusion for p = 2 alone; any other exponent computed as written.
# Hurts: whoever tries a variant of a normalisation layer and judges it by its exported model: the variant is erased at load time, all
#   values of p give the same accuracy, and only ORT_DISABLE_ALL shows otherwise (BASIC, whose changes should keep values, fuses too).
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
X = np.array([[-3, -1, 0, 4], [1, 2, 3, 10]], np.float32)


def run(power, level):
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        node("Sub", ["x", "mean"], ["d"]),
        node("Pow", ["d", "p"], ["m"]),
        node("ReduceMean", ["m"], ["moment"], axes=[-1]),
        node("Add", ["moment", "eps"], ["safe"]),
        node("Sqrt", ["safe"], ["root"]),
        node("Div", ["d", "root"], ["n"]),
        node("Mul", ["n", "gamma"], ["s"]),
        node("Add", ["s", "beta"], ["y"]),
    ]
    constants = dict(p=np.float32(power), eps=np.float32(1e-5), gamma=np.ones(4, np.float32), beta=np.zeros(4, np.float32))
    graph = helper.make_graph(
        nodes,
        "moment",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(built.SerializeToString(), options).run(None, {"x": X})[0]


rows = {}
for power in (2, 4):
    for name, level in (("off", LEVEL.ORT_DISABLE_ALL), ("default", LEVEL.ORT_ENABLE_ALL)):
        rows[power, name] = run(power, level)
        print(f"power {power}, {name:7}: {np.round(rows[power, name][0].astype(float), 4).tolist()}")
basic = run(4, LEVEL.ORT_ENABLE_BASIC)
print(f"power 4, basic  : {np.round(basic[0].astype(float), 4).tolist()}")
d = X.astype(np.float64) - X.astype(np.float64).mean(1, keepdims=True)
truth = d / np.sqrt((d**4).mean(1, keepdims=True) + 1e-5)
print(f"power 4, NumPy  : {np.round(truth[0], 4).tolist()}")
same = np.allclose(rows[4, "off"], truth, atol=1e-5) and np.allclose(rows[4, "default"], rows[2, "off"], atol=1e-5)
same = same and np.array_equal(basic, rows[4, "default"])
sys.exit(0 if same and not np.allclose(rows[4, "default"], truth, atol=1e-2) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
