#!/usr/bin/env bash
# onnxscript 0.7.2: constants are folded by onnx's reference evaluator, so its mistakes are baked into the weights.
#
# What happens: optimizer.optimize evaluates constant subgraphs with onnx.reference and stores the result. LogSoftmax of (0, 200) is stored
#   as (-inf, 0), and an opset-11 Softmax, which normalises over all axes from 1 on, is stored normalised over the last axis alone.
# Expected: -200 and the opset-11 rule, as the runtime gives for the same model when it computes or folds the nodes itself.
# Hurts: whoever checks the optimised file against a runtime by running both through it: node by node the runtime was right, and after
#   the optimizer no engine can be right any more. A log-prior or a class weighting kept as a constant is the everyday case.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnx-ir==1.1.0 onnxruntime==1.32.0 onnxscript==0.7.2 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
import onnxscript
import onnxscript.optimizer
from onnx import TensorProto, helper, numpy_helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "onnxscript", onnxscript.__version__)
LEVEL = onnxruntime.GraphOptimizationLevel


def model(op, logits, opset):
    """y = x + op(constant)."""
    shape = list(logits.shape)
    graph = helper.make_graph(
        [helper.make_node(op, ["k"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])],
        "prior",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(logits, "k")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    return built


def run(built, shape, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(built.SerializeToString(), options)
    return session.run(None, {"x": np.zeros(shape, np.float32)})[0]


def three(title, op, logits, opset):
    off = run(model(op, logits, opset), logits.shape, LEVEL.ORT_DISABLE_ALL)
    folded = run(model(op, logits, opset), logits.shape, LEVEL.ORT_ENABLE_ALL)
    optimised = onnxscript.optimizer.optimize(model(op, logits, opset))
    baked = run(optimised, logits.shape, LEVEL.ORT_DISABLE_ALL)
    print(title, [n.op_type for n in optimised.graph.node])
    for name, value in (("computed", off), ("folded by the runtime", folded), ("folded by onnxscript", baked)):
        print(f"  {name:22} {np.round(value.astype(float).ravel(), 4).tolist()}")
    return np.allclose(off, folded) and not np.allclose(off, baked)


differ = [
    three("LogSoftmax, opset 17", "LogSoftmax", np.array([[0, 200]], np.float32), 17),
    three("Softmax, opset 11", "Softmax", np.zeros((1, 2, 3), np.float32), 11),
]
control = three("Softmax, opset 17", "Softmax", np.zeros((1, 2, 3), np.float32), 17)
sys.exit(0 if all(differ) and not control else 1)
PY
"$work/venv/bin/python" "$work/show.py"
