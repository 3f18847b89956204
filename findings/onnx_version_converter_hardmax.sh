#!/usr/bin/env bash
# onnx 1.23.2: version_converter raises a Hardmax to opset 13 without a change, though 13 gave it another meaning.
#
# What happens: up to opset 12 Hardmax, Softmax and LogSoftmax flatten their input at axis and pick one winner in each row; from 13 on they work on one axis.
#   The converter wraps Softmax and LogSoftmax in Flatten and Reshape for this, and leaves Hardmax as it is, axis left out and all (whose default went from
#   1 to -1). One winner in 12 becomes one in each row of 4.
# Expected: the same numbers after conversion: the wrapping that the two sisters get.
# Hurts: whoever raises old models before other tools see them: the checker is content, and ONNX Runtime runs both versions, each right by its own opset.
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
from onnx import TensorProto, helper, version_converter

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


def run(built):
    onnx.checker.check_model(built, full_check=True)
    return onnxruntime.InferenceSession(built.SerializeToString()).run(None, {"x": X})[0]


def kept(op, **axis):
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], **axis)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, X.shape)],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    raised = version_converter.convert_version(built, 13)
    before, after = run(built), run(raised)
    nodes = [node.op_type for node in raised.graph.node]
    print(f"{op:10} axis {axis.get('axis', 'left out')!s:8} -> {nodes}, sums per image {before.sum((1, 2)).tolist()} -> {after.sum((1, 2)).tolist()}")
    return np.allclose(before, after, atol=1e-6)


same = {op: [kept(op), kept(op, axis=1), kept(op, axis=0), kept(op, axis=2)] for op in ("Softmax", "LogSoftmax", "Hardmax")}
print(same)
sys.exit(0 if same == {"Softmax": [True] * 4, "LogSoftmax": [True] * 4, "Hardmax": [False, False, False, True]} else 1)
PY
"$work/venv/bin/python" "$work/show.py"
