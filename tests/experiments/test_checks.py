"""The checks that need no peer, in small."""

import cnncore
import pytest

from experiments.checks import determinism, python_share


@pytest.mark.skipif(not cnncore.has_openmp(), reason="built without OpenMP: every team has one member")
def test_the_same_weights_on_every_team() -> None:
    for way, by_team in determinism.hashes("mnist_cnn", samples=130, epochs=1).items():
        assert set(by_team) == set(determinism.TEAMS)
        assert len(set(by_team.values())) == 1, f"{way}: {by_team}"


def test_share_of_python_is_measured() -> None:
    share = python_share.measure("lenet", steps=5)
    assert 0.0 < share.python < share.step
    assert 0.0 < share.share < 1.0
