#!/usr/bin/env bash
# tinygrad 0.14.0: auto_pad SAME_UPPER crops where a stride passes the kernel, and forgets the dilation: the usual 1 x 1 shortcut reads the odd pixels.
#
# What happens: the padding of SAME is (n - 1) * stride + kernel - input, with n the output's size. Where that is negative nothing should be padded; tinygrad
#   pads by the negative number, half of it, rounded down, in front: the first row and column are cut off, and a 1 x 1 convolution of stride 2 reads pixels
#   1, 3, 5 in place of 0, 2, 4. The kernel's dilation is left out of the sum, so a dilated 3 x 3 of stride 1 shrinks its map. Both are in Conv and the
#   pools. SAME_LOWER of 1 x 1, whose odd pixel is taken from the other end, is right by luck, and so are kernels at least as wide as the stride.
# Expected: n = ceil(input / stride) and no negative padding, as the specification has it and ONNX Runtime for a Conv without dilation (the rest it refuses).
# Hurts: residual networks that come from TensorFlow or Keras, whose SAME shortcuts are 1 x 1 of stride 2 (tf2onnx writes auto_pad where the image's size is
#   open): the same shapes, and features one pixel off against the branch that they are added to. And dilated ones.
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
path = pathlib.Path(sys.argv[1]) / "same.onnx"
X = np.arange(1, 25, dtype=np.float32).reshape(1, 1, 4, 6)


def by_hand(kernel, stride, dilation, upper, function):
    """Both axes alike; padded places do not count."""
    starts = []
    for size in X.shape[2:]:
        reach, outputs = (kernel - 1) * dilation + 1, -(-size // stride)
        total = max((outputs - 1) * stride + reach - size, 0)
        before = total // 2 if upper else total - total // 2
        starts.append([[p for p in range(i * stride - before, i * stride - before + reach, dilation) if 0 <= p < size] for i in range(outputs)])
    return np.array([[function(X[0, 0][np.ix_(rows, columns)]) for columns in starts[1]] for rows in starts[0]], np.float32)


def case(operator, kernel, stride, dilation=1, auto_pad="SAME_UPPER"):
    attributes = {"auto_pad": auto_pad, "strides": [stride] * 2, "dilations": [dilation] * 2, "kernel_shape": [kernel] * 2}
    constants = [numpy_helper.from_array(np.ones((1, 1, kernel, kernel), np.float32), "w")] if operator == "Conv" else []
    truth = by_hand(kernel, stride, dilation, auto_pad == "SAME_UPPER", np.sum if operator == "Conv" else np.max)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *(each.name for each in constants)], ["y"], **attributes)],
        "same",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, *truth.shape))],
        constants,
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    onnx.save(built, path)
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        runtime = onnxruntime.InferenceSession(str(path), options).run(None, {"x": X})[0][0, 0]
        ort = "right" if np.array_equal(runtime, truth) else "wrong"
    except Exception:
        ort = "refuses"
    theirs = OnnxRunner(path)({"x": X})["y"].numpy()[0, 0]
    right = np.array_equal(theirs, truth)
    print(f"{operator} {kernel} x {kernel}, stride {stride}, dilation {dilation}, {auto_pad}: ONNX Runtime {ort}, tinygrad {'right' if right else 'wrong'}")
    if not right:
        print(f"    right {truth.tolist()}\n    tinygrad {theirs.tolist()}")
    return ort, right


refused = [case("Conv", 3, 1, 2), case("MaxPool", 2, 3)]  # by ONNX Runtime
wrong = [case("Conv", 1, 2), case("Conv", 2, 3)]
good = [case("Conv", 1, 2, auto_pad="SAME_LOWER"), case("Conv", 3, 2), case("Conv", 3, 1), case("MaxPool", 3, 2)]
as_seen = all(each == ("right", False) for each in wrong) and refused == [("refuses", False)] * 2
print("wrong past the kernel and with dilation:", as_seen, "- right elsewhere:", all(each == ("right", True) for each in good))
sys.exit(0 if as_seen and all(each == ("right", True) for each in good) else 1)
PY
DEV=PYTHON "$work/venv/bin/python" "$work/show.py" "$work"
