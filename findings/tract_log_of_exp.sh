#!/usr/bin/env bash
# tract 0.23.9: Softplus, ReduceLogSumExp and LogSoftmax are computed as the logarithm of an exponential that has overflowed or vanished.
#
# What happens: Softplus of 100 is inf, ReduceLogSumExp of (200, 100) is inf and of (-200, -201) is -inf, and LogSoftmax of (0, 200) has
#   -inf for its first value. All inputs are plain float32 numbers and so are all right answers: 100, 200, -199.687 and -200.
# Expected: the usual forms that take the maximum out first, as ONNX Runtime has them.
# Hurts: log-likelihoods, energies and every loss or score computed in the graph: one confident logit turns the sum into inf or NaN, and
#   networks with Softplus (Mish spelled out, variance heads) fail on their largest activations alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 tract==0.23.9 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "tract", version("tract"))
path = Path(sys.argv[1]) / "one.onnx"


def three(op, row, right, **attributes):
    """By the formula in float64, by ONNX Runtime and by tract."""
    x = np.array([row], np.float32)
    right = np.array(right)
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, right.size])],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    onnx.save(built, path)
    runtime = onnxruntime.InferenceSession(path).run(None, {"x": x})[0].ravel()
    theirs = tract.onnx().load(str(path)).into_model().into_runnable().run([x])[0].to_numpy().ravel()
    print(f"{op} of {row}:", end=" ")
    answers = (("formula", right), ("ONNX Runtime", runtime), ("tract", theirs))
    print(*(f"{name} {np.round(v.astype(float), 3).tolist()}" for name, v in answers))
    assert np.allclose(runtime, right, rtol=1e-5)
    return bool(np.allclose(theirs, right, rtol=1e-4)), bool(np.isinf(theirs).any())


def summed(row):
    return np.logaddexp.reduce(np.array(row, float))


fine = [
    three("Softplus", [2, 50], np.logaddexp(0, [2.0, 50.0])),
    three("ReduceLogSumExp", [2, 1], [summed([2, 1])], axes=[1]),
    three("LogSoftmax", [0, 20], np.array([0, 20]) - summed([0, 20]), axis=1),
]
infinite = [
    three("Softplus", [2, 100], np.logaddexp(0, [2.0, 100.0])),
    three("ReduceLogSumExp", [200, 100], [summed([200, 100])], axes=[1]),
    three("ReduceLogSumExp", [-200, -201], [summed([-200, -201])], axes=[1]),
    three("LogSoftmax", [0, 200], np.array([0, 200]) - summed([0, 200]), axis=1),
]
print("right and free of inf for small values:", fine, "- for large ones:", infinite)
sys.exit(0 if all(r == (True, False) for r in fine) and all(r == (False, True) for r in infinite) else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
