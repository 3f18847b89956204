#!/usr/bin/env bash
# skl2onnx 1.20.0: neighbours that are weighted by their distance are exported with equal weights.
#
# What happens: for opset 11 and later the distances that TopK finds are multiplied by -1 (as if they were negative, as they are for older opsets), and then,
#   against a division by zero, raised to 1e-6 at least: all of them become 1e-6, and all weights the same. A KNeighborsClassifier or KNeighborsRegressor
#   with weights="distance" answers what one with weights="uniform" does. Nothing is said, and any runtime agrees, since the graph itself has it so.
# Expected: the mean weighted by 1 / distance, and a point of the training set its own value, as scikit-learn gives it.
# Hurts: whoever chose weights="distance" in a search over parameters: the exported model is another one of that search. A regressor that reproduces its
#   training data exactly no longer does; a comparison of labels alone, with well separated classes, sees nothing.
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
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

warnings.filterwarnings("ignore")
from skl2onnx import to_onnx

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("scikit-learn", "skl2onnx", "onnx", "onnxruntime")))
X = np.array([[0], [1], [3], [7]], np.float32)
VALUES = np.array([0, 1, 2, 10], np.float64)
CLASSES = np.array([0, 0, 1, 1])
QUERIES = np.array([[0.5], [1], [2], [5]], np.float32)
K = 3


def by_formula(targets, weighted):
    """The mean of the K nearest targets, each weighted by one over its distance; a query on a training point is that point's target."""
    answers = []
    for query in QUERIES:
        distance = np.abs(X - query).ravel().astype(np.float64)
        nearest = np.argsort(distance, kind="stable")[:K]
        if not weighted:
            weights = np.ones(K)
        elif distance[nearest[0]] == 0:
            weights = (distance[nearest] == 0).astype(np.float64)
        else:
            weights = 1 / distance[nearest]
        answers.append((weights * targets[nearest]).sum() / weights.sum())
    return np.array(answers)


as_seen = True
for model, targets in ((KNeighborsRegressor(K, weights="distance"), VALUES), (KNeighborsClassifier(K, weights="distance"), CLASSES)):
    model.fit(X, targets)
    classifies = targets is CLASSES
    options = {id(model): {"zipmap": False}} if classifies else None
    truth, unweighted = by_formula(targets, True), by_formula(targets, False)
    scikit = model.predict_proba(QUERIES)[:, 1] if classifies else model.predict(QUERIES)
    print(f"{type(model).__name__} at {QUERIES.ravel().tolist()}{', probability of class 1' if classifies else ''}")
    print(f"    formula {truth.round(4).tolist()}, scikit-learn {scikit.round(4).tolist()}, without weights {unweighted.round(4).tolist()}")
    as_seen &= bool(np.allclose(scikit, truth) and not np.allclose(truth, unweighted, atol=1e-2))
    for opset in (11, 18, None):
        exported = to_onnx(model, X[:1], options=options, target_opset=opset)
        onnx.checker.check_model(exported)
        last = -1 if classifies else 0
        runtime = onnxruntime.InferenceSession(exported.SerializeToString()).run(None, {"X": QUERIES})[last]
        reference = ReferenceEvaluator(exported).run(None, {"X": QUERIES})[last]
        runtime, reference = ((each[:, 1] if classifies else each.ravel()).astype(np.float64) for each in (runtime, reference))
        print(f"    opset {opset or 'default'}: ONNX Runtime {runtime.round(4).tolist()}, onnx's reference {reference.round(4).tolist()}")
        as_seen &= bool(np.allclose(runtime, unweighted, atol=1e-5) and np.allclose(reference, unweighted, atol=1e-5))
sys.exit(0 if as_seen else 1)
PY
"$work/venv/bin/python" "$work/show.py"
