#!/usr/bin/env bash
# onnxmltools 1.16.0: a LightGBM random forest is divided by 100, whatever number of trees it has, and options that shape a booster's output are not read.
#
# What happens: for boosting_type="rf" the sum of the trees is divided by a constant 100. A regressor of 20 trees predicts a fifth of what it should; only one
#   of 100 trees is right. A classifier's trees are summed, put through the sigmoid, and that is divided by 100: no positive class is above 0.01, and, with
#   any number of trees, none is ever predicted; of three classes two columns are left. Apart from forests, `sigmoid` of a classifier is taken for 1, the
#   sigmoids of "multiclassova" are replaced by a softmax, and `reg_sqrt` gives the root of the value. Nothing is said in any case.
# Expected: what LightGBM predicts, which is here computed from its dumped trees by hand: their mean in a forest and their sum elsewhere; 1 / (1 + exp(-k s))
#   for a class, and sign(s) s^2 with `reg_sqrt`.
# Hurts: every forest that goes to ONNX Runtime: values on another scale, and a detector that never fires.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check lightgbm==4.7.0 onnxmltools==1.16.0 skl2onnx==1.20.0 onnxconverter-common==1.16.0 \
  onnx==1.23.2 onnxruntime==1.32.0 scikit-learn==1.9.1 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys
import warnings

import numpy as np
import onnxruntime
from lightgbm import LGBMClassifier, LGBMRegressor

warnings.filterwarnings("ignore")
import onnxmltools
from onnxmltools.convert.common.data_types import FloatTensorType

onnxruntime.set_default_logger_severity(3)

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("lightgbm", "onnxmltools", "onnxruntime")))
generator = np.random.default_rng(0)
X = generator.standard_normal((300, 4)).astype(np.float32)
VALUES = 10 + 3 * X[:, 0] + X[:, 1] ** 2
TWO = (VALUES > 11).astype(int)
THREE = np.digitize(VALUES, [9, 12])
FOREST = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}
SHOWN = 4


def leaf(node, row):
    while "leaf_value" not in node:
        node = node["left_child" if row[node["split_feature"]] <= node["threshold"] else "right_child"]
    return node["leaf_value"]


def outputs(model):
    """Each tree's value for each row, by class: rows, trees of one class, classes."""
    dump = model.booster_.dump_model()
    trees = np.array([[leaf(tree["tree_structure"], row) for tree in dump["tree_info"]] for row in X])
    return trees.reshape(len(X), -1, dump["num_tree_per_iteration"])


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def four(name, model, labels, truth, instead):
    """Whether LightGBM is as by hand, and whether the exported model is; what is seen instead; and the exported labels."""
    model.fit(X, labels)
    exported = onnxmltools.convert_lightgbm(model, initial_types=[("x", FloatTensorType([None, X.shape[1]]))], zipmap=False)
    answers = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": X})
    classes = None
    if isinstance(model, LGBMClassifier):
        classes, theirs = answers
        predicted = model.predict_proba(X)
        if theirs.shape[1] == 2:
            predicted, theirs = predicted[:, 1:], theirs[:, 1:]
    else:
        theirs, predicted = answers[0].reshape(-1, 1), model.predict(X)[:, None]
    trees = outputs(model)
    by_hand, seen = truth(trees), instead(trees)
    theirs = theirs.astype(np.float64)
    print(f"{name}: by hand {by_hand[:SHOWN].round(3).tolist()}, LightGBM {predicted[:SHOWN].round(3).tolist()}, exported {theirs[:SHOWN].round(6).tolist()}")
    if classes is not None:
        print(f"    labels of LightGBM {np.bincount(model.predict(X)).tolist()}, exported {np.bincount(classes).tolist()}")
    same = [bool(np.allclose(a, b, rtol=1e-3, atol=1e-5)) for a, b in ((predicted, by_hand), (theirs, by_hand), (theirs, seen))]
    return same, None if classes is None else np.bincount(classes, minlength=2).tolist()


def total(t):
    return t.sum(1)


def mean(t):
    return t.mean(1)


def softmax(s):
    e = np.exp(s - s.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


few, quiet = {"n_estimators": 20, "verbose": -1}, {"n_estimators": 100, "verbose": -1}
seen = {
    "boosted": four("boosted, 20 trees", LGBMRegressor(**few), VALUES, total, total),
    "forest of 20": four("forest of 20", LGBMRegressor(**few, **FOREST), VALUES, mean, lambda t: total(t) / 100),
    "forest of 100": four("forest of 100", LGBMRegressor(**quiet, **FOREST), VALUES, mean, lambda t: total(t) / 100),
    "two classes boosted": four("two classes, boosted", LGBMClassifier(**few), TWO, lambda t: sigmoid(total(t)), lambda t: sigmoid(total(t))),
    "two classes, 20": four("two classes, forest of 20", LGBMClassifier(**few, **FOREST), TWO, lambda t: sigmoid(mean(t)),
                            lambda t: sigmoid(total(t)) / 100),
    "two classes, 100": four("two classes, forest of 100", LGBMClassifier(**quiet, **FOREST), TWO, lambda t: sigmoid(mean(t)),
                             lambda t: sigmoid(total(t)) / 100),
    "sigmoid": four("two classes, sigmoid=2", LGBMClassifier(**few, sigmoid=2.0), TWO, lambda t: sigmoid(2 * total(t)), lambda t: sigmoid(total(t))),
    "one against all": four("three classes, multiclassova", LGBMClassifier(**few, objective="multiclassova"), THREE, lambda t: sigmoid(total(t)),
                            lambda t: softmax(total(t))),
    "reg_sqrt": four("reg_sqrt", LGBMRegressor(**few, reg_sqrt=True), VALUES, lambda t: np.sign(total(t)) * total(t) ** 2, total),
}
for name, (same, _) in seen.items():
    print(f"{name}: LightGBM as by hand {same[0]}, exported as by hand {same[1]}, exported as described above {same[2]}")
three = LGBMClassifier(**few, **FOREST).fit(X, THREE)
exported = onnxmltools.convert_lightgbm(three, initial_types=[("x", FloatTensorType([None, X.shape[1]]))], zipmap=False)
shape = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": X})[1].shape
print(f"three classes, forest of 20: probabilities of LightGBM {three.predict_proba(X).shape}, exported {shape}")
right = {"boosted", "forest of 100", "two classes boosted"}
never = all(seen[name][1][1] == 0 for name in ("two classes, 20", "two classes, 100")) and seen["two classes boosted"][1][1] > 0
sys.exit(0 if never and shape == (300, 2) and all(same == [True, name in right, True] for name, (same, _) in seen.items()) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
