#!/usr/bin/env bash
# OpenCV 5.0.0 dnn: direction="reverse" of GRU is not obeyed, and of LSTM the final state is taken from the wrong end.
#
# What happens: a reverse GRU gives exactly the numbers of a forward GRU. A reverse LSTM gives the right sequence Y, but its Y_h and Y_c are
#   the states after the first step it took (the last of the sequence), not after the last one. Nothing is said at load.
# Expected: as the specification and ONNX Runtime have it: the pass runs from the end, and Y_h is the row of Y at time 0.
# Hurts: sequence classifiers that read Y_h, and pairs of one forward and one reverse layer in place of a bidirectional one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  onnx==1.23.2 onnxruntime==1.32.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "opencv", cv2.__version__)
STEPS, SIZE = 4, 2


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def by_formula(op, x, w, r, direction):
    """Y, Y_h and, for LSTM, Y_c by the equations of the specification, without biases."""
    h = c = np.zeros(SIZE)
    y = np.zeros((STEPS, SIZE))
    for t in range(STEPS)[:: -1 if direction == "reverse" else 1]:
        a, b = (w @ x[t]).reshape(-1, SIZE), (r @ h).reshape(-1, SIZE)
        if op == "GRU":
            z, reset = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
            h = (1 - z) * np.tanh(a[2] + r[2 * SIZE :] @ (reset * h)) + z * h
        else:
            i, o, f, g = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1]), sigmoid(a[2] + b[2]), np.tanh(a[3] + b[3])
            c = f * c + i * g
            h = o * np.tanh(c)
        y[t] = h
    return [y, h] if op == "GRU" else [y, h, c]


def three(op, gates, direction):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((STEPS, 1, 3)).astype(np.float32)
    w, r = (rng.standard_normal((1, gates * SIZE, n)).astype(np.float32) for n in (3, SIZE))
    shapes = {"y": [STEPS, 1, 1, SIZE], "h": [1, 1, SIZE], "c": [1, 1, SIZE]}
    names = list(shapes)[: 2 if op == "GRU" else 3]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w", "r"], names, hidden_size=SIZE, direction=direction)],
        "rnn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in names],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(r, "r")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    data = built.SerializeToString()
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(x, "x")
    formula = by_formula(op, x[:, 0].astype(float), w[0].astype(float), r[0].astype(float), direction)
    runtime, theirs = onnxruntime.InferenceSession(data).run(names, {"x": x}), net.forward(names)
    print(op, direction)
    for name, answer in (("formula", formula), ("ONNX Runtime", runtime), ("OpenCV", theirs)):
        y, h = (np.round(np.asarray(v, float).ravel(), 3).tolist() for v in answer[:2])
        print(f"  {name:12} Y {y} Y_h {h}")
    assert all(np.allclose(np.ravel(a), np.ravel(b), atol=1e-5) for a, b in zip(runtime, formula, strict=True))
    right = [bool(np.allclose(np.ravel(a), np.ravel(b), atol=1e-4)) for a, b in zip(theirs, formula, strict=True)]
    print("  OpenCV right in", dict(zip(names, right, strict=True)))
    return right, theirs


gru, gru_values = three("GRU", 3, "forward")
back, back_values = three("GRU", 3, "reverse")
lstm, _ = three("LSTM", 4, "forward")
lstm_back, _ = three("LSTM", 4, "reverse")
ignored = all(np.array_equal(a, b) for a, b in zip(gru_values, back_values, strict=True))
print("reverse GRU equals forward GRU:", ignored)
as_seen = all(gru) and all(lstm) and ignored and back == [False, False] and lstm_back == [True, False, False]
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py"
