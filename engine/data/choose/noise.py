"""Labels made wrong on purpose, for experiments with noisy labels. Training labels only: validation and test stay true.

uniform        a wrong label is drawn evenly from all other classes ("symmetric" noise, the true class excluded)
pair           it is the next class, the last one's the first (Han et al. 2018, Co-teaching, "pair flipping"); or what
               `pairs` maps the class to, and then only samples of classes that it names change
anything_but   every label is wrong, drawn evenly from all other classes: the MIDAS report's set whose folder "k" holds
               every digit but k. Each image stands there once, as in the report's 600 steps of 100
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.arguments import checked_seed
from engine.data.dataset import Dataset
from engine.draws import NOISE, NOISE_TO, NOISE_WHICH, random_words
from engine.errors import UserError, unknown
from engine.reading.schema import ClassName


@dataclass(frozen=True)
class LabelNoise:
    """The section `label_noise` of a configuration.

    kind   uniform: a wrong label is any other; pair: it is the next class; anything_but: every label is wrong
    rate   the share of the (touchable) training labels that changes, rounded to whole samples
    pairs  class name: class name, for kind pair; only samples of these classes change then
    seed   of the draws
    """

    kind: Literal["uniform", "pair", "anything_but"] = "uniform"
    rate: float | None = None
    pairs: dict[ClassName, ClassName] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        checked_seed("label_noise", self.seed)
        if self.kind == "anything_but":
            if self.rate not in (None, 1.0):
                raise UserError(f"kind anything_but changes every label: rate must be 1 or left out, got {self.rate}")
        elif self.rate is None or not 0 <= self.rate <= 1:
            given = "none" if self.rate is None else self.rate
            raise UserError(f"kind {self.kind} needs a rate from 0 to 1, got {given}")
        if self.pairs and self.kind != "pair":
            raise UserError(f"pairs belong to kind pair, not to {self.kind}")


def with_label_noise(train: Dataset, noise: LabelNoise | None) -> Dataset:
    """The training samples with the noise in their labels and in their record; as they are without noise."""
    if noise is None:
        return train
    labels, record = noisy_labels(train.labels, train.class_names, noise)
    return replace(train, labels=labels, record={**train.record, "label_noise": record})


def noisy_labels(
    labels: NDArray[Any], class_names: Sequence[str], noise: LabelNoise
) -> tuple[NDArray[np.int64], Mapping[str, Any]]:
    """The labels (N,) with the noise in them, and what was done, for the run's record.

    Exactly round(rate * N) labels change, N being the samples of the classes that can; at a higher rate of the same
    seed those of the lower one change too, and to the same. UserError for fewer than two classes or unknown pairs.
    """
    classes = len(class_names)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"label_noise needs class labels (N,), got {labels.dtype} {labels.shape}")
    if classes < 2:
        raise UserError(f"label_noise needs two classes or more, got {classes}")
    if noise.kind == "pair":
        target = _pair_targets(class_names, noise.pairs)
        wrong = target[labels]
    else:
        words = random_words(len(labels), noise.seed, NOISE, NOISE_TO)
        wrong = (labels + 1 + (words % np.uint64(classes - 1)).astype(np.int64)) % classes
    touchable = np.flatnonzero(wrong != labels)
    rate = 1.0 if noise.rate is None else noise.rate
    count = int(np.floor(rate * len(touchable) + 0.5))
    order = np.argsort(random_words(len(labels), noise.seed, NOISE, NOISE_WHICH)[touchable], kind="stable")
    changed = touchable[order[:count]]
    noisy = labels.copy()
    noisy[changed] = wrong[changed]
    return noisy, {"kind": noise.kind, "changed": count, "of": len(labels), "seed": noise.seed}


def _pair_targets(class_names: Sequence[str], pairs: Mapping[str, str]) -> NDArray[np.int64]:
    """The wrong label of each class; its own where no pair names it."""
    labels = np.arange(len(class_names))
    if not pairs:
        return np.roll(labels, -1)
    for name in (*pairs, *pairs.values()):
        if name not in class_names:
            raise unknown("class in label_noise.pairs:", name, class_names)
    for source, wrong in pairs.items():
        if source == wrong:
            raise UserError(f"label_noise.pairs maps the class {source!r} to itself")
        labels[class_names.index(source)] = class_names.index(wrong)
    return labels
