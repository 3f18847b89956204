#!/usr/bin/env bash
# onnxruntime 1.32.0: quantize_static divides a Gemm's bias by beta, or leaves beta out, and in the QOperator format multiplies it by alpha.
#
# What happens: a Gemm is alpha A B + beta C. The codes of C are made with a step of beta times that of the products, and read without beta: with a beta of 1/2
#   C is doubled in place of halved. In the QOperator format alpha multiplies C as well: alpha (A B + C / beta). In the QDQ format beta is set to 1 and the
#   step written out, so that the file says alpha A B + C; where alpha is 1 the runtime drops the step again, A B + C / beta. Nothing is said. With
#   alpha and beta 1, or without C, both are right, and so is QDQ of beta 1 with any alpha.
# Expected: the same function but for rounding.
# Hurts: Gemms from PyTorch's addmm(beta=, alpha=), from LoRA merged as alpha A B, and from optimizers that fold a factor into alpha or beta.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import logging
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

logging.disable(logging.WARNING)  # the advice to preprocess the model, the only one there is
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime")))
folder = pathlib.Path(sys.argv[1])
random = np.random.default_rng(2)
X, W, C = (random.uniform(-1, 1, shape).astype(np.float32) for shape in ((16, 8), (8, 4), 4))
C *= 4


class Once(CalibrationDataReader):
    def __init__(self):
        self.left = [{"x": X}]

    def get_next(self):
        return self.left.pop() if self.left else None


def case(alpha, beta, bias=True):
    """Which formula each format is nearest to, by name, among those within 3 % of the largest value."""
    inputs = ["x", "w", "c"] if bias else ["x", "w"]
    held = [numpy_helper.from_array(value, name) for name, value in (("w", W), ("c", C)) if name in inputs]
    graph = helper.make_graph(
        [helper.make_node("Gemm", inputs, ["y"], alpha=alpha, beta=beta)],
        "gemm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (16, 4))],
        held,
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    path, quantised = folder / "gemm.onnx", folder / "quantised.onnx"
    onnx.save(built, path)
    product = X.astype(float) @ W
    formulas = {"alpha A B + beta C": alpha * product + beta * C * bias}
    if bias:
        formulas.update({"alpha A B + C": alpha * product + C, "alpha (A B + C / beta)": alpha * (product + C / beta)})
    right = onnxruntime.InferenceSession(str(path)).run(None, {"x": X})[0]
    assert np.allclose(right, formulas["alpha A B + beta C"], atol=1e-5)
    ends = right.min(), right.max()  # what lies beyond the range of the right answers cannot be told by the codes
    found = []
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(path, quantised, Once(), quant_format=form)
        theirs = onnxruntime.InferenceSession(str(quantised)).run(None, {"x": X})[0]
        off = {name: np.abs(np.clip(value, min(ends[0], 0), max(ends[1], 0)) - theirs).max() / np.abs(right).max() for name, value in formulas.items()}
        best = min(off, key=off.get)
        found.append(best if off[best] < 0.03 else "none")
        print(f"alpha {alpha}, beta {beta}{'' if bias else ', no C'}: {form.name} is {found[-1]}, off from the right one by {off['alpha A B + beta C']:.1%}")
    return found


right, unscaled, divided = "alpha A B + beta C", "alpha A B + C", "alpha (A B + C / beta)"
good = [case(1.0, 1.0), case(0.5, 0.5, bias=False)]
wrong = [case(1.0, 0.5), case(1.0, 2.0), case(2.0, 0.5), case(0.5, 2.0), case(0.5, 1.0)]
as_seen = wrong == [[divided, divided]] * 2 + [[unscaled, divided]] * 2 + [[right, divided]]
print("beta is inverted or lost:", as_seen, "- without it right:", good == [[right, right]] * 2)
sys.exit(0 if as_seen and good == [[right, right]] * 2 else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
