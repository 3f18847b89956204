"""Networks on real sets, and the sides that train them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.errors import unknown

SIDES = ("ours", "torch", "torch channels_last")


@dataclass(frozen=True)
class Case:
    """A network on a real set: where its samples come from, and how it is trained."""

    name: str
    config: str  # of experiments/configs
    overrides: tuple[str, ...]
    rounds: int


CASES: Mapping[str, Case] = {
    each.name: each
    for each in (
        Case("mnist_cnn", "mnist", (), 3),
        Case("vgg3", "cifar10", (), 2),
        # 35,000 of the 44,359 images of the parts a, b and c; the others are the test set
        Case("model3", "numtadb", ("model.name=model3", "preprocess.size=[48, 48]", "preprocess.steps=[]"), 3),
    )
}
TRAINING_IMAGES = {"model3": 35_000}


def chosen(wanted: Sequence[str]) -> list[Case]:
    """The cases with these names, all for none; UserError for a name that does not exist."""
    for name in wanted:
        if name not in CASES:
            raise unknown("network", name, CASES)
    return [each for each in CASES.values() if not wanted or each.name in wanted]
