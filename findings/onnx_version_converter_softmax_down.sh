#!/usr/bin/env bash
# onnx 1.23.2: the version converter lowers Softmax and LogSoftmax from opset 13 to 12 or 11 unchanged, and they are then taken over all axes from `axis` on.
#
# What happens: up to opset 12 Softmax flattens its input from `axis` on, from 13 on it is along that axis alone. The converter upwards knows this and writes
#   Flatten, Softmax and Reshape; downwards it keeps the node and its axis. For the last axis, the default, the two are the same; for axis 1 of (N, C, H, W) the
#   probabilities of a pixel no longer add up to 1, those of the whole image do. The checker passes it. A Transpose on each side would do.
#   Hardmax, which changed alike, is refused. Nothing is said.
# Expected: the same function, or a refusal as for Hardmax.
# Hurts: segmentation and detection networks, whose softmax is over the channels, brought to opset 11 or 12 for an older toolchain (NPUs, TensorRT, phones).
#   The class with the most stays the same, so only thresholds, losses and weighted sums show it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, version_converter

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime", "numpy")))
X = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)


def model(operator, opset, **attributes):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, X.shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], **attributes)], "one", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def answer(built):
    onnx.checker.check_model(built, full_check=True)
    return onnxruntime.InferenceSession(built.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": X})[0]


def softmax(x, axes):
    exponentials = np.exp(x - x.max(axes, keepdims=True))
    return exponentials / exponentials.sum(axes, keepdims=True)


def lowered(operator, axis, opset):
    """ "same", "from axis on" or "other" for what the model of opset 13 is after the converter."""
    of = np.log if operator == "LogSoftmax" else np.asarray
    before = model(operator, 13, axis=axis)
    if not np.allclose(answer(before), of(softmax(X, axis)), atol=1e-5):
        sys.exit("opset 13 is not as by hand")
    after = version_converter.convert_version(before, opset)
    theirs = answer(after)
    if np.allclose(theirs, of(softmax(X, axis)), atol=1e-5):
        verdict = "same"
    else:
        verdict = "from axis on" if np.allclose(theirs, of(softmax(X, tuple(range(axis % 4, 4)))), atol=1e-5) else "other"
    total = (np.exp(theirs) if of is np.log else theirs).sum(axis).mean()
    print(f"{operator}, axis {axis}, 13 to {opset}: {' '.join(node.op_type for node in after.graph.node)}: {verdict}; adds up to {total:.4f} along it")
    return verdict


downwards = {axis: {lowered(operator, axis, opset) for operator in ("Softmax", "LogSoftmax") for opset in (12, 11)} for axis in (0, 1, 2, 3, -3, -1)}
wrong = all(downwards[axis] == {"from axis on"} for axis in (0, 1, 2, -3)) and downwards[3] == downwards[-1] == {"same"}
old = model("Softmax", 12, axis=1)
raised = version_converter.convert_version(old, 13)
right = np.allclose(answer(old), answer(raised), atol=1e-6) and {"Flatten", "Softmax", "Reshape"} <= {node.op_type for node in raised.graph.node}
print("12 to 13:", [node.op_type for node in raised.graph.node], "the same:", right)
try:
    version_converter.convert_version(model("Hardmax", 13, axis=1), 12)
    refused = False
except Exception as error:
    refused = "No Adapter" in str(error)
print("softmax over all from axis on:", wrong, "- upwards right:", right, "- Hardmax refused:", refused)
sys.exit(0 if wrong and right and refused else 1)
PY
"$work/venv/bin/python" "$work/show.py"
