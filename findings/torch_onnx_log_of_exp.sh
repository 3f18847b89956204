#!/usr/bin/env bash
# PyTorch 2.14.1: torch.onnx.export writes logsigmoid, logaddexp, logcumsumexp and the cross entropy of logits as the logarithm of what over- or underflowed.
#
# What happens: logsigmoid(-120) becomes Log(Sigmoid(x)), -inf where PyTorch has -120; under ONNX Runtime, whose Sigmoid is cut off near -18, -20 does too.
#   binary_cross_entropy_with_logits is written with the same pair, so a plain right answer, logit -120 for label 0, costs inf and not 0. logaddexp(120, 0)
#   becomes Log(Exp + Exp) and inf. logcumsumexp is shifted by the maximum of all, not of those summed so far: its first places fall to -inf. logsumexp,
#   log_softmax, softplus and logaddexp2 are right (the reference's own LogSoftmax aside), and -softplus(-x) is logsigmoid without the fault. Nothing is said.
# Expected: the stable forms that PyTorch itself computes, and that the exporter has for the others.
# Hurts: losses and log-likelihoods that are exported with a network, preference and contrastive losses with logsigmoid, scans in log space (CTC, HMMs, linear
#   attention): they turn infinite for the samples of which a network is surest. By sight the file is right, and it is for logits up to 18 or 88.
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
from torch.nn import functional

warnings.filterwarnings("ignore")
np.seterr(all="ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "onnx", "onnxruntime", "onnxscript")))
x = torch.tensor([-120.0, -20.0, -1.0, 0.0, 3.0, 120.0])


class Function(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def case(title, function, referred=True):
    """Where ONNX Runtime and the reference, if `referred` to, are right about the exported function, and whether they are infinite where not."""
    right = function(x).numpy()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model = torch.onnx.export(Function(function), (x,), dynamo=True, verbose=False).model_proto
    onnx.checker.check_model(model, full_check=True)
    data = {model.graph.input[0].name: x.numpy()}
    answers = {"ONNX Runtime": onnxruntime.InferenceSession(model.SerializeToString()).run(None, data)[0]}
    if referred:
        answers["reference"] = ReferenceEvaluator(model).run(None, data)[0]
    good = {name: np.isclose(each, right, rtol=1e-3, atol=1e-3) for name, each in answers.items()}
    infinite = all(np.isinf(each[~good[name]]).all() for name, each in answers.items())
    print(f"{title}: {' '.join(node.op_type for node in model.graph.node)}\n    PyTorch {np.round(right.astype(float), 4).tolist()}")
    for name, each in answers.items():
        print(f"    {name} {'right' if good[name].all() else np.round(each.astype(float), 4).tolist()}")
    return [places.tolist() for places in good.values()], infinite


def cross_entropy(x):
    return functional.binary_cross_entropy_with_logits(x, torch.zeros_like(x), reduction="none")


yes = [True] * 6
first, first_two, last = [False] + yes[1:], [False] * 2 + yes[2:], yes[1:] + [False]
wrong = [
    case("logsigmoid", functional.logsigmoid) == ([first_two, first], True),
    case("binary_cross_entropy_with_logits, label 0", cross_entropy) == ([first_two, first], True),
    case("logaddexp(x, 0)", lambda x: torch.logaddexp(x, torch.zeros_like(x))) == ([last, last], True),
    case("logcumsumexp", lambda x: x.logcumsumexp(0), referred=False) == ([[False] * 5 + [True]], True),
]
right = [
    case("-softplus(-x)", lambda x: -functional.softplus(-x)),
    case("softplus", functional.softplus),
    case("logaddexp2(x, 0)", lambda x: torch.logaddexp2(x, torch.zeros_like(x))),
    case("log_softmax", lambda x: x.log_softmax(0)),
    case("logsumexp", lambda x: x.logsumexp(0, keepdim=True)),
]
as_seen = all(wrong) and all(all(places[0]) for places, _ in right)
print("infinite where PyTorch is finite:", wrong, "- the others right with ONNX Runtime, all as seen before:", as_seen)
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py"
