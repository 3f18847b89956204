"""The check of the cost model: it times, fits and judges."""

import json
from pathlib import Path

import pytest

from experiments.checks import algorithms
from experiments.checks.algorithms import Case, Measured

RATES = {"direct.forward": (2.0,), "winograd4x3.forward": (1.0,), "winograd_filter4x3": (4.0,)}


def case(direct: float, winograd: float, made: float) -> Case:
    """Ten units of work each; seconds as given."""
    parts = {
        "direct": [Measured("", {}, "direct.forward", (10.0,), direct)],
        "winograd4": [
            Measured("", {}, "winograd_filter4x3", (1.0,), made),
            Measured("", {}, "winograd4x3.forward", (10.0,), winograd),
        ],
    }
    return Case("avx2", "net", "0", "forward", "1x2x3", 1, parts)


def test_the_loss_is_the_chosen_ones_time_over_the_fastests() -> None:
    # Estimates: direct 20 ns, winograd4 14 ns.
    lines, losses = algorithms.table([case(3e-8, 1e-8, 5e-9), case(1e-8, 1e-8, 5e-9)], RATES)
    assert losses == pytest.approx([1.0, 1.5])
    assert lines[1].split()[-3:] == ["winograd4", "winograd4", "1.00"]
    assert lines[2].split()[-3:] == ["winograd4", "direct", "1.50"]


def test_fitted_rates_explain_the_times() -> None:
    assert algorithms.fit([case(3e-8, 1e-8, 5e-9), case(3e-8, 1e-8, 5e-9)]) == {
        "direct.forward": (3.0,),
        "winograd4x3.forward": (1.0,),
        "winograd_filter4x3": (5.0,),
    }


def test_every_convolution_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    assert algorithms.main(["--networks", "lenet", "--batches", "1", "--save", str(path), "--fit"]) in (0, 1)
    cases = list(map(algorithms._read, json.loads(path.read_text())))
    convolutions = [each for each in cases if each.direction]
    # Two convolutions: forward and weight gradient of both, data gradient of one, and inference of both.
    assert len(convolutions) == 7
    for each in convolutions:
        assert set(each.algorithms) == {"direct", "winograd4"}
