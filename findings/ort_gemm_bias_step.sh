#!/usr/bin/env bash
# onnxruntime 1.32.0: a quantised Gemm takes the codes of its bias and not their step.
#
# What happens: where DequantizeLinear, Gemm and QuantizeLinear stand around one another, the default level turns them into one QGemm, which reads the int32
#   bias in steps of input step times weight step. A bias that was written with any other step, such as 2 or 4 times that, or with a scale of its own for
#   each output, is taken for one of those: codes 8 of step 1/2 count as 1 in place of 4. Nothing is said. A Conv in the same place looks at the
#   step and stays a float Conv where it differs. Without optimisation both are right.
# Expected: the value that the file's DequantizeLinear gives, at every level.
# Hurts: files of quantisers that give the bias a step of its own, such as a power of two, or that move the weights' scales afterwards. onnxruntime's own
#   quantize_static writes such files for Gemms with beta.
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
from onnx import TensorProto, helper, numpy_helper

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime")))
LEVELS = onnxruntime.GraphOptimizationLevel


def case(operator, times):
    """Input step 1/4, weight step 1/2, weights 1 and 1; the bias has codes 8 and -4 of a step `times` what the product of the two is."""
    tail = (1, 1) if operator == "Conv" else ()
    x = np.array([4, 6], np.float32).reshape(1, 2, *tail)
    step = (np.float32(0.125) * np.asarray(times, np.float32)).astype(np.float32)
    held = {
        "xs": np.float32(0.25),
        "xz": np.uint8(0),
        "w": (2 * np.eye(2, dtype=np.int8)).reshape(2, 2, *tail),
        "ws": np.full(2, 0.5, np.float32) if step.ndim else np.float32(0.5),
        "wz": np.zeros(step.shape, np.int8),
        "b": np.array([8, -4], np.int32),
        "bs": step,
        "ys": np.float32(0.25),
        "yz": np.uint8(100),
    }
    along = {"axis": 0} if step.ndim else {}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], **along),
        helper.make_node("DequantizeLinear", ["b", "bs"], ["bd"], **along),
        helper.make_node(operator, ["xd", "wd", "bd"], ["s"], **({"transB": 1} if operator == "Gemm" else {})),
        helper.make_node("QuantizeLinear", ["s", "ys", "yz"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]),
    ]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()]
    built = helper.make_model(helper.make_graph(nodes, "bias", info[:1], info[1:], constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    right = (x.ravel() + held["b"] * held["bs"]).tolist()
    answers = []
    for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        answers.append(onnxruntime.InferenceSession(built.SerializeToString(), options).run(None, {"x": x})[0].ravel().tolist())
    print(f"{operator}, bias step {times} times the product's: right {right}, without optimisation {answers[0]}, by default {answers[1]}")
    return answers[0] == right, answers[1] == right, answers[1]


same = case("Gemm", 1)
steps = [case("Gemm", 2), case("Gemm", 4), case("Gemm", [1, 4])]
convolved = [case("Conv", 1), case("Conv", 2), case("Conv", 4), case("Conv", [1, 4])]
unread = all(each == (True, False, same[2]) for each in steps)
print("Gemm's bias step is not read:", unread, "- Conv right:", all(each[1] for each in convolved))
sys.exit(0 if same[:2] == (True, True) and unread and all(each[:2] == (True, True) for each in convolved) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
