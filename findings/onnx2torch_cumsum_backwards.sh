#!/usr/bin/env bash
# onnx2torch 1.5.15: a CumSum that does not write its attribute `reverse` out is summed from the end.
#
# What happens: the specification's default of `reverse` is 0, the converter's is 1. [1, 2, 3, 4] becomes [10, 9, 7, 4], with `exclusive=1` [9, 7, 4, 0], and
#   nothing is said. With `reverse=0` written out it is right.
# Expected: [1, 3, 6, 10]. PyTorch's own exporter leaves the attribute out, so that torch.cumsum does not survive the way to ONNX and back.
# Hurts: positions counted from an attention mask, sampling by cumulated probabilities, integral images, times from durations in speech: each of the right
#   shape and of the right total, from the wrong end.
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
X = np.array([[1, 2, 3, 4]], np.float32)


def three(**attributes):
    """By NumPy, by ONNX Runtime and by onnx2torch."""
    graph = helper.make_graph(
        [helper.make_node("CumSum", ["x", "axis"], ["y"], **attributes)],
        "cumsum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, X.shape)],
        [numpy_helper.from_array(np.array(1), "axis")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(built, full_check=True)
    forward = np.cumsum(X, 1) - (X if attributes.get("exclusive") else 0)
    runtime = onnxruntime.InferenceSession(built.SerializeToString()).run(None, {"x": X})[0]
    theirs = onnx2torch.convert(built).eval()(torch.tensor(X)).numpy()
    print(f"{attributes}: NumPy {forward[0].tolist()}, ONNX Runtime {runtime[0].tolist()}, onnx2torch {theirs[0].tolist()}")
    backward = np.cumsum(X[:, ::-1], 1)[:, ::-1] - (X if attributes.get("exclusive") else 0)
    return np.array_equal(runtime, forward), np.array_equal(theirs, forward), np.array_equal(theirs, backward)


bare, exclusive, written = three(), three(exclusive=1), three(reverse=0)


class Positions(torch.nn.Module):
    def forward(self, mask):
        return torch.cumsum(mask, 1) - 1


mask = torch.tensor([[1, 1, 1, 0, 0]], dtype=torch.int64)
file = io.BytesIO()
torch.onnx.export(Positions(), (mask,), file, dynamo=False, opset_version=17, input_names=["mask"], output_names=["positions"])
before = Positions()(mask).tolist()
between = onnxruntime.InferenceSession(file.getvalue()).run(None, {"mask": mask.numpy()})[0].tolist()
after = onnx2torch.convert(onnx.load_from_string(file.getvalue())).eval()(mask).tolist()
print(f"positions of the mask {mask.tolist()}: PyTorch {before}, exported, by ONNX Runtime {between}, and back in PyTorch {after}")
there_and_back = before == between == [[0, 1, 2, 2, 2]] and after == [[2, 1, 0, -1, -1]]
sys.exit(0 if bare == exclusive == (True, False, True) and written == (True, True, False) and there_and_back else 1)
PY
"$work/venv/bin/python" "$work/show.py"
