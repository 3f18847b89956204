#!/usr/bin/env bash
# onnxruntime 1.32.0: of two quantisations in a row one is left, with the finer step of the two, so that the coarser rounding no longer takes place.
#
# What happens: QuantizeLinear, DequantizeLinear, QuantizeLinear, DequantizeLinear of steps 1 and 1/64, in either order, become one pair of step 1/64 over the
#   range that both have: 0.3 becomes 0.296875 where the graph says 0, and values are off by up to half of the coarse step. It is so from the BASIC level
#   on, which is to keep the numbers; without optimisation it is right. Nothing is said. A pair of uint8 and one of int8 stay as they are.
# Expected: rounding to the coarse step, as ORT_DISABLE_ALL, the reference evaluator and the definition have it. A range can be intersected, a rounding cannot.
# Hurts: whoever simulates a coarser grid in a QDQ graph, few levels for an activation or the requantisation between two parts of a network on hardware whose
#   steps differ: the accuracy is that of the finer grid, and the deployed network rounds where the checked one did not. A network with int8 codes to
#   reproduce bit by bit loses that at the joint alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
LEVELS = onnxruntime.GraphOptimizationLevel
x = np.linspace(-1.75, 1.75, 71, dtype=np.float32)[None]


def model(pairs):
    """Quantisations in a row, each of a step and a zero point."""
    nodes, constants, last = [], [], "x"
    for i, (step, zero) in enumerate(pairs):
        constants += [numpy_helper.from_array(np.asarray(step, np.float32), f"step{i}"), numpy_helper.from_array(np.asarray(zero), f"zero{i}")]
        nodes.append(helper.make_node("QuantizeLinear", [last, f"step{i}", f"zero{i}"], [f"codes{i}"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"codes{i}", f"step{i}", f"zero{i}"], [f"real{i}"]))
        last = f"real{i}"
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(x.shape)) for name in ("x", last)]
    built = helper.make_model(helper.make_graph(nodes, "pairs", info[:1], info[1:], constants), opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(built, full_check=True)
    return built


def run(built, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(built.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def rounded(pairs):
    y = x.astype(float)
    for step, zero in pairs:
        limits = np.iinfo(zero.dtype)
        y = (np.clip(np.rint(y / step) + zero, limits.min, limits.max) - zero) * step
    return y


def compare(title, *pairs):
    """Whether the sessions at BASIC and at the default are right; whether they do the finest rounding alone."""
    built, right, finest = model(pairs), rounded(pairs), rounded([min(pairs, key=lambda pair: pair[0])])
    plain, basic, usual = (run(built, level) for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_ALL))
    if not np.array_equal(plain, right) or not np.array_equal(ReferenceEvaluator(built).run(None, {"x": x})[0], right):
        sys.exit(f"{title}: the reference or the plain session is not as by hand")
    good, fine = (tuple(np.array_equal(y, expected) for y in (basic, usual)) for expected in (right, finest))
    print(f"{title}: right at BASIC and by default {good}, the finest rounding alone {fine}; off by {np.abs(usual - right).max()}, "
          f"different values {len(np.unique(usual))} in place of {len(np.unique(right))}")
    return good == (False, False) and fine == (True, True), good == (True, True)


middle = np.uint8(128)
wrong = [
    compare("steps 1, 1/64", (1.0, middle), (1 / 64, middle)),
    compare("steps 1/64, 1", (1 / 64, middle), (1.0, middle)),
    compare("int8, steps 1/8, 1/2", (1 / 8, np.int8(0)), (1 / 2, np.int8(0))),
    compare("steps 1/8, 1/2, 1/4", (1 / 8, middle), (1 / 2, middle), (1 / 4, middle)),
]
right = [
    compare("uint8 of step 1, int8 of step 1/64", (1.0, middle), (1 / 64, np.int8(0))),
    compare("one pair of step 1", (1.0, middle)),
]
as_seen = all(seen for seen, _ in wrong) and all(good for _, good in right)
print("the coarse rounding is left out:", as_seen)
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py"
