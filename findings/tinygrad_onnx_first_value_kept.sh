#!/usr/bin/env bash
# tinygrad 0.14.0: a model loaded from ONNX keeps the first position, count or amount of padding that it was given, whatever later calls say.
#
# What happens: OnnxRunner turns inputs such as the starts of Slice, the K of TopK, the pads of Pad or the depth of OneHot into Python numbers, and keeps
#   them by name for the life of the runner. On the second call an input of that name, or a value computed from the inputs, is not looked at again:
#   Slice from 4 answers what Slice from 1 did. An input that has a default in the file (an initializer of its name) cannot be set at all: what the
#   caller gives is dropped. Nothing is said in either case (a comment in the source knows of the first). A new runner is right for its first call.
# Expected: every call computed from the inputs of that call. An initializer with the name of an input is its default in ONNX, not a constant.
# Hurts: whoever loads once and calls often: a window that slides over a signal stands still, a sequence is cut at the length of the first one, top 5 answers
#   like top 1, and a threshold or gain with a default stays at it. A test that makes one call passes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check tinygrad==0.14.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tinygrad.nn.onnx import OnnxRunner

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("tinygrad", "onnx", "onnxruntime")))
folder = pathlib.Path(sys.argv[1])
X = np.arange(8, dtype=np.float32)


def case(title, nodes, calls, output="y", **constants):
    """For the calls after the first: whether ONNX Runtime, a new runner and the runner of the first call are right."""
    inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for name, v in calls[0][0].items()]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n"])]
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    built = helper.make_model(helper.make_graph(nodes, "calls", inputs, outputs, held), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built)
    path = folder / "calls.onnx"
    onnx.save(built, path)
    runtime, runner = onnxruntime.InferenceSession(str(path)), OnnxRunner(path)
    print(title)
    for i, (given, truth) in enumerate(calls):
        answers = [runtime.run(None, given)[0]]
        answers.extend(each(given)[output].numpy() for each in (OnnxRunner(path), runner))
        last = tuple(np.array_equal(each, truth) for each in answers)
        print(f"    call {i + 1}: right {truth.tolist()}, ONNX Runtime {answers[0].tolist()}, new runner {answers[1].tolist()}, kept {answers[2].tolist()}")
        if i == 0:
            first = last
    return first, last


kept = [
    case(
        "Slice from a given place",
        [helper.make_node("Slice", ["x", "start", "end"], ["y"])],
        [({"x": X, "start": np.array([a]), "end": np.array([a + 2])}, X[a : a + 2]) for a in (1, 4)],
    ),
    case(
        "TopK with K given",
        [helper.make_node("TopK", ["x", "k"], ["y", "places"])],
        [({"x": X, "k": np.array([k])}, X[::-1][:k]) for k in (1, 3)],
    ),
    case(
        "Pad with pads given",
        [helper.make_node("Pad", ["x", "pads"], ["y"])],
        [({"x": X, "pads": np.array([a, 0])}, np.pad(X, (a, 0))) for a in (1, 2)],
    ),
    case(
        "a sequence cut at the length that its mask has",
        [
            helper.make_node("ReduceSum", ["mask"], ["length"]),
            helper.make_node("Slice", ["x", "zero", "length"], ["y"]),
        ],
        [({"x": X, "mask": (np.arange(8) < n).astype(np.int64)}, X[:n]) for n in (2, 5)],
        zero=np.array([0]),
    ),
]
default = case(
    "x * gain, of which the file says 2 unless something is given",
    [helper.make_node("Mul", ["x", "gain"], ["y"])],
    [({"x": X, "gain": np.array(gain, np.float32)}, X * gain) for gain in (2, 3)],
    gain=np.array(2, np.float32),
)
once = all(first == (True, True, True) and last == (True, True, False) for first, last in kept)
print("the first value is kept:", once, "- a default cannot be set:", default[1] == (True, False, False))
sys.exit(0 if once and default == ((True, True, True), (True, False, False)) else 1)
PY
DEV=PYTHON "$work/venv/bin/python" "$work/show.py" "$work"
