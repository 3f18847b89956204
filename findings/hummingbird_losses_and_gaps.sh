#!/usr/bin/env bash
# hummingbird-ml 0.4.11, scikit-learn 1.9.1: a model's loss is left out, three classes are computed as three times two, and missing values take the wrong branch.
#
# What happens: HistGradientBoostingRegressor with the loss poisson or gamma answers with the logarithm of its prediction, so that counts come out negative.
#   GradientBoostingClassifier with the loss exponential is given half its log odds and a constant. LogisticRegression of three classes is a sigmoid for each,
#   divided by their sum, in place of a softmax. NaN, for which scikit-learn's trees learn a side, is taken for a large number. An IsolationForest with
#   max_features below 1 is another forest. SimpleImputer drops the columns of add_indicator. With the other losses, two classes, no NaN, all features and no
#   indicator the same models are right. Nothing is said.
# Expected: the model that was converted, or a refusal, as hummingbird has one for other models.
# Hurts: boosted counts and costs (claims, demand), probabilities of more than two classes, tables with gaps, which are what such trees are chosen for.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check hummingbird-ml==0.4.11 scikit-learn==1.9.1 numpy==2.4.6 torch==2.14.1 onnx==1.23.2
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys
import warnings

warnings.filterwarnings("ignore")
import hummingbird.ml
import numpy as np
from sklearn import ensemble, impute, linear_model, tree

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("hummingbird-ml", "scikit-learn", "torch", "numpy")))
rng = np.random.default_rng(0)
X = rng.normal(size=(300, 5)).astype(np.float32)
COUNTS, TWO = np.exp(X[:, 0] / 2 + 0.1), (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)
THREE = np.digitize(X[:, 0] + X[:, 2], [-0.7, 0.7])
GAPS = X.copy()
GAPS[rng.random(X.shape) < 0.1] = np.nan


def case(title, model, x, y, method):
    """What scikit-learn and hummingbird answer, and whether the same (but for one in a hundred, at a threshold's rounding)."""
    right = np.asarray(getattr(model.fit(x, y), method)(x))
    theirs = np.asarray(getattr(hummingbird.ml.convert(model, "torch", x), method)(x))
    if theirs.size == right.size:
        theirs = theirs.reshape(right.shape)
    far = 1.0 if theirs.shape != right.shape else 1 - np.isclose(theirs, right, rtol=1e-3, atol=1e-3, equal_nan=True).mean()
    print(f"{title}: {'right' if far < 0.01 else f'{far:.0%} wrong'}")
    if far >= 0.01:
        print(f"    scikit-learn {right.shape} {np.ravel(right)[:6].round(3).tolist()}\n    hummingbird  {theirs.shape} {np.ravel(theirs)[:6].round(3).tolist()}")
    return bool(far >= 0.01), right.astype(float), theirs.astype(float)


def boosted(loss):
    return ensemble.HistGradientBoostingRegressor(loss=loss, max_iter=9)


def isolation(features):
    return ensemble.IsolationForest(n_estimators=20, max_features=features, contamination=0.1, random_state=0)


def log_odds(p):
    return np.log(p[:, 1] / p[:, 0])


linked = [case(f"HistGradientBoostingRegressor, {loss}", boosted(loss), X, COUNTS, "predict") for loss in ("poisson", "gamma")]
logarithms = all(wrong and np.allclose(theirs, np.log(right), atol=1e-3) for wrong, right, theirs in linked)
classes = ensemble.GradientBoostingClassifier(n_estimators=9, loss="exponential")
halved = case("GradientBoostingClassifier, exponential", classes, X, TWO, "predict_proba")
shift = log_odds(halved[2]) - log_odds(halved[1]) / 2
half = halved[0] and np.ptp(shift) < 1e-2
print(f"    its log odds are half of scikit-learn's plus {shift.min():.3f} to {shift.max():.3f}")
regression = linear_model.LogisticRegression()
three = case("LogisticRegression, three classes", regression, X, THREE, "predict_proba")
apart = 1 / (1 + np.exp(-regression.decision_function(X)))
sigmoids = three[0] and np.allclose(three[2], apart / apart.sum(1, keepdims=True), atol=1e-3)
shallow = dict(max_depth=4, random_state=0)
gaps = ensemble.HistGradientBoostingClassifier(max_iter=9).fit(GAPS, TWO)
full = np.nan_to_num(GAPS, nan=1e6)
converted = hummingbird.ml.convert(gaps, "torch", GAPS)
same_side = np.allclose(converted.predict_proba(GAPS), gaps.predict_proba(full), atol=1e-3)
wrong = [
    case("DecisionTreeClassifier with gaps", tree.DecisionTreeClassifier(**shallow), GAPS, TWO, "predict_proba")[0],
    case("RandomForestClassifier with gaps", ensemble.RandomForestClassifier(9, **shallow), GAPS, TWO, "predict_proba")[0],
    case("HistGradientBoostingClassifier with gaps", ensemble.HistGradientBoostingClassifier(max_iter=9), GAPS, TWO, "predict_proba")[0],
    case("IsolationForest, 60 % of the features", isolation(0.6), X, None, "decision_function")[0],
    case("SimpleImputer with add_indicator", impute.SimpleImputer(add_indicator=True), GAPS, None, "transform")[0],
]
right = [
    not case("HistGradientBoostingRegressor, squared_error", boosted("squared_error"), X, COUNTS, "predict")[0],
    not case("GradientBoostingClassifier, log_loss", ensemble.GradientBoostingClassifier(n_estimators=9), X, TWO, "predict_proba")[0],
    not case("LogisticRegression, two classes", linear_model.LogisticRegression(), X, TWO, "predict_proba")[0],
    not case("DecisionTreeClassifier", tree.DecisionTreeClassifier(**shallow), X, TWO, "predict_proba")[0],
    not case("RandomForestClassifier", ensemble.RandomForestClassifier(9, **shallow), X, TWO, "predict_proba")[0],
    not case("HistGradientBoostingClassifier", ensemble.HistGradientBoostingClassifier(max_iter=9), X, TWO, "predict_proba")[0],
    not case("IsolationForest", isolation(1.0), X, None, "decision_function")[0],
    not case("SimpleImputer", impute.SimpleImputer(), GAPS, None, "transform")[0],
]
print("logarithms:", logarithms, "- half the log odds:", half, "- sigmoids:", sigmoids, "- NaN as a large number:", same_side, "- other wrong:", wrong, "- right:", right)
sys.exit(0 if logarithms and half and sigmoids and same_side and all(wrong) and all(right) else 1)
PY
"$work/venv/bin/python" "$work/show.py"
