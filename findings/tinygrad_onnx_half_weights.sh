#!/usr/bin/env bash
# tinygrad 0.14.0: float16 and bfloat16 weights that a file holds in int32_data are read as whole numbers: 1.0 becomes 15360.
#
# What happens: a TensorProto keeps 16-bit floats either as raw bytes or as the bit patterns of its values in int32_data. tinygrad takes the patterns for the
#   values: 0x3C00, which is 1.0, becomes 15360, in bfloat16 16256, and -2 becomes 49152: all weights are positive and in the thousands. Raw bytes are read
#   right. Nothing is said.
# Expected: the values back, as ONNX Runtime has them: onnx.proto asks for the bits in int32_data, as of an unsigned integer.
# Hurts: networks of half precision from a converter that builds its tensors with onnx.helper.make_tensor, which writes int32_data unless told raw=True.
#   numpy_helper.from_array and PyTorch's exporter write raw bytes, so that the models tried first are fine.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check tinygrad==0.14.0 onnx==1.23.2 onnxruntime==1.32.0 ml_dtypes==0.6.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import pathlib
import sys

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tinygrad.nn.onnx import OnnxRunner

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("tinygrad", "onnx", "onnxruntime")))
path = pathlib.Path(sys.argv[1]) / "half.onnx"
W = [1.0, 0.5, -2.0, 0.25]
X = np.ones(4, np.float32)


def case(kind, dtype, raw):
    """Whether ONNX Runtime and tinygrad multiply by the weights, and what tinygrad answers."""
    if raw:
        weights = helper.make_tensor("w", kind, [4], np.array(W, dtype).tobytes(), raw=True)
    else:
        weights = helper.make_tensor("w", kind, [4], W)
    assert numpy_helper.to_array(weights).astype(float).tolist() == W
    graph = helper.make_graph(
        [helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT), helper.make_node("Mul", ["x", "v"], ["y"])],
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [weights],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    onnx.save(built, path)
    runtime = onnxruntime.InferenceSession(str(path)).run(None, {"x": X})[0].tolist()
    theirs = OnnxRunner(path)({"x": X})["y"].numpy().tolist()
    held = "raw bytes" if raw else f"int32_data {list(weights.int32_data)}"
    print(f"{TensorProto.DataType.Name(kind)} in {held}:\n    right {W}, ONNX Runtime {runtime}, tinygrad {theirs}")
    return runtime == W, theirs == W, theirs


half, brain = (TensorProto.FLOAT16, np.float16), (TensorProto.BFLOAT16, ml_dtypes.bfloat16)
raw = [case(*each, True)[:2] for each in (half, brain)]
listed = [case(*each, False) for each in (half, brain)]
as_numbers = [each[2] for each in listed] == [[15360, 14336, 49152, 13312], [16256, 16128, 49152, 16000]]
wrong = all(each[:2] == (True, False) for each in listed) and as_numbers
print("raw bytes right:", all(each == (True, True) for each in raw), "- bit patterns taken for numbers:", wrong)
sys.exit(0 if raw == [(True, True)] * 2 and wrong else 1)
PY
DEV=PYTHON "$work/venv/bin/python" "$work/show.py" "$work"
