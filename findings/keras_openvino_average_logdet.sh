#!/usr/bin/env bash
# Keras 3.15.1 with the OpenVINO backend: a weighted average is divided by the number of items, and logdet takes every negative pivot for 0.
#
# What happens: ops.average(x, weights=w) is sum(w * x) / n, not sum(w * x) / sum(w). In ops.logdet and slogdet each negative pivot of the elimination
#   counts as -87.5, near the logarithm of the smallest float32, whatever it is: the covariance ((1, 2), (2, 5)), of determinant 1, has -86.8 for its log
#   determinant, while det is right. ops.linspace(0, 10, 5, dtype="int32") is 0, 2, 4, 6, 8: the step, not the value, is rounded. ops.vstack of two
#   vectors joins them end to end. Nothing is said; other ops this backend lacks raise NotImplementedError.
# Expected: NumPy's numbers, which the op's documentation follows and the NumPy and JAX backends give.
# Hurts: a model trained with JAX or torch and served with the OpenVINO backend (predict only, so nothing is compared there): attention pooling by
#   ops.average, a Gaussian's log likelihood by logdet.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 openvino==2026.4.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import keras
import numpy as np

for name in ("keras", "openvino", "jax", "numpy"):
    print(name, importlib.metadata.version(name), end=" ")
print("- backend", keras.config.backend())
x, w = np.array([1, 2, 3, 4], np.float32), np.array([1, 1, 1, 5], np.float32)
covariance = np.array([[1, 2], [2, 5]], np.float32)
diagonal = np.array([[2, 0], [0, 3]], np.float32)
cases = {
    "average with weights": (keras.ops.average(x, weights=w), np.average(x, weights=w)),
    "logdet, diagonal": (keras.ops.logdet(diagonal), np.linalg.slogdet(diagonal)[1]),
    "logdet, covariance": (keras.ops.logdet(covariance), np.linalg.slogdet(covariance)[1]),
    "det, covariance": (keras.ops.det(covariance), np.linalg.det(covariance)),
    "slogdet of (-2)": (keras.ops.slogdet(np.array([[-2.0]], np.float32))[1], np.log(2.0)),
    "linspace of integers": (keras.ops.linspace(0, 10, 5, dtype="int32"), np.linspace(0, 10, 5, dtype=np.int32)),
    "vstack of vectors": (keras.ops.vstack([x, w]), np.vstack([x, w])),
}
right = {}
for name, (theirs, numpys) in cases.items():
    theirs = np.asarray(keras.ops.convert_to_numpy(theirs))
    right[name] = theirs.shape == numpys.shape and np.allclose(theirs, numpys, atol=1e-4)
    print(f"  {name:22} {theirs.astype(float).round(4).tolist()} - NumPy {numpys.astype(float).round(4).tolist()}")
print("  right:", [name for name, ok in right.items() if ok])
if keras.config.backend() == "jax":
    sys.exit(0 if all(right.values()) else 1)
wrong = ("average with weights", "logdet, covariance", "slogdet of (-2)", "linspace of integers", "vstack of vectors")
sys.exit(0 if not any(right[name] for name in wrong) else 1)
PY
KERAS_HOME="$work" KERAS_BACKEND=jax "$work/venv/bin/python" "$work/show.py"
KERAS_HOME="$work" KERAS_BACKEND=openvino "$work/venv/bin/python" "$work/show.py"
