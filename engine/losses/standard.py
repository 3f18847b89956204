"""The losses that the core computes: cross-entropy, mean squared error, binary cross-entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from engine.arguments import assign, number
from engine.errors import UserError
from engine.layers import Layer, Shape, Sigmoid, Softmax
from engine.losses.base import LABELS, ROUNDING, TARGETS, Loss
from engine.program.shapes import elements


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax and negative log-likelihood, from logits (n, classes), by log-sum-exp.

    Targets are int labels (n,) or float probabilities (n, classes), at least 0; rows of a data set sum to 1. It needs
    two outputs or more: the probability of one is always 1.

    label_smoothing  moves that share of every label evenly to all classes (Szegedy et al. 2016, equation 12)
    """

    label_smoothing: float = 0.0

    absorbs: ClassVar[type[Layer] | None] = Softmax
    ops: ClassVar[dict[str, str]] = {LABELS: "cross_entropy", TARGETS: "cross_entropy_soft"}

    def __post_init__(self) -> None:
        smoothing = number("CrossEntropy", "label_smoothing", self.label_smoothing, 0.0, 1.0, below=True)
        assign(self, label_smoothing=smoothing)

    def check_output(self, shape: Shape) -> None:
        if len(shape) != 1:
            raise UserError(f"CrossEntropy needs outputs of shape (classes,), but the network gives {shape}")

    def target_range(self, shape: Shape) -> tuple[float, float]:
        # Weighted targets may be below 0 by what the smoothing raises them again (engine.data.choose.weights).
        smoothing = self.label_smoothing
        return -smoothing / ((1.0 - smoothing) * elements(shape)) - ROUNDING, math.inf


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """Mean of (output - target)^2 over batch and elements; targets are float32 in the shape of the outputs."""

    ops: ClassVar[dict[str, str]] = {TARGETS: "mean_squared_error"}
    source: ClassVar[str] = "src"
    of_classes: ClassVar[bool] = False


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Sigmoid and binary cross-entropy, from logits; mean over batch and elements; float32 targets in 0 ... 1."""

    absorbs: ClassVar[type[Layer] | None] = Sigmoid
    of_classes: ClassVar[bool] = False
    ops: ClassVar[dict[str, str]] = {TARGETS: "binary_cross_entropy"}

    def target_range(self, shape: Shape) -> tuple[float, float]:
        return -ROUNDING, 1.0 + ROUNDING
