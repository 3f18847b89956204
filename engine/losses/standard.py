"""Losses: which op computes them, from what, and which last layer they take over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from engine.arguments import assign, instance, number
from engine.errors import UserError
from engine.layers import Layer, Shape, Sigmoid, Softmax
from engine.program.shapes import elements

ROUNDING = 1e-5  # by which targets that were mixed in float32 may leave their range
LABELS, TARGETS = "labels", "targets"  # int64 (n,) or float32 (n, ...): also the names of the ops' operands


@dataclass(frozen=True)
class Loss:
    """Base of the losses; each is the mean over the batch.

    `absorbs` is the layer that the loss includes: a network that ends in it is trained on its input (the logits).
    `ops` maps the kind of target to the op that computes the loss and its gradient.
    """

    absorbs: ClassVar[type[Layer] | None] = None
    ops: ClassVar[dict[str, str]] = {}
    source: ClassVar[str] = "logits"

    def check_output(self, shape: Shape) -> None:
        """UserError where outputs of this shape cannot be trained with this loss."""

    def target_shape(self, kind: str, shape: Shape) -> Shape:
        """Per-sample shape of the targets for outputs of this shape."""
        return () if kind == LABELS else shape

    def target_range(self, shape: Shape) -> tuple[float, float]:
        """The least and the largest number that float targets may hold, for outputs of this shape."""
        return -math.inf, math.inf

    def geometry(self, shape: Shape) -> dict[str, float | int]:
        """The fields of cnn_loss_geometry."""
        return {"classes": elements(shape), "label_smoothing": getattr(self, "label_smoothing", 0.0)}


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


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Sigmoid and binary cross-entropy, from logits; mean over batch and elements; float32 targets in 0 ... 1."""

    absorbs: ClassVar[type[Layer] | None] = Sigmoid
    ops: ClassVar[dict[str, str]] = {TARGETS: "binary_cross_entropy"}

    def target_range(self, shape: Shape) -> tuple[float, float]:
        return -ROUNDING, 1.0 + ROUNDING


def checked_loss(owner: str, value: Any) -> Loss:
    """`value`, if it is a loss; UserError for anything else."""
    return instance(owner, "loss", value, Loss, "a loss such as CrossEntropy()", good=bool(getattr(value, "ops", None)))


LOSSES: Mapping[str, type[Loss]] = {
    each.__name__: each for each in (CrossEntropy, MeanSquaredError, BinaryCrossEntropy)
}
"""By the name that a configuration uses."""
