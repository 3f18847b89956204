#!/usr/bin/env bash
# PyTorch 2.14.1: torch.onnx.export drops divisor_override of average pooling and label_smoothing of cross entropy, and keepdim of a whole argmax.
#
# What happens: avg_pool2d(x, 2, divisor_override=3) becomes an AveragePool that divides by 4; the older exporter (dynamo=False) does the same. cross_entropy
#   with label_smoothing becomes a SoftmaxCrossEntropyLoss without; the older exporter refuses that one. argmax(keepdim=True) of a whole tensor comes out
#   with one axis for four; the older exporter keeps them. The exporter says that it is done, and nothing else.
# Expected: the function that was exported, or a refusal. A factor behind the AveragePool would do for the divisor.
# Hurts: sums by pooling, as avg_pool2d(x, k, divisor_override=1) is used for counts, box filters and local norms: off by k squared. Training graphs and
#   validation losses that are exported with smoothed labels.
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
import onnxruntime
import torch
from torch.nn import functional

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "onnx", "onnxruntime", "onnxscript")))


class Function(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *x):
        return self.function(*x)


def case(title, function, *x):
    """For both exporters "right", "wrong" or "refused", and what the new one's model answers."""
    right = function(*x).numpy()
    verdicts, answers = [], []
    for new in (True, False):
        file = io.BytesIO()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                if new:
                    file.write(torch.onnx.export(Function(function), x, dynamo=True, verbose=False).model_proto.SerializeToString())
                else:
                    torch.onnx.export(Function(function), x, file, dynamo=False, opset_version=17)
        except Exception:
            verdicts.append("refused")
            continue
        session = onnxruntime.InferenceSession(file.getvalue())
        answers.append(session.run(None, {there.name: each.numpy() for there, each in zip(session.get_inputs(), x)})[0])
        same = answers[-1].shape == right.shape and np.allclose(answers[-1], right, rtol=1e-4)
        verdicts.append("right" if same else "wrong")
    print(f"{title}: exported {verdicts[0]}, by the older exporter {verdicts[1]}")
    if verdicts[0] == "wrong":
        print(f"    PyTorch {right.round(4).tolist()}\n    file    {answers[0].round(4).tolist()}")
    return verdicts, answers[0]


image = torch.arange(16.0).reshape(1, 1, 4, 4)
logits, labels = torch.tensor([[2.0, 0.0, -1.0], [1.0, 1.0, 3.0]]), torch.tensor([0, 2])
plain = case("avg_pool2d", lambda x: functional.avg_pool2d(x, 2), image)
divided = [
    case(f"avg_pool2d, divisor_override {by}", lambda x, by=by: functional.avg_pool2d(x, 2, divisor_override=by), image) for by in (1, 3)
]
sharp = case("cross_entropy", functional.cross_entropy, logits, labels)
smooth = case("cross_entropy, label_smoothing 0.3", lambda x, y: functional.cross_entropy(x, y, label_smoothing=0.3), logits, labels)
kept = case("argmax(keepdim=True)", lambda x: x.argmax(keepdim=True), image)
one_axis = case("argmax(dim=3, keepdim=True)", lambda x: x.argmax(3, keepdim=True), image)
pooled = all(verdicts == ["wrong", "wrong"] and np.array_equal(answer, plain[1]) for verdicts, answer in divided)
unsmoothed = smooth[0] == ["wrong", "refused"] and np.allclose(smooth[1], sharp[1])
flat = kept[0] == ["wrong", "right"] and kept[1].shape == (1,)
fine = plain[0] == one_axis[0] == ["right", "right"] and sharp[0][0] == "right"
print("divisor dropped:", pooled, "- smoothing dropped:", unsmoothed, "- axes dropped:", flat, "- without them right:", fine)
sys.exit(0 if pooled and unsmoothed and flat and fine else 1)
PY
"$work/venv/bin/python" "$work/show.py"
