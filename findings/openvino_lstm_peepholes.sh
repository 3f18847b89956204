#!/usr/bin/env bash
# OpenVINO 2026.4.1: the peephole weights of an ONNX LSTM are dropped.
#
# What happens: LSTM has an optional input P, the weights from the cell state to the gates. OpenVINO reads such a model and computes
#   the LSTM without P: no refusal, no warning, the same numbers for every P.
# Expected: the equations of the specification with Pi, Po and Pf, as ONNX Runtime has them, or a refusal.
# Hurts: speech and handwriting models from before the cuDNN days, where peepholes were the usual kind of LSTM.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "openvino", openvino.__version__)
x = np.ones((3, 1, 1), np.float32)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def by_formula(pi, po, pf):
    """Three steps of one unit whose only other weight is 1, from the input to the cell."""
    c, out = 0.0, []
    for _ in range(3):
        c = sigmoid(pf * c) * c + sigmoid(pi * c) * np.tanh(1.0)
        out.append(sigmoid(po * c) * np.tanh(c))
    return np.array(out)


def three(title, *p):
    """Whether ONNX Runtime and whether OpenVINO have the formula's numbers, and the latter's numbers."""
    w = np.array([0, 0, 0, 1], np.float32).reshape(1, 4, 1)
    weights = {"w": w, "r": np.zeros_like(w), "p": np.array([p], np.float32)}
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "w", "r", "", "", "", "", "p"], ["y"], hidden_size=1)],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 1, 1, 1])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    data, core = built.SerializeToString(), openvino.Core()
    answers = {"formula": by_formula(*p), "ONNX Runtime": onnxruntime.InferenceSession(data).run(None, {"x": x})[0].ravel()}
    compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers["OpenVINO"] = compiled([x])[0].ravel()
    print(f"P {title}:", *(f"{name} {np.round(y.astype(float), 4).tolist()}" for name, y in answers.items()))
    right = [bool(np.allclose(answers[name], answers["formula"], atol=1e-5)) for name in ("ONNX Runtime", "OpenVINO")]
    return right, answers["OpenVINO"]


zero, plain = three("zero", 0, 0, 0)
others = [three("to the input gate", 5, 0, 0), three("to the output gate", 0, 5, 0), three("to the forget gate", 0, 0, 5)]
dropped = all(right == [True, False] and np.array_equal(y, plain) for right, y in others)
print("P is dropped:", dropped)
sys.exit(0 if zero == [True, True] and dropped else 1)
PY
"$work/venv/bin/python" "$work/show.py"
