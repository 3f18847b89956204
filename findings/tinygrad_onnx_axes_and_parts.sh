#!/usr/bin/env bash
# tinygrad 0.14.0: an ONNX Resize of one axis resizes by the other, negative axes of Squeeze and Unsqueeze move, and an uneven Split deals the rest out.
#
# What happens: Resize with axes=[2] and a scale of 2 reckons the places from the width and applies them to the height: 4 rows of 6 become 12 for 8.
#   Squeeze and Unsqueeze of axes [-2, -1] are done one after the other, while the end moves, so that (4, 6) becomes (4, 1, 6, 1) for (4, 6, 1, 1) and
#   (4, 6, 1, 1) becomes (4, 6, 1). Split with num_outputs makes parts of 3, 2 and 2 of seven values. Nothing is said. Both axes of Resize at
#   once are right.
# Expected: every axis counted in one tensor; of Split, parts of equal size but the last, which is smaller: 3, 3, 1, as ONNX Runtime has it.
# Hurts: models that stretch spectrograms along time alone, pool and unsqueeze at the end, or cut a sequence into parts. A square picture, axes from the
#   front and an even sequence, with which one tries, are right.
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
path = pathlib.Path(sys.argv[1]) / "axes.onnx"


def case(operator, x, right, inputs=("x",), constants={}, **attributes):
    """Whether ONNX Runtime and tinygrad have the arrays that are right."""
    outputs = [f"y{i}" for i in range(len(right))]
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, outputs, **attributes)],
        "axes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in zip(outputs, right)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    onnx.save(built, path)
    runtime = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})
    answer = OnnxRunner(path)({"x": x})
    theirs = [answer[name].numpy() for name in outputs]
    verdict = tuple(all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(each, right)) for each in (runtime, theirs))
    given = {**{name: value.tolist() for name, value in constants.items()}, **attributes}
    shapes = [" ".join(str(value.shape) for value in each) for each in (right, theirs)]
    print(f"{operator} {given} of {x.shape}: right {shapes[0]}, tinygrad {shapes[1]}, {'right' if verdict[1] else 'wrong'}")
    return verdict


X = np.arange(24, dtype=np.float32).reshape(1, 1, 4, 6)
square, table, seven = X[..., :4].copy(), X[0, 0], np.arange(7, dtype=np.float32)
ones = table[:, :, None, None].copy()


def resize(x, axes):
    right = x
    for axis in axes:
        right = right.repeat(2, axis)
    return case("Resize", x, [right], ("x", "", "scales"), {"scales": np.full(len(axes), 2, np.float32)}, axes=axes, mode="nearest")


wrong = [
    resize(X, [2]),
    resize(X, [3]),
    case("Unsqueeze", table, [ones], ("x", "axes"), {"axes": np.array([-2, -1])}),
    case("Squeeze", ones, [table], ("x", "axes"), {"axes": np.array([-2, -1])}),
    case("Split", seven, [seven[:3], seven[3:6], seven[6:]], num_outputs=3),
]
good = [
    resize(X, [2, 3]),
    resize(square, [2]),
    case("Unsqueeze", table, [ones], ("x", "axes"), {"axes": np.array([2, 3])}),
    case("Squeeze", ones, [table], ("x", "axes"), {"axes": np.array([2, 3])}),
    case("Split", seven[:6], [seven[:2], seven[2:4], seven[4:6]], num_outputs=3),
]
as_seen = all(each == (True, False) for each in wrong) and all(each == (True, True) for each in good)
print(f"{len(wrong)} wrong and {len(good)} right, as seen before: {as_seen}")
sys.exit(0 if as_seen else 1)
PY
DEV=PYTHON "$work/venv/bin/python" "$work/show.py" "$work"
