#!/usr/bin/env bash
# PyTorch 2.14.1: torch.onnx.export turns a shift of a uint8 tensor into one whose answer is int8: 204 becomes -52, and files that load no more.
#
# What happens: behind the BitShift, which is right and unsigned, stands a Cast to int8, and for a shift to the right the Where that extends the sign of signed
#   numbers. The bits are the right ones. What follows reads them as signed: (x << 1).float() of 0x66 is -52 in place of 204, a division by 255 is negative
#   for the bright half. Next to another uint8 tensor, as in a stack of x & 15 and x >> 4, the file has two types at one operator: the
#   exporter says that it is done, and ONNX Runtime does not load it. int8, int32 and int64, and `&`, `|`, `~` of uint8, are right.
# Expected: BitShift alone, whose type is that of its input.
# Hurts: what unpacks bits in the network: weights and images of 4 or 2 bits in bytes, masks, colours packed as 5-6-5.
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

warnings.filterwarnings("ignore")
onnxruntime.set_default_logger_severity(4)
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "onnx", "onnxruntime", "onnxscript")))
byte = torch.tensor([1, 0x66, 0x7F, 0x80, 0xF3, 0xFF], dtype=torch.uint8)


class Function(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def case(title, function, x):
    """ "right", "type" for right bits of another type, "wrong", or "not loaded"."""
    right = function(x).numpy()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model = torch.onnx.export(Function(function), (x,), dynamo=True, verbose=False).model_proto
    nodes = " ".join(node.op_type for node in model.graph.node)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString())
    except Exception as error:
        print(f"{title} of {x.dtype}: {nodes}: not loaded: {str(error)[:150]}")
        return "not loaded"
    answer = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    if np.array_equal(answer, right):
        verdict = "right" if answer.dtype == right.dtype else "type"
    else:
        verdict = "type" if answer.dtype == np.int8 and np.array_equal(answer.view(np.uint8), right) else "wrong"
    print(f"{title} of {x.dtype}: {nodes}: {verdict}: PyTorch {right.dtype} {right.tolist()}, ONNX Runtime {answer.dtype} {answer.tolist()}")
    return verdict


typed = [case("x << 1", lambda x: x << 1, byte), case("x >> 1", lambda x: x >> 1, byte), case("x >> 4", lambda x: x >> 4, byte)]
wrong = [case("(x << 1).float()", lambda x: (x << 1).float(), byte), case("(x >> 0) / 255", lambda x: (x >> 0) / 255, byte)]
dead = [case("both nibbles", lambda x: torch.stack([x & 15, x >> 4], -1).float(), byte), case("(x >> 0) > 7", lambda x: (x >> 0) > torch.full_like(x, 7), byte)]
good = [case(f"x {name} 1", function, byte.to(dtype)) for dtype in (torch.int8, torch.int32, torch.int64)
        for name, function in (("<<", lambda x: x << 1), (">>", lambda x: x >> 1))]
good += [case("x & 15", lambda x: x & 15, byte), case("x | 15", lambda x: x | 15, byte), case("~x", lambda x: ~x, byte)]
good.append(case("(x.int() << 1 & 255).float()", lambda x: (x.int() << 1 & 255).float(), byte))
print(typed, wrong, dead, good)
sys.exit(0 if (set(typed), set(wrong), set(dead), set(good)) == ({"type"}, {"wrong"}, {"not loaded"}, {"right"}) else 1)
PY
"$work/venv/bin/python" "$work/show.py" 2> "$work/errors" || { cat "$work/errors"; exit 1; }
