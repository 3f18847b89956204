#!/usr/bin/env bash
# onnxscript 0.7.2: x + 1e-8 is "simplified" to x and x * 1.000001 to x, so that the epsilon that keeps a division finite is gone.
#
# What happens: the rules that remove the addition of 0 and the multiplication by 1 compare constants with a tolerance, 1e-8 absolute and 1e-5
#   relative. optimizer.optimize, which torch.onnx.export runs by default, takes an added or subtracted 1e-8 or less for 0, and a factor of 1.000001 for 1.
#   x / (|x| + 1e-8) becomes x / |x|: NaN at 0. log(x + 1e-10) becomes -inf, 1 / sqrt(sum + 1e-12) inf. 2e-8 and 1.0001 stay. Nothing is said.
# Expected: only 0 and 1 are 0 and 1: the graph's numbers, as ONNX Runtime has them without the optimizer and with its own.
# Hurts: 1e-8, 1e-10 and 1e-12 are what one adds in front of divisions, logarithms and roots: normalisations, cosine distances, entropies, Adam's steps.
#   The exported network agrees with PyTorch until it meets a blank image or an empty row, and then answers NaN.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import numpy as np
import onnx
import onnxruntime
import onnxscript.optimizer
from onnx import TensorProto, helper, numpy_helper

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime", "onnxscript")))
X = np.array([0, 1e-6, 1], np.float32)


def case(title, nodes, constant, right):
    """Whether the model is right before optimisation and after, and how many nodes are gone."""
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, [output]) for operator, inputs, output in nodes],
        "epsilon",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
        [numpy_helper.from_array(np.float32(constant), "c")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    better = onnxscript.optimizer.optimize(built)
    answers = [onnxruntime.InferenceSession(each.SerializeToString()).run(None, {"x": X})[0] for each in (built, better)]
    verdict = [bool(np.allclose(each, right, rtol=2e-7, atol=0)) for each in answers]
    gone = len(built.graph.node) - len(better.graph.node)
    print(f"{title}: before {answers[0].tolist()}, after {answers[1].tolist()}{', a node is gone' if gone else ''}")
    return *verdict, gone > 0


def quotient(epsilon):
    nodes = [("Abs", ["x"], "a"), ("Add", ["a", "c"], "b"), ("Div", ["x", "b"], "y")]
    return case(f"x / (|x| + {epsilon})", nodes, epsilon, X / (np.abs(X) + np.float32(epsilon)))


def product(factor):
    nodes = [("Mul", ["x", "c"], "s"), ("Abs", ["s"], "y")]
    return case(f"|x * {factor}|", nodes, factor, X * np.float32(factor))


with np.errstate(all="ignore"):
    dropped = [
        *(quotient(epsilon) for epsilon in (1e-8, 1e-9, 1e-12)),
        case("log(x + 1e-10)", [("Add", ["x", "c"], "b"), ("Log", ["b"], "y")], 1e-10, np.log(X + np.float32(1e-10))),
        case("1 / sqrt(x + 1e-12)", [("Add", ["x", "c"], "b"), ("Sqrt", ["b"], "r"), ("Reciprocal", ["r"], "y")], 1e-12, 1 / np.sqrt(X + np.float32(1e-12))),
        case("|x - 1e-8|", [("Sub", ["x", "c"], "s"), ("Abs", ["s"], "y")], 1e-8, np.abs(X - np.float32(1e-8))),
        product(1.000001),
    ]
    kept = [quotient(2e-8), quotient(1e-6), product(1.0001)]
print("dropped and wrong:", dropped == [(True, False, True)] * len(dropped), "- kept and right:", kept == [(True, True, False)] * len(kept))
sys.exit(0 if dropped == [(True, False, True)] * len(dropped) and kept == [(True, True, False)] * len(kept) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
