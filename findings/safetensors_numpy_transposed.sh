#!/usr/bin/env bash
# safetensors 0.8.0: safetensors.numpy saves a transposed array in the order in which it lies in memory, under the transposed shape.
#
# What happens: save and save_file hand the address of the array's first element on and do not look at its strides. W.T, a Fortran-ordered array and a
#   sliced one are written as other numbers under the right name, shape and dtype, without a warning, and load as such everywhere.
# Expected: what 0.7.0 and those before it wrote, the array in C order; or an error, as safetensors.torch raises for a tensor that is not contiguous.
#   (The docstring asks for contiguous arrays, and did so while the others were written correctly.)
# Hurts: scripts that carry weights from one framework to another, where W.T or kernel.transpose(3, 2, 0, 1) is the whole work. A square matrix keeps its shape
#   with or without the transposition, so nothing downstream can tell.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/show.py" <<'PY'
import sys

import numpy as np
import safetensors
import safetensors.numpy

print("safetensors", safetensors.__version__, "numpy", np.__version__)
# In NumPy's own layouts only: each of these covers, or lies within, the memory of one whole array.
w = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
square = np.arange(4, dtype=np.float32).reshape(2, 2)
kernel = np.arange(24, dtype=np.float32).reshape(2, 1, 3, 4)
arrays = {
    "as it is": w,
    "w.T": w.T,
    "square.T": square.T,
    "Fortran order": np.asfortranarray(w),
    "every other column": w[:, ::2],
    "kernel.transpose(3, 2, 0, 1)": kernel.transpose(3, 2, 0, 1),
}
loaded = safetensors.numpy.load(safetensors.numpy.save(arrays))
safetensors.numpy.save_file(arrays, sys.argv[2])
from_file = safetensors.numpy.load_file(sys.argv[2])
right = {name: bool(np.array_equal(loaded[name], a)) for name, a in arrays.items()}
for name, a in list(arrays.items())[:-1]:
    print(f"  {name:20} {a.tolist()} is loaded as {loaded[name].tolist()}")
print(" ", right)
same = all(np.array_equal(loaded[n], from_file[n]) and loaded[n].shape == a.shape and loaded[n].dtype == a.dtype for n, a in arrays.items())
expected = [True] * 6 if sys.argv[1] == "0.7.0" else [True] + [False] * 5
sys.exit(0 if same and list(right.values()) == expected else 1)
PY
for version in 0.7.0 0.8.0; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install --quiet --disable-pip-version-check "safetensors==$version" numpy==2.4.6
  "$work/$version/bin/python" "$work/show.py" "$version" "$work/arrays.safetensors"
done
