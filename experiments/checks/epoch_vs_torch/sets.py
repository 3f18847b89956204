"""The samples of a case, kept as bytes in files that every side reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset, prepare
from engine.data.location import data_root
from engine.data.readers import read_dataset
from engine.recipe.config import load_config
from experiments.checks.epoch_vs_torch.cases import TRAINING_IMAGES, Case

SEED = 0


@dataclass(frozen=True)
class Sets:
    """Training and test samples as bytes: images (N, C, H, W) uint8, labels int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]

    def save(self, folder: Path) -> None:
        for name, array in vars(self).items():
            np.save(folder / f"{name}.npy", array)

    @staticmethod
    def load(folder: Path) -> Sets:
        return Sets(*(np.load(folder / f"{name}.npy") for name in Sets.__dataclass_fields__))


def read_case(case: Case) -> Any:
    return load_config(Path(__file__).resolve().parents[2] / "configs" / f"{case.config}.yaml", case.overrides)


def load_sets(case: Case, root: Path | None) -> Sets:
    """The case's real samples; where the case says how many train, they are drawn and the others are the test set."""
    config = read_case(case)
    root = data_root(root, config.data_root)

    def part(options: Mapping[str, Any]) -> Dataset:
        return prepare(read_dataset(config.dataset.name, root, options), config.preprocess)

    whole = part(config.dataset.train)
    if case.name in TRAINING_IMAGES:
        order = np.random.default_rng(SEED).permutation(len(whole))
        count = TRAINING_IMAGES[case.name]
        train, test = whole.subset(order[:count]), whole.subset(order[count:])
    else:
        train, test = whole, part(config.dataset.test)
    images, test_images = (np.ascontiguousarray(each.images, np.uint8) for each in (train, test))
    labels, test_labels = (np.ascontiguousarray(each.labels, np.int64) for each in (train, test))
    return Sets(images, labels, test_images, test_labels)
