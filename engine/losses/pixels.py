"""Cross-entropy of every pixel: for networks that give a class to each place of a map (semantic segmentation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.arguments import assign, integer, number
from engine.errors import UserError
from engine.layers import Layer, Shape, Softmax
from engine.losses.base import LABELS, Loss
from engine.program.shapes import spatial

NONE_IGNORED = int(cnncore.GEOMETRY_LIMITS["pixel_loss"]["ignored"][0])  # in the place of a label


def checked_ignore_index(owner: str, value: Any) -> int | None:
    """A label that does not count, or None; UserError for what is no whole number."""
    if value is None:
        return None
    most = int(cnncore.GEOMETRY_LIMITS["pixel_loss"]["ignored"][1])
    return integer(owner, "ignore_index", value, NONE_IGNORED + 1, most)


@dataclass(frozen=True)
class LabelMaps(Loss):
    """Base of the losses whose targets can be maps of labels (n, H, W), of which one may not count: their field
    `ignore_index`."""

    @property
    def ignored(self) -> int | None:
        """The label that does not count."""
        return getattr(self, "ignore_index", None)

    def target_shape(self, kind: str, shape: Shape) -> Shape | None:
        return shape[1:]

    def counts(self, targets: NDArray[Any]) -> NDArray[np.bool_]:
        """Which pixels count."""
        return np.ones(targets.shape, bool) if self.ignored is None else targets != self.ignored

    def bad(self, targets: NDArray[Any], classes: int) -> NDArray[np.bool_]:
        """Which pixels have a label that is no class, though it counts."""
        return ((targets < 0) | (targets >= classes)) & self.counts(targets)

    def weight(self, targets: NDArray[Any]) -> float:
        """The pixels that count."""
        return int(np.count_nonzero(self.counts(targets)))


@dataclass(frozen=True)
class PixelCrossEntropy(LabelMaps):
    """Softmax and negative log-likelihood at every pixel, from logits (n, classes, H, W), by log-sum-exp.

    Targets are maps of labels (n, H, W), whole numbers. The loss is the mean over the pixels of the batch that count
    (PyTorch's form), and 0 where none does; where `accumulate` divides a step into passes, each is the mean over its
    own pixels, and weighs as its samples do.

    ignore_index     the label of pixels that do not count, such as 255 (None: all count); they have no gradient
    label_smoothing  as in CrossEntropy
    """

    ignore_index: int | None = None
    label_smoothing: float = 0.0

    absorbs: ClassVar[type[Layer] | None] = Softmax
    ops: ClassVar[dict[str, str]] = {LABELS: "pixel_cross_entropy"}
    stored: ClassVar[bool] = True

    def __post_init__(self) -> None:
        assign(self, ignore_index=checked_ignore_index("PixelCrossEntropy", self.ignore_index))
        smoothing = number("PixelCrossEntropy", "label_smoothing", self.label_smoothing, 0.0, 1.0, below=True)
        assign(self, label_smoothing=smoothing)

    def check_output(self, shape: Shape) -> None:
        if len(shape) != 3 or shape[0] < 2:
            raise UserError(
                f"PixelCrossEntropy needs outputs of shape (classes, H, W), of two classes or more, but the network "
                f"gives {shape}"
            )

    def geometry(self, shape: Shape) -> dict[str, float | int]:
        ignored = NONE_IGNORED if self.ignore_index is None else self.ignore_index
        sizes = {"rows": spatial(shape), "classes": shape[0]}
        return {**sizes, "ignored": ignored, "label_smoothing": self.label_smoothing}
