#!/usr/bin/env bash
# jax2onnx 0.17.1: dot_product_attention with key_value_seq_lengths, exported, answers zeros for every query but the first.
#
# What happens: key_value_seq_lengths says how many keys and values of each batch count. In the exported model all queries but the first are blanked,
#   whatever the lengths, full ones too, as though a query_seq_lengths of 1 had been given. Given along with query_seq_lengths written out it is right.
# Expected: softmax over the valid keys for every query, as JAX and the formula have it; only query_seq_lengths concerns the queries.
# Hurts: cross-attention and prefilling against padded keys. With one query at a time, as in decoding and in the simplest test, nothing is to be seen.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check jax2onnx==0.17.1 jax==0.10.2 jaxlib==0.10.2 flax==0.12.8 onnx==1.23.2 \
  onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import logging
import sys

import jax
import jax.numpy as jnp
import jax2onnx
import numpy as np
import onnxruntime

logging.disable(logging.CRITICAL)
for name in ("jax2onnx", "jax", "onnxruntime"):
    print(name, importlib.metadata.version(name), end=" ")
print()
rng = np.random.default_rng(0)
Q = rng.standard_normal((2, 3, 1, 2)).astype(np.float32)
K, V = rng.standard_normal((2, 2, 4, 1, 2)).astype(np.float32)


def by_formula(lengths):
    out = np.zeros_like(Q)
    for b, n in enumerate(lengths):
        e = np.exp(Q[b, :, 0] @ K[b, :n, 0].T / np.sqrt(2))
        out[b, :, 0] = e / e.sum(axis=1, keepdims=True) @ V[b, :n, 0]
    return out


def three(lengths, **query):
    """Whether JAX and whether the exported model has the formula's numbers, and which rows of the latter are zeros."""

    def attend(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, key_value_seq_lengths=jnp.array(lengths, jnp.int32), **query)

    built = jax2onnx.to_onnx(attend, [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (Q, K, V)])
    session = onnxruntime.InferenceSession(built.SerializeToString())
    exported = session.run(None, dict(zip([i.name for i in session.get_inputs()], (Q, K, V), strict=True)))[0]
    expected = by_formula(lengths)
    right = [bool(np.allclose(y, expected, atol=1e-5)) for y in (attend(Q, K, V), exported)]
    zeros = (~exported.any(axis=(2, 3))).tolist()
    print(f"lengths {lengths}, {list(query) or 'nothing'} besides: JAX right {right[0]}, exported right {right[1]}; rows of zeros {zeros}")
    for b in range(2):
        print("    batch", b, "formula", expected[b, :, 0].astype(float).round(3).tolist(), "exported", exported[b, :, 0].astype(float).round(3).tolist())
    return right, zeros


every = jnp.array([3, 3], jnp.int32)
written, full, short = three([1, 2], query_seq_lengths=every), three([4, 4]), three([1, 2])
wrong = ([True, False], [[False, True, True]] * 2)
sys.exit(0 if written[0] == [True, True] and full == wrong and short == wrong else 1)
PY
JAX_PLATFORMS=cpu "$work/venv/bin/python" "$work/show.py"
