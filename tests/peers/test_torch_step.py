"""The comparison of speed compares the same thing: equal losses over some steps. Nothing is timed here."""

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[peers]'")

from engine.errors import UserError  # noqa: E402
from experiments.checks.torch_step import MODELS, compare_losses, our_step, torch_step  # noqa: E402

STEPS = 3


@pytest.mark.parametrize("model", MODELS)
def test_both_sides_take_the_same_steps(model: str) -> None:
    steps = {
        "ours": our_step(model, threads=1),
        "torch": torch_step(model, threads=1, channels_last=False),
        "torch channels_last": torch_step(model, threads=1, channels_last=True),
    }
    compare_losses({side: [step() for _ in range(STEPS)] for side, step in steps.items()})


def test_losses_that_differ_are_refused() -> None:
    for other in (1.01, float("nan")):
        with pytest.raises(UserError, match="losses differ"):
            compare_losses({"ours": [1.0], "torch": [other]})
