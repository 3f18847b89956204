#!/usr/bin/env bash
# pnnx and ncnn 20261020: an ONNX Shrink loses both its attributes on the way to ncnn and runs with the defaults, lambd 0.5 and bias 0.
#
# What happens: pnnx writes the Shrink layer without the threshold and the bias of the ONNX node, or, where the bias is 0, with a threshold of 0.5 in place of
#   the node's. ncnn loads the file and cuts hard at 0.5, whatever was asked for.
# Expected: the node's lambd and bias in the .param file, where ncnn's layer has a place for both.
# Hurts: soft thresholding at a learned or tuned level, in denoising and sparse coding, on the way to a phone: a soft threshold of 0.3 becomes a hard one of
#   0.5. Whoever tries the node with its default attributes sees it pass.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# pnnx names PyTorch as a requirement, for its Python half; the converter is a program of its own.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps pnnx==20261020
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 ncnn==1.0.20261020 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import pathlib
import subprocess
import sys

import ncnn
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

for name in ("onnx", "onnxruntime", "pnnx", "ncnn"):
    print(name, importlib.metadata.version(name), end=" ")
print()
folder = pathlib.Path(sys.argv[1])
converter = importlib.metadata.distribution("pnnx").locate_file("pnnx/pnnx")
X = np.array([-3, -1, -0.4, -0.2, 0.2, 0.4, 1, 3], np.float32)


def shrink(lambd, bias):
    return np.where(X < -lambd, X + bias, np.where(lambd < X, X - bias, 0))


def case(lambd, bias):
    """Whether ONNX Runtime and ncnn have the formula's numbers, and whether ncnn has those of the defaults."""
    graph = helper.make_graph(
        [helper.make_node("Shrink", ["x"], ["y"], lambd=lambd, bias=bias)],
        "shrink",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [8])],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    onnx.save(built, folder / "shrink.onnx")
    subprocess.run([str(converter), "shrink.onnx", "inputshape=[8]f32"], check=True, capture_output=True, cwd=folder)
    layer = next(line for line in (folder / "shrink.ncnn.param").read_text().splitlines() if line.startswith("Shrink"))
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(folder / "shrink.ncnn.param")) == 0 and net.load_model(str(folder / "shrink.ncnn.bin")) == 0
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(X).clone())
    theirs = np.array(extractor.extract("out0")[1])
    runtime = onnxruntime.InferenceSession(str(folder / "shrink.onnx")).run(None, {"x": X})[0]
    print(f"lambd {lambd}, bias {bias}: {' '.join(layer.split())}")
    for name, values in (("formula", shrink(lambd, bias)), ("ONNX Runtime", runtime), ("ncnn", theirs)):
        print(f"    {name:13} {values.astype(float).round(3).tolist()}")
    compared = [(runtime, shrink(lambd, bias)), (theirs, shrink(lambd, bias)), (theirs, shrink(0.5, 0))]
    return [bool(np.allclose(a, b, atol=1e-5)) for a, b in compared]


defaults, hard, soft = case(0.5, 0.0), case(0.3, 0.0), case(0.3, 0.3)
print("ncnn right:", defaults[1], hard[1], soft[1], "- ncnn as with the defaults:", defaults[2], hard[2], soft[2])
sys.exit(0 if defaults == [True, True, True] and hard == soft == [True, False, True] else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
