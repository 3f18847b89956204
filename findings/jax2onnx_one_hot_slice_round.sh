#!/usr/bin/env bash
# jax2onnx 0.17.1: one_hot of -1, a dynamic_slice at the edge, lax.round of a half and log_sigmoid become ONNX operators that mean something else there.
#
# What happens: jax.nn.one_hot gives zeros for an index out of range; the OneHot it is exported to counts -1 from the end, so it becomes the last class.
#   lax.dynamic_slice moves a start that is too far back inside; the exported Slice answers with fewer rows. lax.round rounds halves away from zero unless
#   asked otherwise; the exported Round rounds them to even, asked or not. log_sigmoid(-20) is -inf: Log of Sigmoid, which is 0 by then.
# Expected: JAX's numbers, each of them written in its documentation.
# Hurts: padding labelled -1, which is then one of the classes; the last window of a sliding one, or a KV cache's; quantisation by lax.round; losses and
#   log-probabilities of confident models. Checks on random inputs, which the exporter has built in, do not come across any of them.
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
import jax2onnx
import numpy as np
import onnxruntime
from jax import lax

logging.disable(logging.CRITICAL)
for name in ("jax2onnx", "jax", "onnxruntime"):
    print(name, importlib.metadata.version(name), end=" ")
print()


def both(title, function, x, *, right=False):
    """Whether the exported model and JAX agree as often as they are known to."""
    jaxs = np.asarray(function(x))
    built = jax2onnx.to_onnx(function, [jax.ShapeDtypeStruct(x.shape, x.dtype)])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(built.SerializeToString(), options)
    exported = session.run(None, {session.get_inputs()[0].name: x})[0]
    print(f"{title:34} JAX {jaxs.tolist()}, exported {exported.tolist()}", [node.op_type for node in built.graph.node])
    same = jaxs.shape == exported.shape and np.allclose(jaxs, exported, rtol=1e-4, atol=1e-6)
    return same == right


halves = np.array([-1.5, -0.5, 0.5, 2.5], np.float32)
rows = np.arange(4, dtype=np.float32)
known = [
    both("one_hot of 0 and 2", lambda i: jax.nn.one_hot(i, 3), np.array([0, 2], np.int32), right=True),
    both("one_hot of 0 and -1", lambda i: jax.nn.one_hot(i, 3), np.array([0, -1], np.int32)),
    both("two of four rows from 2 on", lambda i: lax.dynamic_slice(rows, (i[0],), (2,)), np.array([2], np.int32), right=True),
    both("two of four rows from 3 on", lambda i: lax.dynamic_slice(rows, (i[0],), (2,)), np.array([3], np.int32)),
    both("lax.round, to even", lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), halves, right=True),
    both("lax.round, as it comes", lambda x: lax.round(x), halves),
    both("log_sigmoid of -10", lambda x: jax.nn.log_sigmoid(x), np.array([-10], np.float32), right=True),
    both("log_sigmoid of -20", lambda x: jax.nn.log_sigmoid(x), np.array([-20], np.float32)),
]
print("as known:", known)
sys.exit(0 if all(known) else 1)
PY
JAX_PLATFORMS=cpu "$work/venv/bin/python" "$work/show.py"
