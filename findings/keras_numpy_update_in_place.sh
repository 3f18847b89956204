#!/usr/bin/env bash
# Keras 3.15.1, NumPy backend: slice_update and scatter_update write into the tensor that they are given, and into a variable's own memory.
#
# What happens: on the other backends both return a new tensor and leave the input as it was. On NumPy's the input is written and returned: whoever keeps
#   the tensors of several steps keeps one and the same, and the value of a keras.Variable changes without an assign.
# Expected: values, as keras.ops have elsewhere (the same of the PyTorch backend was taken for a bug and mended). The documentation says "update" and
#   "returns a tensor", and its example assigns the result to the name of the input, which hides the difference.
# Hurts: loops that write a cache or a beam step by step and go back to an earlier one; a test that computes its expected values on the NumPy backend, the
#   simplest of all to look into, and compares before with after.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import os
import sys
import warnings

os.environ["KERAS_BACKEND"] = sys.argv[1]
warnings.filterwarnings("ignore")
import keras
import numpy as np
from keras import ops

print("keras", keras.__version__, "backend", keras.backend.backend())


def steps(update):
    """The states of three steps, each of which sets one more item to 1, looked at after the last."""
    states = [ops.zeros((3,))]
    for step in range(3):
        states.append(update(states[-1], step))
    return [np.array(each).tolist() for each in states]


by_slice = steps(lambda state, step: ops.slice_update(state, (step,), ops.ones((1,))))
by_scatter = steps(lambda state, step: ops.scatter_update(state, [[step]], ops.ones((1,))))
variable = keras.Variable(np.zeros(3, np.float32))
ops.slice_update(variable.value, (1,), ops.ones((1,)))
value = np.array(variable.value).tolist()
print("    by slice_update  ", by_slice)
print("    by scatter_update", by_scatter)
print("    variable, never assigned", value)
truth = np.tril(np.ones((4, 3)), -1).tolist()
last = [truth[-1]] * 4
if sys.argv[1] == "numpy":
    sys.exit(0 if by_slice == by_scatter == last and value == [0, 1, 0] else 1)
sys.exit(0 if by_slice == by_scatter == truth and value == [0, 0, 0] else 1)
PY
"$work/venv/bin/python" "$work/show.py" jax
"$work/venv/bin/python" "$work/show.py" numpy
