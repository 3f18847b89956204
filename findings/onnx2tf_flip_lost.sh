#!/usr/bin/env bash
# onnx2tf 1.29.24: a Slice that runs backwards over a whole axis, which is how flips are exported, is dropped; one that ends at 0 gets one row too many.
#
# What happens: Slice with start -1, step -1 and an end before the beginning reverses an axis. The converter hands the input on as it is. With step -1 and
#   an end of 0 (all but the first, reversed) the axis comes out whole and unreversed, with step -2 the first is added to the others: 8, 6, 4, 2, 0 for
#   8, 6, 4, 2. With an end of 1 and more, and with step -2 over the whole axis, all is right. Nothing is said.
# Expected: the numbers that the specification gives, as ONNX Runtime has them.
# Hurts: PyTorch exports flip() as just such a Slice: mirrored copies of an image whose results are averaged are twice the same, the backward half of a
#   bidirectional layer built of flips reads forwards, reversed channels (RGB to BGR) stay as they are. The shapes are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx2tf==1.29.24
cat > "$work/show.py" <<'PY'
import contextlib
import importlib.metadata
import io
import os
import pathlib
import sys

os.environ.update(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3")
import numpy as np
import onnx
import onnx2tf
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx2tf", "onnx", "onnxruntime", "ai-edge-litert", "tensorflow")))
folder = pathlib.Path(sys.argv[1])
BACK = -(2**63) + 1  # the end that PyTorch writes for a flip
LINE = np.arange(9, dtype=np.float32)[None]
IMAGE = np.arange(2 * 5 * 9, dtype=np.float32).reshape(1, 2, 5, 9)


def case(x, axis, start, end, step):
    """Whether ONNX Runtime and onnx2tf have what NumPy has."""
    places = [slice(None)] * x.ndim
    places[axis] = slice(start, None if end == BACK else end, step)
    right = x[tuple(places)]
    names = dict(zip(("start", "end", "axis", "step"), ([start], [end], [axis], [step])))
    graph = helper.make_graph(
        [helper.make_node("Slice", ["x", *names], ["y"])],
        "slice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, right.shape)],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in names.items()],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    onnx.save(built, folder / "slice.onnx")
    runtime = onnxruntime.InferenceSession(str(folder / "slice.onnx")).run(None, {"x": x})[0]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        onnx2tf.convert(input_onnx_file_path=str(folder / "slice.onnx"), output_folder_path=str(folder / "out"), non_verbose=True)
    lite = Interpreter(str(folder / "out" / "slice_float32.tflite"))
    lite.allocate_tensors()
    lite.set_tensor(lite.get_input_details()[0]["index"], x if x.ndim == 2 else x.transpose(0, 2, 3, 1))
    lite.invoke()
    theirs = lite.get_tensor(lite.get_output_details()[0]["index"])
    if x.ndim == 4 and theirs.shape != right.shape:  # channels last, as the converter lays images out
        theirs = theirs.transpose(0, 3, 1, 2)
    verdict = tuple(np.array_equal(each, right) for each in (runtime, theirs))
    print(f"{x.shape}, axis {axis}, {start} to {'before the first' if end == BACK else end} by {step}: onnx2tf {'right' if verdict[1] else 'wrong'}")
    if not verdict[1] and x.ndim == 2:
        print(f"    right   {right[0].astype(int).tolist()}\n    onnx2tf {theirs[0].astype(int).tolist()}")
    return *verdict, np.array_equal(theirs, x)


flips = [case(LINE, 1, -1, BACK, -1), *(case(IMAGE, axis, -1, BACK, -1) for axis in (1, 2, 3))]
to_zero = [case(LINE, 1, 8, 0, -1), case(LINE, 1, 8, 0, -2)]
good = [case(LINE, 1, 8, 1, -1), case(LINE, 1, -1, BACK, -2), case(LINE, 1, 6, 2, -1)]
lost = all(each == (True, False, True) for each in flips)
print("flips lost:", lost, "- one too many to 0:", to_zero == [(True, False, True), (True, False, False)], "- others right:", all(each[1] for each in good))
seen = lost and to_zero == [(True, False, True), (True, False, False)] and all(each[:2] == (True, True) for each in good)
sys.exit(0 if seen else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work" 2> "$work/errors" || { cat "$work/errors"; exit 1; }
