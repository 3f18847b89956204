"""Losses for classes that are rare, targets that are off, and teachers: focal, Dice, Huber, distillation.

NumPy computes them (see NumPyLoss), in float64, which on outputs as large as maps takes longer than the core would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arguments import assign, number
from engine.errors import UserError
from engine.layers import Layer, Shape, Softmax
from engine.losses.base import LABELS, TARGETS
from engine.losses.custom import NumPyLoss, Scores, StoppedError
from engine.losses.pixels import LabelMaps, checked_ignore_index

Floats = NDArray[np.float64]


def _log_softmax(scores: Scores) -> Floats:
    """Logarithms of the probabilities, over axis 1."""
    shifted = scores - scores.max(axis=1, keepdims=True).astype(np.float64)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _one_hot(labels: NDArray[Any], counts: NDArray[np.bool_], classes: int) -> NDArray[np.bool_]:
    """(n, classes, ...) of labels (n, ...); no class where a label does not count. StoppedError for a bad one."""
    if (((labels < 0) | (labels >= classes)) & counts).any():
        raise StoppedError("CNN_LABEL_OUT_OF_RANGE")
    numbers = np.arange(classes).reshape(1, -1, *[1] * (labels.ndim - 1))
    return np.asarray((np.expand_dims(labels, 1) == numbers) & np.expand_dims(counts, 1))


def _over_pixels(maps: NDArray[Any]) -> Floats:
    return np.asarray(maps.sum(axis=(2, 3), keepdims=True, dtype=np.float64))


def _back_through_softmax(probabilities: Floats, by_probabilities: Floats) -> Floats:
    along = (probabilities * by_probabilities).sum(axis=1, keepdims=True)
    return np.asarray(probabilities * (by_probabilities - along))


@dataclass(frozen=True)
class Focal(LabelMaps, NumPyLoss):
    """Cross-entropy that leaves what is easy to itself: -(1 - p)^gamma log p, for the probability p of the label (Lin
    et al. 2017, equation 4), from logits by a softmax; gamma = 0 is the cross-entropy.

    Outputs are (classes,) with labels (n,), or maps (classes, H, W) with maps of labels (n, H, W); the loss is the mean
    over the samples, or over the pixels that count, and 0 where none does. Computed by NumPy.

    gamma          focus, at least 0
    ignore_index   as in PixelCrossEntropy
    """

    gamma: float = 2.0
    ignore_index: int | None = None

    absorbs: ClassVar[type[Layer] | None] = Softmax
    ops: ClassVar[dict[str, str]] = {LABELS: "copy_channels"}

    def __post_init__(self) -> None:
        assign(self, gamma=number("Focal", "gamma", self.gamma, 0.0, math.inf))
        assign(self, ignore_index=checked_ignore_index("Focal", self.ignore_index))

    def check_output(self, shape: Shape) -> None:
        if len(shape) not in (1, 3) or shape[0] < 2:
            raise UserError(
                f"Focal needs outputs of shape (classes,) or (classes, H, W), of two classes or more, but the network "
                f"gives {shape}"
            )

    def compute(self, scores: Scores, targets: NDArray[Any]) -> tuple[Any, Any]:
        counts = self.counts(targets)
        hot = _one_hot(targets, counts, scores.shape[1])
        logs = _log_softmax(scores)
        probabilities = np.exp(logs)
        log = np.where(hot, logs, 0.0).sum(axis=1, keepdims=True)  # 0 where nothing counts
        others = np.where(hot, 0.0, probabilities).sum(axis=1, keepdims=True)  # 1 - p, without its cancellation
        count = max(int(np.count_nonzero(counts)), 1)
        focus = others**self.gamma
        # By log p: -(1 - p)^gamma + gamma p (1 - p)^(gamma - 1) log p, which goes to 0 with 1 - p where gamma > 0.
        slope = np.divide(focus, others, out=np.zeros_like(focus), where=others > 0)
        slope = self.gamma * np.exp(log) * slope * log - focus
        slope *= np.expand_dims(counts, 1)
        return -(focus * log).sum() / count, slope * (hot - probabilities) / count


@dataclass(frozen=True)
class Dice(LabelMaps, NumPyLoss):
    """1 minus the soft Dice coefficient (Milletari et al. 2016, section 3), for maps (classes, H, W) and maps of labels
    (n, H, W): of each sample and class (2 sum(p g) + smooth) / (sum(p^2) + sum(g^2) + smooth), over the pixels that
    count, p by a softmax and g 1 at the label's class; then the mean over the classes and the samples.

    A class that a sample does not have gives smooth / (sum(p^2) + smooth), which is 1 where it is not predicted either.
    Computed by NumPy.

    smooth         the term that keeps classes without pixels from 0 / 0, above 0
    ignore_index   as in PixelCrossEntropy
    """

    smooth: float = 1.0
    ignore_index: int | None = None

    absorbs: ClassVar[type[Layer] | None] = Softmax
    ops: ClassVar[dict[str, str]] = {LABELS: "copy_channels"}

    def __post_init__(self) -> None:
        assign(self, smooth=number("Dice", "smooth", self.smooth, 0.0, math.inf, above=True))
        assign(self, ignore_index=checked_ignore_index("Dice", self.ignore_index))

    def check_output(self, shape: Shape) -> None:
        if len(shape) != 3 or shape[0] < 2:
            raise UserError(
                f"Dice needs outputs of shape (classes, H, W), of two classes or more, but the network gives {shape}"
            )

    def weight(self, targets: NDArray[Any]) -> float:
        return len(targets)

    def compute(self, scores: Scores, targets: NDArray[Any]) -> tuple[Any, Any]:
        counts = self.counts(targets)
        truth = _one_hot(targets, counts, scores.shape[1])
        probabilities = np.exp(_log_softmax(scores))
        counted = probabilities * np.expand_dims(counts, 1)
        top = 2 * _over_pixels(counted * truth) + self.smooth
        bottom = _over_pixels(counted**2) + _over_pixels(truth) + self.smooth
        by_probabilities = -2 * (truth / bottom - counted * top / bottom**2) / top.size
        return 1 - (top / bottom).mean(), _back_through_softmax(probabilities, by_probabilities)


@dataclass(frozen=True)
class Huber(NumPyLoss):
    """Mean over batch and elements of d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), for the difference d of
    output and target (Huber 1964); with delta = 1 also called smooth L1 (Girshick 2015). Targets are float32 in the
    shape of the outputs. Computed by NumPy.

    delta   where the square ends, above 0
    """

    delta: float = 1.0

    ops: ClassVar[dict[str, str]] = {TARGETS: "copy_channels"}
    of_classes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        assign(self, delta=number("Huber", "delta", self.delta, 0.0, math.inf, above=True))

    def compute(self, scores: Scores, targets: NDArray[Any]) -> tuple[Any, Any]:
        difference = scores.astype(np.float64) - targets
        inner = np.clip(difference, -self.delta, self.delta)
        # delta (|d| - delta / 2) is inner (d - inner / 2), and so is d^2 / 2 where inner is d.
        return (inner * (difference - inner / 2)).mean(), inner / difference.size


@dataclass(frozen=True)
class Distillation(NumPyLoss):
    """T^2 times the Kullback-Leibler divergence of the network's probabilities from a teacher's, both by a softmax of
    scores / T (Hinton et al. 2015, section 2), mean over the batch: the cross-entropy with soft targets less their own
    entropy, so that it is 0 where both agree; the gradient is the same. T^2 keeps its size as T changes.

    Targets are the teacher's scores (logits), float32 (n, classes). With `label_weight` w above 0 the loss is
    (1 - w) times this plus w times the cross-entropy with the labels, which are then a last column of the targets:
    np.column_stack((scores, labels)). Computed by NumPy.

    temperature    T, above 0
    label_weight   w, 0 to 1
    """

    temperature: float = 4.0
    label_weight: float = 0.0

    absorbs: ClassVar[type[Layer] | None] = Softmax
    ops: ClassVar[dict[str, str]] = {TARGETS: "copy_channels"}

    def __post_init__(self) -> None:
        assign(self, temperature=number("Distillation", "temperature", self.temperature, 0.0, math.inf, above=True))
        assign(self, label_weight=number("Distillation", "label_weight", self.label_weight, 0.0, 1.0))

    def check_output(self, shape: Shape) -> None:
        if len(shape) != 1 or shape[0] < 2:
            raise UserError(
                f"Distillation needs outputs of shape (classes,), of two classes or more, but the network gives {shape}"
            )

    def target_shape(self, kind: str, shape: Shape) -> Shape | None:
        return (shape[0] + (self.label_weight > 0),)

    def wrong_target(self, targets: NDArray[Any], shape: Shape) -> tuple[int, str] | None:
        if not self.label_weight:
            return None
        labels = targets[:, -1]
        bad = np.flatnonzero((labels < 0) | (labels >= shape[0]) | (labels != np.floor(labels)))
        if not len(bad):
            return None
        return int(bad[0]), f"has label {labels[bad[0]]:g} in its last column, but labels run from 0 to {shape[0] - 1}"

    def compute(self, scores: Scores, targets: NDArray[Any]) -> tuple[Any, Any]:
        samples, classes = scores.shape
        temperature, share = self.temperature, 1 - self.label_weight
        own = _log_softmax(scores / temperature)
        teacher = _log_softmax(targets[:, :classes].astype(np.float64) / temperature)
        soft = np.exp(teacher)
        value = share * temperature**2 * (soft * (teacher - own)).sum() / samples
        gradient = share * temperature * (np.exp(own) - soft) / samples
        if self.label_weight:
            logs = _log_softmax(scores)
            labels = targets[:, -1].astype(np.int64)
            hot = _one_hot(labels, np.ones(labels.shape, bool), classes)
            value -= self.label_weight * logs[hot].sum() / samples
            gradient += self.label_weight * (np.exp(logs) - hot) / samples
        return value, gradient
