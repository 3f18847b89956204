#!/usr/bin/env bash
# skl2onnx 1.20.0: the probabilities of a LinearDiscriminantAnalysis of two classes are exported with doubled log odds.
#
# What happens: two classes have one score d, which the converter writes as the pair -d and d and puts through softmax: that is the sigmoid of 2 d. The
#   probabilities are squeezed to 0 and 1; the labels, which depend on the sign alone, are right. LogisticRegression, which goes the same way through the
#   converter, is given the sigmoid of d, and with three classes both are right. No option is passed, and nothing is said.
# Expected: scikit-learn's predict_proba, which is Bayes' formula for two normal distributions of equal covariance.
# Hurts: whatever uses the probability as one: a threshold other than 1/2, a ranking of costs, a calibration, a mean over several models. 0.8 becomes 0.94.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1 skl2onnx==1.20.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys
import warnings

import numpy as np
import onnxruntime
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

warnings.filterwarnings("ignore")
from skl2onnx import to_onnx

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("scikit-learn", "skl2onnx", "onnxruntime")))
X = np.array([[-3], [-2], [-1], [0], [1], [0], [1], [2], [3], [4]], np.float32)
TWO = np.array([0] * 5 + [1] * 5)
THREE = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
QUERIES = np.array([[-1], [0], [0.75], [1], [2.5]], np.float32)


def bayes(classes):
    """Normal distributions of one variance for all classes, by hand: the mean square of all values less their class's mean."""
    x, q = X.ravel().astype(np.float64), QUERIES.astype(np.float64)
    labels, counts = np.unique(classes, return_counts=True)
    means = np.array([x[classes == label].mean() for label in labels])
    variance = sum(((x[classes == label] - mean) ** 2).sum() for label, mean in zip(labels, means)) / len(x)
    density = counts * np.exp(-((q - means) ** 2) / (2 * variance))
    return density / density.sum(1, keepdims=True)


def both(model, classes):
    """Probabilities of the last class, by scikit-learn and as exported; and whether the labels agree."""
    model.fit(X, classes)
    exported = to_onnx(model, X[:1], options={id(model): {"zipmap": False}})
    labels, theirs = onnxruntime.InferenceSession(exported.SerializeToString()).run(None, {"X": QUERIES})
    return model.predict_proba(QUERIES)[:, -1].astype(np.float64), theirs[:, -1].astype(np.float64), np.array_equal(labels, model.predict(QUERIES))


def odds(p):
    return np.log(p / (1 - p))


seen = {}
for name, model, classes in (
    ("LDA of two", LinearDiscriminantAnalysis(), TWO),
    ("LDA of three", LinearDiscriminantAnalysis(), THREE),
    ("logistic regression of two", LogisticRegression(), TWO),
    ("logistic regression of three", LogisticRegression(), THREE),
):
    ours, theirs, labels = both(model, classes)
    seen[name] = np.allclose(ours, theirs, atol=1e-4)
    print(f"{name}: scikit-learn {ours.round(4).tolist()}, exported {theirs.round(4).tolist()}, labels {'the same' if labels else 'others'}")
    if name == "LDA of two":
        by_hand = bayes(classes)[:, -1]
        print(f"    by hand {by_hand.round(4).tolist()}, exported log odds over scikit-learn's {(odds(theirs) / odds(ours)).round(3).tolist()}")
        as_seen = labels and np.allclose(ours, by_hand, atol=1e-4) and np.allclose(odds(theirs), 2 * odds(by_hand), atol=1e-2)
print("probabilities the same:", seen)
sys.exit(0 if as_seen and [name for name, same in seen.items() if not same] == ["LDA of two"] else 1)
PY
"$work/venv/bin/python" "$work/show.py"
