"""The search of scikit-learn beside the same trainings by hand: the same accuracies, and a verdict that can fail."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the check compares with scikit-learn")

from engine.data.digits import digits5k  # noqa: E402
from engine.errors import UserError  # noqa: E402
from experiments.checks import sklearn_search  # noqa: E402


def few() -> tuple[np.ndarray, np.ndarray]:
    digits, labels = digits5k()
    chosen = np.arange(0, 5000, 50)
    return digits[chosen], labels[chosen]


def test_both_ways_find_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sklearn_search, "digits5k", few)
    arguments = ["--rounds", "1", "--epochs", "1", "--jobs", "1"]
    assert sklearn_search.main(arguments) == 0
    assert "verdict: the same accuracies" in capsys.readouterr().out
    by_hand = sklearn_search.by_hand
    monkeypatch.setattr(sklearn_search, "by_hand", lambda *given: by_hand(*given) + 0.01)
    assert sklearn_search.main(arguments) == 1
    assert "verdict: FAILED" in capsys.readouterr().out


def test_a_number_of_none_is_refused() -> None:
    with pytest.raises(UserError, match="--jobs: at least 1"):
        sklearn_search.main(["--jobs", "0"])
