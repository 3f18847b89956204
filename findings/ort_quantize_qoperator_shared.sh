#!/usr/bin/env bash
# onnxruntime 1.32.0: quantize_static in the QOperator format drops a Relu whose input is used twice, gives two layers one bias step, and cuts a Pad's value.
#
# What happens: a Relu or Clip behind a quantised node is always removed, as if the codes of that node ended at its bounds. They do not where another node
#   uses the value as well, and the Relu is simply gone: relu(c) + c is 2 c. A bias that two Convs share is quantised once, with the step of the first, and
#   read by the second with its own: wrong by the ratio of the two. The value of a Pad is turned into a code of its input's range and cut at the end of
#   that: 7 around values up to 4 becomes 4. Nothing is said. The QDQ format is right in all three.
# Expected: the same function but for rounding, as in the QDQ format.
# Hurts: CReLU, pre-activated residual blocks and gates (x * relu(x)), where a value goes on with and without its Relu; layers with tied biases, such as heads
#   that run on several levels of a pyramid; padding with a large number or a very negative one in front of a maximum.
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

logging.disable(logging.WARNING)  # the advice to preprocess the model, and that QInt8 is slower in the QOperator format
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxruntime")))
folder = pathlib.Path(sys.argv[1])
X = np.array([-4, -2, -1, 0, 1, 2, 3, 4], np.float32).reshape(1, 1, 1, 8)


class Once(CalibrationDataReader):
    def __init__(self):
        self.left = [{"x": X}]

    def get_next(self):
        return self.left.pop() if self.left else None


def case(title, right, nodes, **constants):
    """Whether the models of both formats are within two steps of the right values, and what the QOperator one answers."""
    right = np.array(right, float)
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    info = [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape), helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, 1, right.size))]
    made = [helper.make_node(operator, inputs, [output]) for operator, inputs, output in nodes]
    built = helper.make_model(helper.make_graph(made, "shared", info[:1], info[1:], held), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    path, quantised = folder / "shared.onnx", folder / "quantised.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(built), path)
    assert np.allclose(onnxruntime.InferenceSession(str(path)).run(None, {"x": X})[0].ravel(), right)
    print(f"{title}\n    right     {right.tolist()}")
    near = []
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(path, quantised, Once(), quant_format=form)
        theirs = onnxruntime.InferenceSession(str(quantised)).run(None, {"x": X})[0].ravel()
        print(f"    {form.name:9} {theirs.astype(float).round(3).tolist()}")
        near.append(bool(np.abs(theirs - right).max() < 2.5 * (right.max() - right.min()) / 255))
    return near


x, one, conv = X.ravel(), np.ones((1, 1, 1, 1), np.float32), ("Conv", ["x", "w"], "c")
relu = np.maximum(x, 0)
wrong = [
    case("relu(c) + c", relu + x, [conv, ("Relu", ["c"], "r"), ("Add", ["r", "c"], "y")], w=one),
    case("relu(c) * c", relu * x, [conv, ("Relu", ["c"], "r"), ("Mul", ["r", "c"], "y")], w=one),
    case(
        "two Convs that share a bias of 4, the second with a weight of 10",
        10 * (x + 4) + 4,
        [("Conv", ["x", "w", "b"], "c"), ("Conv", ["c", "v", "b"], "y")],
        w=one,
        v=10 * one,
        b=np.array([4], np.float32),
    ),
    case("a Pad with 7", [7, *x, 7], [conv, ("Pad", ["c", "p", "seven"], "y")], w=one, p=np.array([0, 0, 0, 1, 0, 0, 0, 1]), seven=np.float32(7)),
]
good = [
    case("relu(c)", relu, [conv, ("Relu", ["c"], "y")], w=one),
    case("a Pad with 2", [2, *x, 2], [conv, ("Pad", ["c", "p", "two"], "y")], w=one, p=np.array([0, 0, 0, 1, 0, 0, 0, 1]), two=np.float32(2)),
    case(
        "two Convs with a bias of 4 each",
        10 * (x + 4) + 4,
        [("Conv", ["x", "w", "b"], "c"), ("Conv", ["c", "v", "a"], "y")],
        w=one,
        v=10 * one,
        b=np.array([4], np.float32),
        a=np.array([4], np.float32),
    ),
]
print("QDQ right and QOperator wrong:", wrong == [[True, False]] * 4, "- both right:", good == [[True, True]] * 3)
sys.exit(0 if wrong == [[True, False]] * 4 and good == [[True, True]] * 3 else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
