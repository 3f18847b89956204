"""scikit-learn's own checks of an estimator, all of them, for both of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

pytest.importorskip("sklearn", reason="engine.estimator needs scikit-learn")

# With weights of whole numbers, a fit is to be the one on repeated samples to 1e-7; sums of float32 that are made in
# another order differ by that much. test_estimators.py holds the two to 1e-4.
ROUNDING = {"check_sample_weight_equivalence_on_dense_data": "sums in float32 round by their order"}
CHECKS = """
import sys
from sklearn.utils.estimator_checks import check_estimator
import engine.estimator

estimator = getattr(engine.estimator, sys.argv[1])()
for each in check_estimator(estimator, expected_failed_checks={expected!r}, on_fail=None, on_skip=None):
    print(each["check_name"], each["status"], " ".join(str(each["exception"]).split())[:300])
"""


@pytest.mark.parametrize("name", ["CNNClassifier", "CNNRegressor"])
def test_every_check_of_scikit_learn_passes(name: str) -> None:
    """In a process of its own: one check is skipped unless SciPy was told before it is imported. How many there are
    differs by scikit-learn's version."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "SCIPY_ARRAY_API": "1"}
    code = CHECKS.format(expected=ROUNDING)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, name], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    results = [line.split(" ", 2) for line in done.stdout.splitlines()]
    counts = Counter(status for _, status, *_ in results)
    print(f"{name}: {len(results)} checks of scikit-learn: {dict(counts)}")
    assert len(results) > 40
    assert [each for each in results if each[1] not in ("passed", "xfail")] == []
    assert {each[0] for each in results if each[1] == "xfail"} <= set(ROUNDING)


@pytest.mark.parametrize("name", ["CNNClassifier", "CNNRegressor"])
def test_no_tag_makes_checks_vanish(name: str) -> None:
    """Our tags are those of scikit-learn's own classes of the kind, but that a regressor may have several outputs."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import get_tags

    import engine.estimator

    mixin = {"CNNClassifier": ClassifierMixin, "CNNRegressor": RegressorMixin}[name]
    usual = get_tags(type("Usual", (mixin, BaseEstimator), {})())
    usual.target_tags.multi_output = name == "CNNRegressor"
    assert get_tags(getattr(engine.estimator, name)()) == usual
