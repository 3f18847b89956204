#!/usr/bin/env bash
# OpenVINO 2026.4.1 and MNN 3.6.1: Resize with keep_aspect_ratio_policy stretches the image all the same.
#
# What happens: with the policy not_larger (or not_smaller) Resize takes one scale for all axes, the smaller (larger) one that sizes would give. OpenVINO and
#   MNN ignore the attribute, at load and at run: a 4 by 6 image to sizes (8, 8) is stretched to 8 by 8.
# Expected: 5 by 8 and 8 by 12, as ONNX Runtime and tract give; the ratios are written in the specification with an example.
# Hurts: detectors that carry their letterboxing in the graph: with the Pad after it a fixed shape comes out either way, and the boxes, scaled back by one
#   factor, are off. Square test images show nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 MNN==3.6.1 tract==0.23.9 numpy==2.4.6
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
import openvino
import tract
from onnx import TensorProto, helper, numpy_helper

for name in ("onnx", "onnxruntime", "openvino", "MNN", "tract"):
    print(name, importlib.metadata.version(name), end=" ")
print()
folder = pathlib.Path(sys.argv[1])


def by_runtime(path, x):
    return onnxruntime.InferenceSession(str(path)).run(None, {"x": x})[0]


def by_tract(path, x):
    return tract.onnx().load(str(path)).into_model().into_runnable().run([x])[0].to_numpy()


def by_openvino(path, x):
    return openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])[0]


def by_mnn(path, x):
    converted = path.with_suffix(".mnn")
    command = [pathlib.Path(sys.executable).parent / "mnnconvert", "-f", "ONNX", "--modelFile", path, "--MNNModel", converted, "--bizCode", "x"]
    subprocess.run([*command, "--keepInputFormat=1"], check=True, capture_output=True)
    net = MNN.nn.load_module_from_file(str(converted), ["x"], ["y"])
    y = net.forward(MNN.expr.const(x, list(x.shape), MNN.expr.NCHW, MNN.expr.float))
    return np.array(MNN.expr.convert(y, MNN.expr.NCHW).read())


ENGINES = {"ONNX Runtime": by_runtime, "tract": by_tract, "OpenVINO": by_openvino, "MNN": by_mnn}


def shapes(policy, height, width):
    x = np.arange(height * width, dtype=np.float32).reshape(1, 1, height, width)
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], axes=[2, 3], keep_aspect_ratio_policy=policy, mode="nearest")],
        "letterbox",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "height", "width"])],
        [numpy_helper.from_array(np.array([8, 8]), "sizes")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    path = folder / "resize.onnx"
    onnx.save(built, path)
    seen = [engine(path, x).shape[2:] for engine in ENGINES.values()]
    print(f"{height} by {width} to (8, 8), {policy}:", *(f"{name} {y}" for name, y in zip(ENGINES, seen, strict=True)))
    return seen


found = [shapes("stretch", 4, 6), shapes("not_larger", 4, 6), shapes("not_smaller", 4, 6), shapes("not_larger", 4, 4)]
expected = [[(8, 8)] * 4, [(5, 8)] * 2 + [(8, 8)] * 2, [(8, 12)] * 2 + [(8, 8)] * 2, [(8, 8)] * 4]
sys.exit(0 if found == expected else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
