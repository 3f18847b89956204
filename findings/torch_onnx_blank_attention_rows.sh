#!/usr/bin/env bash
# PyTorch 2.14.1: torch.onnx.export up to opset 22, its default among them: a query that may look nowhere gets the mean of all values, or NaN, for PyTorch's 0.
#
# What happens: scaled_dot_product_attention answers 0 for a row of the mask that is all False, or all -inf. The export of a boolean mask adds the lowest
#   finite number in place of -inf: such a row's scores are all alike, so it gets the plain mean of every value, those that were masked. A test for NaN stands
#   in the file and never fires. The export of a float mask has no such test and gives NaN, as does MultiheadAttention with a key_padding_mask. The other rows
#   are right. Opset 23, whose Attention operator is used instead, gives 0. Nothing is said.
# Expected: 0 as in PyTorch, for every opset.
# Hurts: padded batches with an empty sequence, windows and blocks that hold no token, causal masks over left-padded text: the blank rows carry what was
#   hidden from them, or turn all that is summed with them into NaN.
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
from torch.nn.functional import scaled_dot_product_attention

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "onnx", "onnxruntime", "onnxscript")))
LOOKS = torch.tensor([[False, False, False], [True, False, False], [True, True, True]])
ADDED = torch.where(LOOKS, 0.0, -torch.inf)
torch.manual_seed(1)
query = torch.randn(1, 1, 3, 4)
value = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 10.0, 0.0]])[None, None]


class Attention(torch.nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, query, value):
        return scaled_dot_product_attention(query, value, value, attn_mask=self.mask)


class Heads(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.attention, self.hidden = torch.nn.MultiheadAttention(4, 2, batch_first=True).requires_grad_(False), hidden

    def forward(self, query, value):
        return self.attention(query, value, value, key_padding_mask=self.hidden, need_weights=False)[0]


def case(title, module, x, opset=None):
    """PyTorch's answer, and that of the exported file by ONNX Runtime and by the reference."""
    right = module.eval()(*x).numpy()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model = torch.onnx.export(module, x, dynamo=True, verbose=False, opset_version=opset).model_proto
    onnx.checker.check_model(model, full_check=True)
    data = {there.name: each.numpy() for there, each in zip(model.graph.input, x)}
    answers = [onnxruntime.InferenceSession(model.SerializeToString()).run(None, data)[0], ReferenceEvaluator(model).run(None, data)[0]]
    used = next(each.version for each in model.opset_import if not each.domain)
    tested = "IsNaN" in {node.op_type for node in model.graph.node}
    first = [each.reshape(-1, 4)[0].round(4).tolist() for each in (right, *answers)]
    print(f"{title}, opset {used}, tested for NaN: {tested}\n    first row: PyTorch {first[0]}, ONNX Runtime {first[1]}, reference {first[2]}")
    return right, answers, used, tested


mean = value.numpy().mean(2)[0, 0]
as_seen = []
for opset in (None, 18, 22, 23):
    for name, mask in (("boolean", LOOKS), ("float", ADDED)):
        right, answers, used, tested = case(f"{name} mask", Attention(mask), (query, value), opset)
        rest = all(np.allclose(each[0, 0, 1:], right[0, 0, 1:], atol=1e-5) for each in answers)
        blank = np.zeros(4) if opset == 23 else mean if name == "boolean" else np.full(4, np.nan)
        seen = all(np.allclose(each[0, 0, 0], blank, atol=1e-5, equal_nan=True) for each in answers)
        as_seen.append(rest and seen and not right[0, 0, 0].any() and (used < 23) == (opset != 23) and (opset == 23 or tested == (name == "boolean")))
for hidden in (True, False):
    right, answers, _, _ = case(f"MultiheadAttention, keys hidden: {hidden}", Heads(torch.full((1, 3), hidden)), (query[0], value[0]))
    same = [np.isnan(each).all() if hidden else np.allclose(each, right, atol=1e-5) for each in answers]
    as_seen.append(bool(np.isfinite(right).all()) and all(same))
print("blank rows are the mean or NaN, 0 with opset 23, other rows right:", all(as_seen), as_seen)
sys.exit(0 if all(as_seen) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
