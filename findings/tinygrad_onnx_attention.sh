#!/usr/bin/env bash
# tinygrad 0.14.0: the Attention operator of ONNX gives grouped queries the wrong heads, masks from the wrong corner after a cache, and caps the mask away.
#
# What happens: with fewer heads of keys than of queries, head i of the queries belongs to head i // group of the keys; tinygrad repeats the keys as a whole,
#   so that it gets head i % heads. With is_causal and past keys the mask begins at the first past key, not behind the last: a query of one new token sees
#   the oldest key alone. With softcap the mask is added before the cap, which turns a forbidden -inf or -10000 into -softcap: forbidden keys take part.
#   One head a group, is_causal without a past, and a mask without softcap are right. Nothing is said.
# Expected: scores, cap, mask, softmax, in this order, and query t of a step behind p past keys sees keys 0 to p + t, as ONNX Runtime and onnx's own reference
#   evaluator have it.
# Hurts: language models with grouped queries (most of them), with a cache (all of them), or with capped scores, in files of opset 23 and more.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check tinygrad==0.14.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import pathlib
import sys

import numpy as np
import onnx
import onnx.reference
import onnxruntime
from onnx import TensorProto, helper
from tinygrad.nn.onnx import OnnxRunner

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("tinygrad", "onnx", "onnxruntime")))
path = pathlib.Path(sys.argv[1]) / "attention.onnx"
random = np.random.default_rng(5)


def by_hand(q, k, v, group=1, past=None, causal=False, mask=None, cap=0.0):
    q, k, v = (each.astype(float) for each in (q, k, v))
    before = 0
    if past is not None:
        before = past.shape[2]
        k, v = (np.concatenate([past, each], 2) for each in (k, v))
    allowed = np.ones((q.shape[2], k.shape[2]), bool)
    if mask is not None:
        allowed = mask
    if causal:
        allowed = np.arange(k.shape[2])[None] <= before + np.arange(q.shape[2])[:, None]
    out = np.empty((*q.shape[:3], v.shape[3]))
    for head in range(q.shape[1]):
        scores = q[0, head] @ k[0, head // group].T / np.sqrt(q.shape[3])
        scores = np.where(allowed, np.tanh(scores / cap) * cap if cap else scores, -np.inf)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        out[0, head] = weights / weights.sum(1, keepdims=True) @ v[0, head // group]
    return out


def case(title, queries, keys, new=3, old=0, causal=0, mask=None, cap=0.0):
    q = random.standard_normal((1, queries, new, 4)).astype(np.float32)
    k, v = (random.standard_normal((1, keys, new, 4)).astype(np.float32) for _ in range(2))
    past = random.standard_normal((1, keys, old, 4)).astype(np.float32) if old else None
    given = {"q": q, "k": k, "v": v}
    if mask is not None:
        given["mask"] = mask
    if old:
        given.update(pk=past, pv=past)
    inputs = ["q", "k", "v", "mask" if mask is not None else "", *(["pk", "pv"] if old else [])]
    node = helper.make_node("Attention", inputs, ["y", "nk", "nv"] if old else ["y"], is_causal=causal, softcap=cap)
    graph = helper.make_graph(
        [node],
        "attention",
        [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for name, value in given.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, q.shape)],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=11)
    onnx.checker.check_model(built)
    onnx.save(built, path)
    right = by_hand(q, k, v, queries // keys, past, causal, mask, cap)
    answers = [onnxruntime.InferenceSession(str(path)).run(None, given)[0], onnx.reference.ReferenceEvaluator(built).run(None, given)[0]]
    answers.append(OnnxRunner(path)(given)["y"].numpy())
    verdict = tuple(np.allclose(each, right, atol=1e-5) for each in answers)
    print(f"{title}: ONNX Runtime, reference, tinygrad right: {verdict}, tinygrad off by {np.abs(answers[-1] - right).max():.3f}")
    return verdict, answers[-1], v, past


triangle = np.tri(3, dtype=bool)
good = [
    case("four heads of queries and of keys", 4, 4),
    case("causal", 2, 2, causal=1),
    case("a triangle for a mask", 2, 2, mask=triangle),
    case("softcap without a mask", 2, 2, cap=2.0),
]
wrong = [
    case("four heads of queries, two of keys", 4, 2),
    case("causal behind two past keys", 2, 2, old=2, causal=1),
    case("causal, one new behind two past keys", 2, 2, new=1, old=2, causal=1),
    case("a triangle for a mask, and softcap 2", 2, 2, mask=triangle, cap=2.0),
]
_, answer, _, past = wrong[2]
oldest = np.allclose(answer[0, :, 0], past[0, :, 0], atol=1e-5)
print("one new token is answered by the oldest key alone:", oldest)
as_seen = all(each[0] == (True, True, True) for each in good) and all(each[0] == (True, True, False) for each in wrong)
sys.exit(0 if as_seen and oldest else 1)
PY
DEV=PYTHON "$work/venv/bin/python" "$work/show.py" "$work"
