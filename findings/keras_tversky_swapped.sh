#!/usr/bin/env bash
# Keras 3.15.1: the Tversky loss gives alpha to the false negatives and beta to the false positives, the other way round than it says.
#
# What happens: the documentation has alpha weigh the false positives and beta the false negatives, as the paper does that it names. The code computes the
#   two with the targets and the predictions in each other's place. At the default of 1/2 each, which is the Dice loss, nothing can be seen.
# Expected: 1 - TP / (TP + alpha FP + beta FN), of soft counts.
# Hurts: what the loss is for, segmentation of small lesions: alpha=0.3, beta=0.7, the paper's best for finding more of them, trains for finding fewer.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import os
import sys
import warnings

os.environ["KERAS_BACKEND"] = "jax"
warnings.filterwarnings("ignore")
import keras
import numpy as np

print("keras", keras.__version__, "backend", keras.backend.backend())
PREDICTED = {
    "misses two of four": [1, 1, 0, 0, 0, 0, 0, 0],
    "finds four too many": [1, 1, 1, 1, 1, 1, 1, 1],
    "soft": [0.9, 0.8, 0.4, 0.1, 0.3, 0.1, 0, 0],
}
TRUE = np.array([1, 1, 1, 1, 0, 0, 0, 0], np.float32)
rows, as_seen = {}, True
for name, values in PREDICTED.items():
    predicted = np.array(values, np.float32)
    hit, more, missed = (TRUE * predicted).sum(), ((1 - TRUE) * predicted).sum(), (TRUE * (1 - predicted)).sum()
    for alpha, beta in ((0.3, 0.7), (0.5, 0.5), (0.7, 0.3)):
        formula = 1 - hit / (hit + alpha * more + beta * missed)
        swapped = 1 - hit / (hit + beta * more + alpha * missed)
        theirs = float(keras.losses.tversky(TRUE, predicted, alpha=alpha, beta=beta))
        of_class = float(keras.losses.Tversky(alpha=alpha, beta=beta)(TRUE, predicted))
        rows[name, alpha] = theirs
        print(f"{name:20} alpha {alpha}, beta {beta}: formula {formula:.4f}, keras {theirs:.4f}, its class {of_class:.4f}, formula swapped {swapped:.4f}")
        as_seen &= bool(np.allclose([theirs, of_class], swapped, atol=1e-5))
        as_seen &= alpha == beta or not np.isclose(theirs, formula, atol=1e-2)
cheaper = min(("misses two of four", "finds four too many"), key=lambda name: rows[name, 0.3])
print("with alpha 0.3 and beta 0.7, for which a miss should cost more, the cheaper one:", cheaper)
sys.exit(0 if as_seen and cheaper == "misses two of four" else 1)
PY
"$work/venv/bin/python" "$work/show.py"
