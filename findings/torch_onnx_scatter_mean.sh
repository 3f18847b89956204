#!/usr/bin/env bash
# PyTorch 2.14.1: torch.onnx.export writes scatter_reduce with "mean" as a ScatterElements without reduction: the last value wins, nothing is averaged.
#
# What happens: x.scatter_reduce(0, index, src, "mean") becomes ScatterElements with reduction "none", which overwrites; where an index comes twice ONNX
#   leaves the outcome open, and ONNX Runtime and the reference keep the last value. include_self=False gives the same. "sum", "prod", "amax" and "amin" are
#   right with both. The older exporter (dynamo=False) refuses "mean" in so many words; the new one says that it is done.
# Expected: a sum divided by a count, as the same export manages when the two are written out, or a refusal.
# Hurts: graph networks with mean aggregation, averages by group or by label, points pooled into voxels: each place keeps one member in place of the mean.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2
cat > "$work/show.py" <<'PY'
import contextlib
import importlib.metadata
import io
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx.reference import ReferenceEvaluator

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "onnx", "onnxruntime", "onnxscript")))
GROUP = torch.tensor([0, 0, 1, 1, 1])
x, values = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([2.0, 4.0, 3.0, 6.0, 12.0])


class Function(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, values):
        return self.function(x, values)


def exported(function, new):
    """What ONNX Runtime and the reference answer for the exported function, and the reductions in the file."""
    file = io.BytesIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if new:
            file.write(torch.onnx.export(Function(function), (x, values), dynamo=True, verbose=False).model_proto.SerializeToString())
        else:
            torch.onnx.export(Function(function), (x, values), file, dynamo=False, opset_version=18)
    model = onnx.load_from_string(file.getvalue())
    onnx.checker.check_model(model, full_check=True)
    data = {there.name: each.numpy() for there, each in zip(model.graph.input, (x, values))}
    answers = [onnxruntime.InferenceSession(file.getvalue()).run(None, data)[0], ReferenceEvaluator(model).run(None, data)[0]]
    scatters = [node for node in model.graph.node if node.op_type == "ScatterElements"]
    reductions = [attribute.s.decode() for node in scatters for attribute in node.attribute if attribute.name == "reduction"]
    return answers, reductions


def averaged(x, values):
    ones = torch.ones_like(values)
    return torch.zeros_like(x).scatter_reduce(0, GROUP, values, "sum") / torch.zeros_like(x).scatter_reduce(0, GROUP, ones, "sum").clamp(min=1)


good, last = [], []
for reduction in ("sum", "prod", "amax", "amin", "mean"):
    for include in (True, False):
        def function(x, values):
            return x.scatter_reduce(0, GROUP, values, reduction, include_self=include)
        right = function(x, values).numpy()
        answers, reductions = exported(function, True)
        kept = x.numpy().copy()
        kept[GROUP.numpy()] = values.numpy()
        (last if reduction == "mean" else good).append(all(np.allclose(each, kept if reduction == "mean" else right) for each in answers))
        if reduction == "mean":
            last[-1] &= not np.allclose(kept, right) and set(reductions) <= {"none"}
        print(f"{reduction}, include_self {include}: PyTorch {right.tolist()}, ONNX Runtime {answers[0].tolist()}, reductions in the file {reductions}")
right = averaged(x, values).numpy()
answers, _ = exported(averaged, True)
good.append(all(np.allclose(each, right) for each in answers))
print(f"sum by count, written out: PyTorch {right.tolist()}, ONNX Runtime {answers[0].tolist()}")
try:
    exported(lambda x, values: x.scatter_reduce(0, GROUP, values, "mean"), False)
    refused = False
except Exception as error:
    refused = "mean" in str(error)
print("the last value in place of the mean:", all(last), "- the others right:", all(good), "- the older exporter refuses:", refused)
sys.exit(0 if all(last) and all(good) and refused else 1)
PY
"$work/venv/bin/python" "$work/show.py" 2> "$work/errors" || { cat "$work/errors"; exit 1; }
