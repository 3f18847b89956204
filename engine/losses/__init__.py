"""Losses: those that the core computes, and those that NumPy does."""

from collections.abc import Mapping
from typing import Any

from engine.arguments import instance
from engine.losses.base import LABELS, ROUNDING, TARGETS, Loss
from engine.losses.custom import CustomLoss, NumPyLoss, StoppedError
from engine.losses.pixels import LabelMaps, PixelCrossEntropy
from engine.losses.soft import Dice, Distillation, Focal, Huber
from engine.losses.standard import BinaryCrossEntropy, CrossEntropy, MeanSquaredError

__all__ = [
    "LABELS",
    "LOSSES",
    "ROUNDING",
    "TARGETS",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "CustomLoss",
    "Dice",
    "Distillation",
    "Focal",
    "Huber",
    "LabelMaps",
    "Loss",
    "MeanSquaredError",
    "NumPyLoss",
    "PixelCrossEntropy",
    "StoppedError",
    "checked_loss",
]

LOSSES: Mapping[str, type[Loss]] = {
    each.__name__: each
    for each in (CrossEntropy, MeanSquaredError, BinaryCrossEntropy, Focal, Huber, PixelCrossEntropy, Dice)
}
"""By the name that a configuration uses: those whose targets its data sets have."""


def checked_loss(owner: str, value: Any) -> Loss:
    """`value`, if it is a loss; UserError for anything else."""
    return instance(owner, "loss", value, Loss, "a loss such as CrossEntropy()", good=bool(getattr(value, "ops", None)))
