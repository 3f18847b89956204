#!/usr/bin/env bash
# tinygrad 0.14.0: float arithmetic is simplified as if the numbers were real ones, with no switch asked for.
#
# What happens: (x + 12582912) - 12582912, the usual trick that rounds a float32 to an integer, returns x unrounded, x - x and x * 0 are
#   0 and x / x is 1 even where x is NaN or infinite, and a round trip through float16 disappears unless realize() stands between.
# Expected: IEEE results, as NumPy, PyTorch, JAX and TensorFlow give without a fast-math option: 2 for 1.7; NaN for NaN * 0; 0.30004883
#   for 0.3 through float16.
# Hurts: whoever simulates half precision or quantisation (the simulated network has no rounding at all and looks lossless), guards
#   training by a NaN test on a masked loss (loss * 0 reads as clean), or writes compensated sums.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check tinygrad==0.14.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys

import numpy as np
from tinygrad import Tensor, dtypes

print("tinygrad", importlib.metadata.version("tinygrad"), "numpy", np.__version__)
a = np.array([0.3, 1.7, 2.5], np.float32)
bad = np.array([np.nan, np.inf, 1], np.float32)
big = np.float32(12582912)
np.seterr(invalid="ignore")


def seen(title, ieee, got):
    print(f"{title:28} NumPy {ieee.tolist()}  tinygrad {got.tolist()}")
    return not np.array_equal(ieee, got, equal_nan=True)


x, y = Tensor(a), Tensor(bad)
differ = [
    seen("(x + 12582912) - 12582912", (a + big) - big, ((x + float(big)) - float(big)).numpy()),
    seen("x * 0", bad * np.float32(0), (y * 0).numpy()),
    seen("x - x", bad - bad, (y - y).numpy()),
    seen("x / x", bad / bad, (y / y).numpy()),
    seen("float16 and back", a.astype(np.float16).astype(np.float32), x.cast(dtypes.float16).cast(dtypes.float32).numpy()),
]
realized = seen(
    "float16, realize(), and back",
    a.astype(np.float16).astype(np.float32),
    x.cast(dtypes.float16).realize().cast(dtypes.float32).numpy(),
)
sys.exit(0 if all(differ) and not realized else 1)
PY
# The interpreter backend needs no compiler; the simplification happens before any backend sees the graph.
DEV=PYTHON "$work/venv/bin/python" "$work/show.py"
