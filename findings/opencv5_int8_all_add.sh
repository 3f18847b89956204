#!/usr/bin/env bash
# OpenCV 5.0.0 dnn: in an int8 network Sub, Div, Pow, Max, Min and Mean of two tensors are computed as Add.
#
# What happens: where both operands come from DequantizeLinear and the result goes into QuantizeLinear, the node becomes OpenCV's elementwise layer for
#   integers, and that adds, whatever the operator was: 3 - 1 is 4, and the maximum of 3 and 1 is 4. Add and Mul are right, and so are all of them with a
#   constant for one operand, without quantisation behind, or without any. Nothing is said.
# Expected: the operator that the node names, as ONNX Runtime, the reference evaluator and NumPy have it, or the float one, as for Mul.
# Hurts: maxout and merging by maximum, a difference of two branches, normalisation by a measured norm, a mean of two heads, in each network that is quantised
#   all through: shapes and ranges fit, and the float network, with which one would compare, is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime")), "OpenCV", cv2.__version__)
IN, OUT = 1 / 16, 1 / 8  # steps of the operands and of the result
OPERATORS = {"Add": np.add, "Mul": np.multiply, "Sub": np.subtract, "Div": np.divide, "Pow": np.power, "Max": np.maximum, "Min": np.minimum,
             "Mean": lambda a, b: (a + b) / 2}  # fmt: skip
SHAPE = [1, 2, 3, 4]


def model(operator, behind):
    constants = [numpy_helper.from_array(value, name) for name, value in (
        ("in", np.float32(IN)), ("out", np.float32(OUT)), ("zero", np.uint8(128)))]  # fmt: skip
    nodes = []

    def quantised(name, step):
        nodes.append(helper.make_node("QuantizeLinear", [name, step, "zero"], [f"{name}_codes"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_codes", step, "zero"], [f"{name}_real"]))
        return f"{name}_real"

    nodes.append(helper.make_node(operator, [quantised("a", "in"), quantised("b", "in")], ["y"]))
    last = quantised("y", "out") if behind else "y"
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("a", "b", last)]
    used = [constant for constant in constants if behind or constant.name != "out"]
    built = helper.make_model(helper.make_graph(nodes, "two", info[:2], info[2:], used), opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(built, full_check=True)
    return built


def rounded(y):
    return np.clip(np.rint(y / OUT), -128, 127) * OUT


random = np.random.default_rng(1)
a, b = ((random.integers(8, 33, SHAPE) * IN).astype(np.float32) for _ in range(2))  # from 0.5 to 2
a.ravel()[0], b.ravel()[0] = 3, 1
found = {}
for operator, function in OPERATORS.items():
    right = function(a.astype(float), b.astype(float))
    for behind in (True, False):
        built, expected = model(operator, behind), rounded(right) if behind else right
        data, near = built.SerializeToString(), 1.01 * OUT if behind else 1e-4  # halves may be rounded either way
        others = [onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"a": a, "b": b})[0],
                  ReferenceEvaluator(built).run(None, {"a": a, "b": b})[0]]  # fmt: skip
        if not all(np.abs(y - expected).max() < near for y in others):
            sys.exit(f"{operator}: ONNX Runtime or the reference is not as by hand")
        net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
        net.setInput(a, "a")
        net.setInput(b, "b")
        y = net.forward()
        good, added = (bool(np.abs(y - other).max() < near) for other in (expected, rounded(a + b)))
        found[operator, behind] = good, added
        print(f"{operator}, {'quantised' if behind else 'a float'} behind: right {good}, the sum {added}; "
              f"of 3 and 1 {y.ravel()[0]}, by hand {expected.ravel()[0]}")  # fmt: skip

sums = {"Sub", "Div", "Pow", "Max", "Min", "Mean"}
as_seen = all(found[operator, False][0] for operator in OPERATORS)
as_seen = as_seen and all(found[operator, True] == ((False, True) if operator in sums else (True, operator == "Add")) for operator in OPERATORS)
print("all but Mul are sums:", as_seen)
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py"
