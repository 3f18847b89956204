#!/usr/bin/env bash
# onnx2tf 1.29.24: from opset 18 on a Resize is converted without its coordinate_transformation_mode, and nearest_mode is read in no opset.
#
# What happens: in files of opset 17 and below align_corners and asymmetric become the TFLite operators that compute them. In the same file of opset 18 or
#   more every Resize becomes one with half-pixel centres, whatever it says. Nearest neighbours get those of half-pixel centres with ties up: an upscaling
#   by 2 is right, one by 1.5 is shifted, and a downscaling by 2 takes rows 1, 3, 5 for rows 0, 2, 4. Nothing is said. The README lists Resize
#   without restriction.
# Expected: the mode that the node names. TFLite has align_corners, asymmetric and half_pixel for linear Resize, and the converter writes them for opset 17.
# Hurts: segmentation and detection heads with bilinear upsampling of align_corners=True, and everything with F.interpolate(mode="nearest") to half the size:
#   PyTorch's exporter writes opset 18 and more by default. The shapes are right and the maps are shifted by up to a pixel.
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
X = np.tile(np.arange(8, dtype=np.float32), (8, 1))[None, None] * np.array([1, 10], np.float32)[None, :, None, None]  # value = column


def by_hand(mode, places):
    """A row of the resized map: the values are the columns' numbers, so a linear one is the clipped place itself."""
    return np.clip(places, 0, 7) if mode == "linear" else np.clip(np.floor(places), 0, 7)


def case(opset, size, mode, transformation):
    """Whether ONNX Runtime and onnx2tf have the row counted by hand."""
    i = np.arange(size)
    place = {"align_corners": i * 7 / (size - 1), "asymmetric": i * 8 / size, "half_pixel": (i + 0.5) * 8 / size - 0.5}[transformation]
    right = by_hand(mode, place)
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode=mode, coordinate_transformation_mode=transformation, nearest_mode="floor")],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2, size, size))],
        [numpy_helper.from_array(np.array([1, 2, size, size]), "size")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    onnx.save(built, folder / "resize.onnx")
    runtime = onnxruntime.InferenceSession(str(folder / "resize.onnx")).run(None, {"x": X})[0]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        onnx2tf.convert(input_onnx_file_path=str(folder / "resize.onnx"), output_folder_path=str(folder / "out"), non_verbose=True)
    lite = Interpreter(str(folder / "out" / "resize_float32.tflite"))
    lite.allocate_tensors()
    lite.set_tensor(lite.get_input_details()[0]["index"], X.transpose(0, 2, 3, 1))
    lite.invoke()
    theirs = lite.get_tensor(lite.get_output_details()[0]["index"]).transpose(0, 3, 1, 2)
    whole = np.tile(right, (size, 1))[None, None] * np.array([1, 10])[None, :, None, None]
    verdict = tuple(each.shape == whole.shape and np.allclose(each, whole, atol=1e-4) for each in (runtime, theirs))
    print(f"opset {opset}, {mode} {transformation}, 8 to {size}: onnx2tf {'right' if verdict[1] else 'wrong'}")
    if not verdict[1]:
        print(f"    right   {right.round(2).tolist()}\n    onnx2tf {theirs[0, 0, 0].astype(float).round(2).tolist()}")
    return verdict


old = [case(17, 16, "linear", "align_corners"), case(17, 12, "linear", "asymmetric"), case(17, 4, "nearest", "asymmetric"), case(17, 12, "nearest", "asymmetric")]
new = [case(18, 16, "linear", "align_corners"), case(18, 12, "linear", "asymmetric"), case(18, 4, "nearest", "asymmetric"), case(18, 12, "nearest", "asymmetric")]
same = [case(18, 16, "linear", "half_pixel"), case(18, 16, "nearest", "asymmetric")]
unread = [case(17, 16, "nearest", "half_pixel")]
print("right in opset 17:", all(each == (True, True) for each in old), "- wrong in opset 18:", all(each == (True, False) for each in new))
seen = [(True, True)] * 4 == old and [(True, False)] * 4 == new and [(True, True)] * 2 == same and unread == [(True, False)]
sys.exit(0 if seen else 1)
PY
"$work/venv/bin/python" "$work/show.py" "$work" 2> "$work/errors" || { cat "$work/errors"; exit 1; }
