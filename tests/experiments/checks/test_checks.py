"""The checks that need no peer, in small."""

from collections.abc import Iterator

import cnncore
import pytest

from experiments.checks import determinism, python_share
from experiments.measuring.networks import NETWORKS


@pytest.fixture(autouse=True)
def default_threads() -> Iterator[None]:
    """Whatever a test sets, the next one starts from the default."""
    yield
    cnncore.set_num_threads(0)


@pytest.mark.skipif(not cnncore.has_openmp(), reason="built without OpenMP: every team has one member")
@pytest.mark.parametrize("name", ["mnist_cnn", "vgg3_bn_dropout", "scene_0"])
def test_the_same_bits_on_every_team(name: str) -> None:
    results = determinism.hashes(NETWORKS[name], batch=7)
    assert set(results) == {*determinism.WAYS, "predictions"}
    for what, by_team in results.items():
        assert tuple(by_team) == determinism.TEAMS
        assert len(set(by_team.values())) == 1, f"{what}: {by_team}"


def test_other_bits_are_reported(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    same = {"predictions": dict.fromkeys(determinism.TEAMS, "aa")}
    assert len(determinism.lines("lenet", 64, same)) == 1
    other = {"predictions": {**same["predictions"], 7: "ab"}}
    assert any("7 threads: DIFFERS" in line for line in determinism.lines("lenet", 64, other))
    for results, status in ((same, 0), (other, 1)):
        monkeypatch.setattr(determinism, "hashes", lambda case, batch, found=results: found)
        assert determinism.main(["--networks", "lenet"]) == status
        assert ("FAILED" in capsys.readouterr().out) == bool(status)


def test_a_team_of_another_size_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cnncore, "measure_team", lambda: 1)
    with pytest.raises(AssertionError, match="asked for 7 threads, the team has 1"):
        determinism.require_team(7)


def test_share_of_python_is_measured() -> None:
    share = python_share.measure("lenet", steps=5)
    assert 0.0 < share.python < share.step
    assert 0.0 < share.share < 1.0
