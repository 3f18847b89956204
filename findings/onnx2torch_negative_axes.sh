#!/usr/bin/env bash
# onnx2torch 1.5.15: two axes counted from the end are taken one after the other, while the end moves: ReduceMax, Squeeze and Unsqueeze hit others.
#
# What happens: ReduceMax, ReduceMin and ReduceProd over axes [-2, -1] without keepdims first reduce -2 and then, of what is left, -2 again: of (batch,
#   channels, height, width) it is height and channels that go. Squeeze of [-2, -1] leaves (batch, channels, 1), since squeezing an axis that is not 1
#   does nothing, and Unsqueeze of [-2, -1] makes (rows, 1, columns, 1) of a matrix. Nothing is said. The same axes counted from the front are
#   right, and so is ReduceMean, which is handed all of them at once.
# Expected: what the specification says and ONNX Runtime does: all axes are those of one tensor, the input's, and for Unsqueeze the output's.
# Hurts: global max pooling written as amax(dim=(-2, -1)), which PyTorch exports with just these axes: where there are as many channels as columns even the
#   shape is right, and a linear layer behind takes maxima by column for those by channel.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchvision==0.28.0 numpy==2.4.6 \
  onnx==1.23.2 onnxruntime==1.32.0 onnx2torch==1.5.15
cat > "$work/show.py" <<'PY'
import importlib.metadata
import io
import sys
import types
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

warnings.filterwarnings("ignore")
if torch.version.cuda is None:  # torchvision's compiled operators, none of which is used here, do not load beside a torch without CUDA
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
import onnx2torch

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "onnx", "onnxruntime", "onnx2torch")))
X = np.arange(1, 28, dtype=np.float32).reshape(1, 3, 3, 3) / 8


def right(operator, x, axes, truth, **attributes):
    """Whether ONNX Runtime and onnx2torch answer what NumPy does."""
    constants = [numpy_helper.from_array(np.array(axes), "axes")]
    if operator.startswith("Reduce"):
        constants, attributes = [], {"axes": axes, **attributes}
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *(each.name for each in constants)], ["y"], **attributes)],
        "axes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, truth.shape)],
        constants,
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    runtime = onnxruntime.InferenceSession(built.SerializeToString()).run(None, {"x": x})[0]
    theirs = onnx2torch.convert(built).eval()(torch.tensor(x)).numpy()
    answers = tuple(each.shape == truth.shape and np.allclose(each, truth, rtol=1e-5) for each in (runtime, theirs))
    print(f"{operator:9} {axes} of {x.shape}: NumPy {truth.shape}, ONNX Runtime {runtime.shape}, onnx2torch {theirs.shape}, right: {answers}")
    if operator == "ReduceMax" and not answers[1]:
        print(f"    NumPy {truth.tolist()}, onnx2torch {theirs.tolist()}")
    return answers


seen = {}
for name, axes in (("back", [-2, -1]), ("front", [2, 3])):
    for operator, function in (("ReduceMax", np.max), ("ReduceMin", np.min), ("ReduceProd", np.prod), ("ReduceMean", np.mean)):
        seen[operator, name] = right(operator, X, axes, function(X, axis=tuple(axes)), keepdims=0)
    pooled = X.mean((2, 3), keepdims=True)
    seen["Squeeze", name] = right("Squeeze", pooled, axes, pooled.squeeze(tuple(axes)))
    seen["Unsqueeze", name] = right("Unsqueeze", X[0, 0].copy(), axes, X[0, 0][:, :, None, None])


class Pool(torch.nn.Module):
    def forward(self, x):
        return x.amax(dim=(-2, -1))


file = io.BytesIO()
torch.onnx.export(Pool(), (torch.tensor(X),), file, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"])
before = Pool()(torch.tensor(X)).tolist()
between = onnxruntime.InferenceSession(file.getvalue()).run(None, {"x": X})[0].tolist()
after = onnx2torch.convert(onnx.load_from_string(file.getvalue())).eval()(torch.tensor(X)).tolist()
print(f"amax over (-2, -1) in PyTorch {before}, exported, by ONNX Runtime {between}, and back in PyTorch {after}")
there_and_back = before == between == X.max((2, 3)).tolist() and after == X.max((1, 2)).tolist() != before
as_seen = all(each == (True, name == "front" or operator == "ReduceMean") for (operator, name), each in seen.items())
sys.exit(0 if as_seen and there_and_back else 1)
PY
"$work/venv/bin/python" "$work/show.py"
