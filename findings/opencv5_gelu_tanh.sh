#!/usr/bin/env bash
# OpenCV 5.0.0: its new dnn engine reads Gelu and ignores approximate="tanh".
#
# What happens: an opset-20 Gelu node gives the exact, erf-based function whether or not its attribute asks for the tanh approximation, with no
#   word at load. The two differ by up to 4.7e-4, far above float32 noise, and by whole steps where an 8-bit quantiser follows.
# Expected: the approximation that the node names, or a refusal; the same formula spelled out with Tanh is computed as written.
# Hurts: whoever deploys a network trained with the tanh form (the default of jax.nn.gelu, and what GPT-2 was trained with)
#   and looks for the difference in the preprocessing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import math
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "opencv", cv2.__version__)
X = np.linspace(-4, 4, 81, dtype=np.float32)[None]
DOUBLE = X.astype(np.float64)
EXACT = DOUBLE * 0.5 * (1 + np.vectorize(math.erf)(DOUBLE / math.sqrt(2)))
TANH = DOUBLE * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (DOUBLE + 0.044715 * DOUBLE**3)))


def errors(form):
    graph = helper.make_graph(
        [helper.make_node("Gelu", ["x"], ["y"], approximate=form)],
        "gelu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, X.shape)],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(built, full_check=True)
    data = built.SerializeToString()
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(X, "x")
    answers = {"onnxruntime": onnxruntime.InferenceSession(data).run(None, {"x": X})[0], "opencv": net.forward("y")}
    out = {}
    for name, y in answers.items():
        out[name] = (abs(y - EXACT).max(), abs(y - TANH).max())
        print(f"approximate={form!r} {name:12} distance from the erf form {out[name][0]:.1e}, from the tanh form {out[name][1]:.1e}")
    return out


none, tanh = errors("none"), errors("tanh")
noise, gap = 1e-5, 4e-4
same = none["opencv"][0] < noise and none["onnxruntime"][0] < noise and tanh["onnxruntime"][1] < noise
sys.exit(0 if same and tanh["opencv"][0] < noise and tanh["opencv"][1] > gap else 1)
PY
"$work/venv/bin/python" "$work/show.py"
