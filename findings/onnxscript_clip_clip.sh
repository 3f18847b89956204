#!/usr/bin/env bash
# onnxscript 0.7.2: two clips in a row are merged by intersecting their bounds, which is wrong where they do not overlap.
#
# What happens: optimizer.optimize turns Clip(-1, 0) -> Clip(1, 2) into one Clip that answers 0 for every input, and
#   Clip(-2, -1) -> Relu into one that answers -1: a value that no Relu can return.
# Expected: 1 and 0, as the graph says and as every runtime without the optimizer answers (the second clip has the last word; merged
#   bounds must themselves be clipped by the second pair).
# Hurts: whoever exports through PyTorch's dynamo exporter, which runs this optimizer, or tidies graphs with it: a clamp to an offset
#   range before an activation is silently another function.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    onnx==1.23.2 onnx-ir==1.1.0 onnxruntime==1.32.0 onnxscript==0.7.2 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
import onnxscript
import onnxscript.optimizer
from onnx import TensorProto, helper, numpy_helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "onnxscript", onnxscript.__version__)
X = np.array([-3, -1.5, 0, 1.5, 3], np.float32)


def model(nodes, bounds):
    graph = helper.make_graph(
        [helper.make_node(*node) for node in nodes],
        "clips",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5])],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in bounds.items()],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    return built


def run(built):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(built.SerializeToString(), options).run(None, {"x": X})[0]


def changed(title, nodes, bounds):
    before = run(model(nodes, bounds))
    after_model = onnxscript.optimizer.optimize(model(nodes, bounds))
    after = run(after_model)
    print(f"{title}: before {before.tolist()}, after {after.tolist()}, nodes {[n.op_type for n in after_model.graph.node]}")
    return not np.array_equal(before, after)


clip = ("Clip", ["x", "a", "b"], ["c"])
overlap = changed("Clip(-2, 1) -> Clip(-1, 2)", [clip, ("Clip", ["c", "d", "e"], ["y"])], dict(a=-2, b=1, d=-1, e=2))
clips = changed("Clip(-1, 0) -> Clip(1, 2)", [clip, ("Clip", ["c", "d", "e"], ["y"])], dict(a=-1, b=0, d=1, e=2))
relu = changed("Clip(-2, -1) -> Relu", [clip, ("Relu", ["c"], ["y"])], dict(a=-2, b=-1))
sys.exit(0 if clips and relu and not overlap else 1)
PY
"$work/venv/bin/python" "$work/show.py"
