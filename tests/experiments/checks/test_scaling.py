"""The check of how a step gets faster with threads."""

from collections.abc import Iterator

import cnncore
import pytest

from engine.cli import run
from experiments.checks import scaling
from experiments.measuring.networks import NETWORKS


@pytest.fixture(autouse=True)
def default_threads() -> Iterator[None]:
    yield
    cnncore.set_num_threads(0)


def test_the_limit_counts_what_is_alone_and_the_meetings() -> None:
    assert scaling.limit([1.0, 1.0], frozenset(), 2) == pytest.approx(2.0, rel=1e-5)
    assert scaling.limit([1.0, 3.0], frozenset({0}), 64) == pytest.approx(4 / (1 + 3 / 64), rel=1e-4)
    assert scaling.limit([1e-6] * 4, frozenset(), 2) == pytest.approx(4 / (2 + 4))


@pytest.mark.skipif(not cnncore.has_openmp(), reason="built without OpenMP: every team has one member")
def test_a_network_is_measured_on_every_count() -> None:
    result = scaling.measure(NETWORKS["lenet"], [1, 2], rounds=1)
    assert tuple(result.seconds) == (1, 2) and min(result.seconds.values()) > 0
    assert tuple(result.limits) == scaling.BEYOND and result.limits[4] <= 4
    assert set(result.digests) == {1, 2, 64} and len(set(result.digests.values())) == 1
    assert "same" in scaling.line(result)


def test_other_bits_fail_the_check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    other = scaling.Scaling("lenet", 64, {1: 0.002, 2: 0.001}, dict.fromkeys(scaling.BEYOND, 2.0), {1: "aa", 64: "ab"})
    monkeypatch.setattr(scaling, "measure", lambda case, threads, rounds: other)
    assert scaling.main(["--networks", "lenet", "--threads", "1,2"]) == 1
    out = capsys.readouterr().out
    assert "DIFFER" in out and "FAILED, other bits: lenet" in out


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--networks", "resnet"]])
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: scaling.main(arguments)) == 2
    assert arguments[1] in capsys.readouterr().err
