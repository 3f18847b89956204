#!/usr/bin/env bash
# ml_dtypes 0.6.0: a NaN in an array of bfloat16 or float8 leaves the numbers around it unsorted, for np.sort and for all that is built on it.
#
# What happens: NumPy promises NaN at the end. For ml_dtypes' types a NaN behaves as if it were equal to every number, which is no order at all: sort and
#   argsort, of any kind, return [5, nan, 1] as it came. So unique leaves numbers twice, and the k largest by argsort are others. Arrays without NaN are
#   sorted right, max and argmax are right, and so is float16, which is NumPy's own.
# Expected: what NumPy's documentation of sort says of real numbers, as its own float16 and float32 have it.
# Hurts: whoever looks at weights or activations of JAX in bfloat16, which reach NumPy as this type: one NaN in a layer, and the list of the largest
#   values or the table of codes in use is wrong all over, where one would expect the NaN alone to show, at the end.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ml_dtypes==0.6.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys
import warnings

import ml_dtypes
import numpy as np

warnings.filterwarnings("ignore")
print("ml_dtypes", ml_dtypes.__version__, "numpy", np.__version__)
NAN = float("nan")
VALUES = [5, NAN, 1, 3, NAN, 1, 4, -2]
TRUTH = {  # by hand
    "sort": [-2, 1, 1, 3, 4, 5, NAN, NAN],
    "sort, stable": [-2, 1, 1, 3, 4, 5, NAN, NAN],
    "without NaN": [-2, 1, 1, 3, 4, 5],
    "unique": [-2, 1, 3, 4, 5, NAN],
    "three largest": [5, 4, 3],
    "max": [NAN],
}


def seen(dtype):
    a = np.array(VALUES).astype(dtype)
    answers = {
        "sort": np.sort(a),
        "sort, stable": np.sort(a, kind="stable"),
        "without NaN": np.sort(a[~np.isnan(a)]),
        "unique": np.unique(a),
        "three largest": a[np.argsort(-a)[:3]],
        "max": np.max(a),
    }
    return {name: np.atleast_1d(each).astype(np.float64).tolist() for name, each in answers.items()}


def same(a, b):
    return len(a) == len(b) and bool(np.array_equal(a, b, equal_nan=True))


right = {}
for dtype in (np.float16, np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
    answers = seen(dtype)
    right[dtype.__name__] = {name: same(answers[name], truth) for name, truth in TRUTH.items()}
    print(dtype.__name__)
    for name, answer in answers.items():
        print(f"    {name:20} {answer} {'' if right[dtype.__name__][name] else 'and not ' + str([float(each) for each in TRUTH[name]])}")
expected = dict.fromkeys(TRUTH, False) | {"without NaN": True, "max": True}
numpys_own = all(all(right[name].values()) for name in ("float16", "float32"))
sys.exit(0 if numpys_own and all(right[name] == expected for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
