#!/usr/bin/env bash
# onnx2tf 1.29.24: ScatterND's reduction, Mod's fmod, a lone start or end of Shape and the dilations of AveragePool are not read.
#
# What happens: ScatterND with reduction add, mul, max or min overwrites. Mod with fmod=1, whose sign is the dividend's, answers with the divisor's, as for
#   fmod=0. Shape with a start or an end, but not both, gives the whole shape. A dilated AveragePool is computed without dilation, in another size than the
#   node's. uint8 / uint8, which is a whole number in ONNX, comes out as a float with its fraction. The same values are right with reduction none, with
#   Shape from 1 to 2, for MaxPool and for int32. Nothing is said. The README lists these operators without restriction; ScatterElements refuses.
# Expected: what each attribute says, as ONNX Runtime has it, or a refusal.
# Hurts: scatter-add, as PyTorch exports index_put(accumulate=True): histograms, graph networks and pooled points keep one of their summands. torch.fmod of
#   negative numbers, and code that takes the trailing sizes by Shape with a start.
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
from onnx import helper, numpy_helper

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx2tf", "onnx", "onnxruntime", "ai-edge-litert", "tensorflow")))
folder = pathlib.Path(sys.argv[1])


def case(operator, x, right, *constants, **attributes):
    """Whether ONNX Runtime and onnx2tf have what was counted by hand."""
    held = [numpy_helper.from_array(value, f"c{i}") for i, value in enumerate(constants)]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *(each.name for each in held)], ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(right.dtype), right.shape)],
        held,
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(built, full_check=True)
    onnx.save(built, folder / "one.onnx")
    runtime = onnxruntime.InferenceSession(str(folder / "one.onnx")).run(None, {"x": x})[0]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        onnx2tf.convert(input_onnx_file_path=str(folder / "one.onnx"), output_folder_path=str(folder / "out"), non_verbose=True)
    lite = Interpreter(str(folder / "out" / "one_float32.tflite"))
    lite.allocate_tensors()
    there = lite.get_input_details()[0]
    lite.set_tensor(there["index"], (x.transpose(0, 2, 3, 1) if x.ndim == 4 else x).astype(there["dtype"]))
    lite.invoke()
    theirs = lite.get_tensor(lite.get_output_details()[0]["index"])
    if right.ndim == 4:
        theirs = theirs.transpose(0, 3, 1, 2)
    verdict = tuple(each.shape == right.shape and np.allclose(each, right, rtol=1e-5) for each in (runtime, theirs))
    print(f"{operator} {attributes} of {x.dtype}: onnx2tf {'right' if verdict[1] else 'wrong'}")
    if not verdict[1]:
        print(f"    right   {right.ravel().tolist()}\n    onnx2tf {theirs.ravel()[:20].astype(float).round(3).tolist()}")
    return verdict


line = np.arange(6, dtype=np.float32)[None]
places, updates = np.array([[0, 1], [0, 4]]), np.array([10, 2], np.float32)
wrong, good = [], []
for reduction, first, second in (("none", 10, 2), ("add", 11, 6), ("mul", 10, 8), ("max", 10, 4), ("min", 1, 2)):
    right = line.copy()
    right[0, [1, 4]] = first, second
    (good if reduction == "none" else wrong).append(case("ScatterND", line, right, places, updates, reduction=reduction))
for dtype in (np.float32, np.int32):
    x, y = np.array([[-7, 7, -7, 7]], dtype), np.array([[3, -3, -3, 3]], dtype)
    wrong.append(case("Mod", x, np.fmod(x, y), y, fmod=1))
good.append(case("Mod", x, np.mod(x, y), y))
table = np.zeros((3, 5), np.float32)
wrong.extend((case("Shape", table, np.array([5]), start=1), case("Shape", table, np.array([3]), end=1)))
good.extend((case("Shape", table, np.array([3, 5])), case("Shape", table, np.array([5]), start=1, end=2)))
image = np.arange(50, dtype=np.float32).reshape(1, 2, 5, 5) ** 2
corners = np.stack([image[..., a : a + 3, b : b + 3] for a in (0, 2) for b in (0, 2)])
wrong.append(case("AveragePool", image, corners.mean(0), kernel_shape=[2, 2], dilations=[2, 2]))
good.append(case("MaxPool", image, corners.max(0), kernel_shape=[2, 2], dilations=[2, 2]))
wrong.append(case("Div", np.array([[7, 9]], np.uint8), np.array([[3, 4]], np.uint8), np.array([[2, 2]], np.uint8)))
good.append(case("Div", np.array([[7, 9]], np.int32), np.array([[3, 4]], np.int32), np.array([[2, 2]], np.int32)))
as_seen = all(each == (True, False) for each in wrong) and all(each == (True, True) for each in good)
print(f"{len(wrong)} wrong and {len(good)} right, as seen before: {as_seen}")
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work" 2> "$work/errors" || { cat "$work/errors"; exit 1; }
