"""Some random whole networks beside PyTorch in float64; `python -m experiments.checks.gradients` runs 200."""

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

from experiments.checks.gradients.comparison import compare, passed, report

NETWORKS = 25


def test_gradients_of_random_networks() -> None:
    comparisons = [compare(number) for number in range(NETWORKS)]
    assert all(map(passed, comparisons)), report(comparisons, 0.0)
