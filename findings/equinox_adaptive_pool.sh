#!/usr/bin/env bash
# equinox 0.13.8: adaptive pooling cuts the input into other windows than PyTorch does where the sizes do not divide.
#
# What happens: AdaptiveAvgPool1d(3) over 0, 1, 2, 3, 4 gives 0.5, 2.5, 4: disjoint windows of 2, 2 and 1 elements. PyTorch's rule, from
#   floor(i * n / m) to ceil((i + 1) * n / m), gives overlapping windows and 0.5, 2, 3.5. Where n is a multiple of m both agree.
# Expected: the same layer under the same name to give the same features; the layers around it are ported value by value.
# Hurts: whoever ports a backbone with an adaptive pool before its classifier and feeds it another image size than it was tested with: the
#   shapes fit, the weights load, and the last window (here a single element) weighs as much as the others.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check equinox==0.13.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import sys

import equinox
import jax
import numpy as np

print("equinox", equinox.__version__, "jax", jax.__version__)


def pooled(n, m):
    x = np.arange(n, dtype=np.float32)
    got = np.asarray(equinox.nn.AdaptiveAvgPool1d(m)(x[None])).ravel()
    torch_rule = [x[i * n // m : -((i + 1) * n // -m)].mean() for i in range(m)]
    print(f"{n} to {m}: equinox {got.round(4).tolist()}, PyTorch's rule {np.round(torch_rule, 4).tolist()}")
    return np.allclose(got, torch_rule, atol=1e-5), got


even, _ = pooled(6, 3)
odd, seen = pooled(5, 3)
pooled(7, 4)
sys.exit(0 if even and not odd and np.allclose(seen, [0.5, 2.5, 4]) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
