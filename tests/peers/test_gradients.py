"""Some random whole networks beside PyTorch in float64; `python -m experiments.checks.gradients` runs 600."""

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

from experiments.checks.gradients.comparison import compare, passed, report
from experiments.measuring.random_networks import EVERY_ACTIVATION, EVERY_LAYER

NETWORKS = 25


@pytest.mark.parametrize("first", [0, EVERY_ACTIVATION, EVERY_LAYER])
def test_gradients_of_random_networks(first: int) -> None:
    comparisons = [compare(number) for number in range(first, first + NETWORKS)]
    assert all(map(passed, comparisons)), report(comparisons, 0.0)
