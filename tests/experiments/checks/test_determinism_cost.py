"""What the promise of equal bits costs: the comparison's own checks, and one tiny run against a real build."""

import os
from pathlib import Path
from typing import Any

import cnncore
import pytest

from engine.errors import UserError
from experiments.checks import determinism_cost as checks
from experiments.checks.determinism_cost import FIXED, UNORDERED, Cost
from experiments.measuring.networks import NETWORKS
from experiments.stats import spread

ROOT = Path(__file__).resolve().parents[3]


class Builds:
    """Stands for a side: answers with digests by team, and with what the core was built from."""

    def __init__(self, hashes: dict[int, str], source: str):
        self.hashes, self.source = hashes, source

    def ask(self, team: int) -> dict[str, Any]:
        return {"hash": self.hashes[team], "source": self.source}


def builds(fixed: tuple[str, str], unordered: tuple[str, str], sources: tuple[str, str] = ("s /a", "s /b")) -> Any:
    pairs = zip((FIXED, UNORDERED), (fixed, unordered), sources, strict=True)
    return {name: Builds(dict(zip((1, 2), hashes, strict=True)), source) for name, hashes, source in pairs}


def test_only_two_builds_of_one_source_are_compared_and_ours_keeps_its_promise() -> None:
    assert checks.check_builds(builds(("a", "a"), ("a", "b")))
    assert not checks.check_builds(builds(("a", "a"), ("b", "b")))
    with pytest.raises(UserError, match="differ between one thread and two"):
        checks.check_builds(builds(("a", "b"), ("a", "b")))
    for sources in (("s /a", "t /b"), ("s /a", "s /a")):
        with pytest.raises(UserError, match="not two builds of the same sources"):
            checks.check_builds(builds(("a", "a"), ("a", "b"), sources))


def test_another_training_is_refused() -> None:
    checks.check_losses({FIXED: [2.0, 1.0], UNORDERED: [2.0, 1.0005]})
    for loss in (1.01, float("nan")):
        with pytest.raises(UserError, match="losses differ"):
            checks.check_losses({FIXED: [2.0, 1.0], UNORDERED: [2.0, loss]})


def cost(ratio: float, free: bool = True, network: str = "lenet") -> Cost:
    return Cost(network, 64, ratio, 1.0, spread([ratio]), free)


def test_every_network_must_be_cheap_and_the_variant_free() -> None:
    assert checks.verdict([cost(1.04), cost(0.97, free=False)])[0]
    good, sentence = checks.verdict([cost(1.04), cost(1.06, network="vgg3")])
    assert not good and "vgg3" in sentence and "lenet" not in sentence and "+5.0%" in sentence
    assert not checks.verdict([cost(float("nan"))])[0]
    assert not checks.verdict([cost(1.0, free=False)])[0]
    assert "+4.0%" in checks.line(cost(1.04))


@pytest.mark.skipif(not cnncore.has_openmp(), reason="built without OpenMP: every team has one member")
def test_a_variant_is_built_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("Cython", reason="building the core needs Cython")
    core = str(Path(cnncore.__file__).resolve().parents[1])  # the core that these tests use is the fixed side
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [core, os.environ.get("PYTHONPATH")])))
    monkeypatch.setattr(checks, "ROUND_SECONDS", 0.0)
    checks.build_unordered(tmp_path)
    found = checks.measure(NETWORKS["lenet"], tmp_path, rounds=1, threads=2)
    assert found.free and found.network == "lenet" and found.ratio.median > 0


def test_a_failed_build_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "setup.py").write_text("raise SystemExit('no compiler')")
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    with pytest.raises(UserError, match="no compiler"):
        checks.build_unordered(tmp_path / "out")
    (tmp_path / "setup.py").unlink()
    with pytest.raises(UserError, match="checkout"):
        checks.build_unordered(tmp_path / "out")
