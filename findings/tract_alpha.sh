#!/usr/bin/env bash
# tract 0.23.9: the alpha of Celu is used in one of its two places, and the alpha of Swish not at all.
#
# What happens: Celu is max(0, x) + min(0, alpha * (exp(x / alpha) - 1)). tract divides by alpha and does not multiply, so the negative side
#   is wrong by the factor alpha (and the slope at 0 is no longer continuous). Swish, new in opset 24, is x * sigmoid(alpha * x); tract
#   gives x * sigmoid(x) for every alpha. Both are right for alpha = 1, and nothing is said for another one.
# Expected: the formulas of the specification, or a refusal to load.
# Hurts: whoever checks the import with default attributes alone: both operators pass there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 tract==0.23.9 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "tract", version("tract"))
path = Path(sys.argv[1]) / "one.onnx"
x = np.array([-3, -2, -1, 0, 1, 2], np.float32)
double = x.astype(float)


def formula(op, alpha):
    if op == "Celu":
        return np.maximum(0, double) + np.minimum(0, alpha * (np.exp(double / alpha) - 1))
    return double / (1 + np.exp(-alpha * double))


def three(op, opset, alpha):
    """By the formula, by ONNX Runtime and by tract."""
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], alpha=alpha)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(built, full_check=True)
    onnx.save(built, path)
    runtime = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    theirs = tract.onnx().load(str(path)).into_model().into_runnable().run([x])[0].to_numpy()
    print(f"{op}, alpha {alpha}")
    for name, y in (("formula", formula(op, alpha)), ("ONNX Runtime", runtime), ("tract", theirs)):
        print(f"  {name:12} {np.round(y.astype(float), 4).tolist()}")
    assert np.allclose(runtime, formula(op, alpha), atol=1e-5)
    return theirs


as_seen = []
for alpha in (1.0, 0.5, 2.0):
    celu, swish = three("Celu", 12, alpha), three("Swish", 24, alpha)
    once = np.where(double < 0, np.exp(double / alpha) - 1, double)
    as_seen += [np.allclose(celu, once, atol=1e-5), np.allclose(swish, formula("Swish", 1.0), atol=1e-5)]
sys.exit(0 if all(as_seen) else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
