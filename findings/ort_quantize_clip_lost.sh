#!/usr/bin/env bash
# onnxruntime 1.32.0: quantize_static removes a Clip behind a Conv or Gemm also where its bounds do not coincide with the ends of the codes.
#
# What happens: a Clip, like a Relu, is removed in the belief that its quantised output cannot leave the bounds. The range of the codes is always widened to
#   hold 0, so that a lower bound above 0 and an upper one below 0 are no ends of it: Clip from 0.5 on lets everything down to 0 pass. In both formats,
#   QDQ and QOperator, at the default settings; nothing is said. Clip(0, 6) and Clip(-1, 1) are right, and with ActivationSymmetric the Clip stays. The
#   option QDQKeepRemovableActivations keeps it too; its description speaks of transformations that drop the quantisation later, not of values.
# Expected: the Clip left in place where the removal changes the function.
# Hurts: clamp(min=0.5) in front of a division, a logarithm or a root, which is there to keep it finite: 1 / x becomes inf. Gates and temperatures with a
#   floor, angles and log variances with bounds of one sign.
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
X = np.array([-4, -2, -1, 0, 1, 2, 3, 4], np.float32).reshape(1, 1, 1, 8)


class Once(CalibrationDataReader):
    def __init__(self):
        self.left = [{"x": X}]

    def get_next(self):
        return self.left.pop() if self.left else None


def run(path):
    return onnxruntime.InferenceSession(str(path)).run(None, {"x": X})[0].ravel()


def case(low, high, options={}, divide=False):
    """Whether the quantised models of both formats stay within two steps of the float one."""
    constants = {"w": np.ones((1, 1, 1, 1)), "low": low, "high": high, "one": 1}
    bounds = [name if constants[name] is not None else "" for name in ("low", "high")]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Clip", ["c", *bounds], ["d" if divide else "y"])]
    if divide:
        nodes.append(helper.make_node("Div", ["one", "d"], ["y"]))
    used = {each for node in nodes for each in node.input}
    held = [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items() if name in used]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, X.shape) for name in "xy"]
    built = helper.make_model(helper.make_graph(nodes, "clip", info[:1], info[1:], held), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    path, quantised = folder / "clip.onnx", folder / "quantised.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(built), path)
    right = run(path)
    print(f"Clip({low}, {high}){', and 1 / x' if divide else ''} {options or ''}\n    float     {right.round(3).tolist()}")
    near = []
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(path, quantised, Once(), quant_format=form, extra_options=options)
        theirs = run(quantised)
        kept = any(node.op_type == "Clip" for node in onnx.load(quantised).graph.node)
        print(f"    {form.name:9} {theirs.astype(float).round(3).tolist()}, a Clip is {'there' if kept else 'gone'}")
        near.append(bool(np.abs(theirs - right).max() < 16 / 255))
    return near


wrong = [case(0.5, None), case(1.5, 3.0), case(None, -0.5), case(-3.0, -1.0)]
good = [case(0.0, 3.0), case(-1.0, 1.0), case(0.5, None, {"ActivationSymmetric": True})]
with np.errstate(all="ignore"):
    infinite = case(0.5, None, divide=True)
option = case(0.5, None, {"QDQKeepRemovableActivations": True})
seen = wrong == [[False, False]] * 4 and infinite == [False, False] and good == [[True, True]] * 3 and option == [True, False]
print("bounds away from 0 are lost:", wrong == [[False, False]] * 4, "- the others right:", good == [[True, True]] * 3)
sys.exit(0 if seen else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
