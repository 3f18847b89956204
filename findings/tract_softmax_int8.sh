#!/usr/bin/env bash
# tract 0.23.9: a Softmax between codes of 8 bits answers 1 for every class.
#
# What happens: where a Softmax has DequantizeLinear in front and QuantizeLinear behind, tract computes it of the codes, and every answer is 1, or the largest
#   code there is (255/256 for a step of 1/256, 127/128 for int8 of 1/128): whatever the input, its step, the zero points and the axis. Nothing is said.
#   With quantisation on one side alone it is right, and so is the rest of the network in front.
# Expected: probabilities that sum to 1 but for the rounding, as ONNX Runtime, the reference evaluator and the formula have them.
# Hurts: classifiers quantised to the last node, as tools do that are not told to leave the Softmax out, and every attention, whose Softmax stands between two
#   products: the argmax is always the first class, and attention becomes a sum over all tokens.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 tract==0.23.9 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime", "tract")))
folder = pathlib.Path(sys.argv[1])


def model(shape, axis, before, behind):
    """A Softmax with a quantisation, a step and a zero point, in front and one behind; None for none."""
    nodes, constants = [], []

    def quantised(name, grid):
        if grid is None:
            return name
        for what, value in zip(("step", "zero"), (np.float32(grid[0]), grid[1])):
            constants.append(numpy_helper.from_array(value, f"{name}_{what}"))
        nodes.append(helper.make_node("QuantizeLinear", [name, f"{name}_step", f"{name}_zero"], [f"{name}_codes"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_codes", f"{name}_step", f"{name}_zero"], [f"{name}_real"]))
        return f"{name}_real"

    source = quantised("x", before)
    nodes.append(helper.make_node("Softmax", [source], ["p"], axis=axis))
    last = quantised("p", behind)
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", last)]
    built = helper.make_model(helper.make_graph(nodes, "softmax", info[:1], info[1:], constants), opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(built, full_check=True)
    return built


def compare(title, x, axis, before, behind):
    """Whether tract is right, and whether all of its values are the same."""
    built = model(list(x.shape), axis, before, behind)
    step = behind[0] if behind else 1e-6
    e = np.exp(x.astype(float) - x.max(axis, keepdims=True))
    right = e / e.sum(axis, keepdims=True)
    path = folder / "softmax.onnx"
    onnx.save(built, path)
    others = [onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0], ReferenceEvaluator(built).run(None, {"x": x})[0]]
    if not all(np.abs(y - right).max() < 1.5 * step for y in others):
        sys.exit(f"{title}: ONNX Runtime or the reference is not as by hand")
    y = tract.onnx().load(str(path)).into_model().into_runnable().run([x])[0].to_numpy()
    good, flat = bool(np.abs(y - right).max() < 1.5 * step), len(np.unique(y)) == 1
    print(f"{title}: tract is right: {good}, one value for all: {flat}; {y.ravel()[:4].tolist()} for {np.round(right.ravel()[:4], 4).tolist()}")
    return good, flat


row = np.array([[0, 1, 2, 3]], np.float32)
tokens = (np.random.default_rng(1).integers(-32, 33, (1, 2, 3, 3)) / 16).astype(np.float32)
uint8, int8 = (1 / 16, np.uint8(100)), (1 / 16, np.int8(0))
wrong = [
    compare("four classes", row, 1, uint8, (1 / 256, np.uint8(0))),
    compare("step 1, zero point 0", row, 1, (1.0, np.uint8(0)), (1 / 256, np.uint8(0))),
    compare("int8", row, 1, int8, (1 / 128, np.int8(0))),
    compare("int8 from -128 on", row, 1, int8, (1 / 256, np.int8(-128))),
    compare("three tokens of two heads", tokens, -1, uint8, (1 / 256, np.uint8(0))),
]
right = [
    compare("no quantisation behind", row, 1, uint8, None),
    compare("no quantisation in front", row, 1, None, (1 / 256, np.uint8(0))),
]
as_seen = all(seen == (False, True) for seen in wrong) and all(good for good, _ in right)
print("every class has 1:", as_seen)
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
