#!/usr/bin/env bash
# MNN 3.6.1: the negative half of Shrink is inside out: what should be cut to zero is kept, and what should be kept is cut to zero.
#
# What happens: Shrink is x + bias below -lambd, x - bias above lambd, and 0 between. MNN's converter builds it of comparisons, of which the one for the
#   negative side has its sense reversed: from -lambd to 0 it answers x + bias, and below -lambd 0. The positive half is right.
# Expected: the formula of the specification, as ONNX Runtime has it.
# Hurts: soft and hard thresholding (PyTorch's Softshrink and Hardshrink are exported as Shrink), in denoising and sparse coding: small noise stays, strong
#   negative coefficients go. A test after a Relu or on an image's values sees the right half alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 MNN==3.6.1 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import pathlib
import subprocess
import sys

import MNN.expr
import MNN.nn
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

for name in ("onnx", "onnxruntime", "MNN"):
    print(name, importlib.metadata.version(name), end=" ")
print()
folder = pathlib.Path(sys.argv[1])
X = np.array([[-3, -1, -0.4, -0.2, 0.2, 0.4, 1, 3]], np.float32)


def three(lambd, bias):
    """By the formula, by ONNX Runtime and by MNN."""
    formula = np.where(X < -lambd, X + bias, np.where(lambd < X, X - bias, 0))
    graph = helper.make_graph(
        [helper.make_node("Shrink", ["x"], ["y"], lambd=lambd, bias=bias)],
        "shrink",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, X.shape)],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    path, converted = folder / "shrink.onnx", folder / "shrink.mnn"
    onnx.save(built, path)
    command = [pathlib.Path(sys.executable).parent / "mnnconvert", "-f", "ONNX", "--modelFile", path, "--MNNModel", converted, "--bizCode", "x"]
    subprocess.run([*command, "--keepInputFormat=1"], check=True, capture_output=True)
    net = MNN.nn.load_module_from_file(str(converted), ["x"], ["y"])
    y = net.forward(MNN.expr.const(X, list(X.shape), MNN.expr.NCHW, MNN.expr.float))
    theirs = np.array(MNN.expr.convert(y, MNN.expr.NCHW).read()).reshape(X.shape)
    runtime = onnxruntime.InferenceSession(str(path)).run(None, {"x": X})[0]
    print(f"lambd {lambd}, bias {bias}, of {X.astype(float).round(2).tolist()}")
    for name, values in (("formula", formula), ("ONNX Runtime", runtime), ("MNN", theirs)):
        print(f"    {name:13} {values.astype(float).round(3).ravel().tolist()}")
    inside_out = np.where(X > 0, formula, np.where(X < -lambd, 0, X + bias))
    return np.allclose(runtime, formula, atol=1e-6), np.allclose(theirs, formula, atol=1e-6), np.allclose(theirs, inside_out, atol=1e-6)


soft, hard = three(0.3, 0.3), three(0.3, 0.0)
print("MNN right:", soft[1], hard[1], "- inside out:", soft[2], hard[2])
sys.exit(0 if soft == hard == (True, False, True) else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
