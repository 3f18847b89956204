#!/usr/bin/env bash
# Keras 3.15.1: depth_to_space and space_to_depth order the channels in one way for channels_last and in another for channels_first.
#
# What happens: with channels_last the depth is read as (row of the block, column of the block, channel), as TensorFlow reads it; with channels_first as
#   (channel, row, column), as PyTorch's pixel_shuffle does. So the same picture, transposed, comes out with its pixels in other places.
#   The JAX, torch and NumPy backends all do so, the torch one under the words "matches TensorFlow's behavior"; the OpenVINO backend alone agrees with itself.
# Expected: data_format says where the axis lies and changes nothing else: transpose, op, transpose back is the op. (ONNX has a mode attribute, DCR or CRD,
#   for this very difference; Keras has none.)
# Hurts: a super-resolution model trained as channels_last and served as channels_first, or the reverse: weights load, shapes fit, and with more than one
#   channel the output is scrambled within each block. With one channel, as in a quick test, both are equal.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 onnx==1.23.2 onnxruntime==1.32.0 \
  openvino==2026.4.1 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import keras
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

backend = keras.config.backend()
for name in ("keras", "jax", "openvino", "onnxruntime"):
    print(name, importlib.metadata.version(name), end=" ")
print("- backend", backend)
X = np.arange(8, dtype=np.float32).reshape(1, 1, 1, 8)


def as_first(x):
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def by_onnx(mode):
    """One block of two channels, back in channels_last."""
    graph = helper.make_graph(
        [helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2, mode=mode)],
        "d2s",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 2, 2])],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return onnxruntime.InferenceSession(built.SerializeToString()).run(None, {"x": as_first(X)})[0].transpose(0, 2, 3, 1)


def by_keras(op, x, data_format):
    return np.asarray(keras.ops.convert_to_numpy(getattr(keras.ops, op)(x, 2, data_format=data_format)))


last = by_keras("depth_to_space", X, "channels_last")
first = by_keras("depth_to_space", as_first(X), "channels_first").transpose(0, 2, 3, 1)
same = {"last is DCR": np.array_equal(last, by_onnx("DCR")), "first is DCR": np.array_equal(first, by_onnx("DCR"))}
same["first is CRD"] = np.array_equal(first, by_onnx("CRD"))
picture = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
packed = by_keras("space_to_depth", picture, "channels_last").ravel().astype(int).tolist()
packed_first = by_keras("space_to_depth", as_first(picture), "channels_first").ravel().astype(int).tolist()
print("  channels_last ", last[0].astype(int).tolist(), "- space_to_depth", packed)
print("  channels_first", first[0].astype(int).tolist(), "- space_to_depth", packed_first)
print(" ", same)
expected = {"last is DCR": True, "first is DCR": backend == "openvino", "first is CRD": backend != "openvino"}
sys.exit(0 if same == expected and (packed == packed_first) == (backend == "openvino") else 1)
PY
for backend in jax numpy openvino; do
  KERAS_HOME="$work" KERAS_BACKEND=$backend "$work/venv/bin/python" "$work/show.py"
done
