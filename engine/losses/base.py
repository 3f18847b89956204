"""What a loss is to the planner: which op computes it, from what, and which last layer it takes over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from engine.layers import Layer, Shape
from engine.program.shapes import elements

ROUNDING = 1e-5  # by which targets that were mixed in float32 may leave their range
LABELS, TARGETS = "labels", "targets"  # int64 (n, ...) or float32 (n, ...): also the names of the ops' operands


@dataclass(frozen=True)
class Loss:
    """Base of the losses; each is the mean over the batch.

    `absorbs` is the layer that the loss includes: a network that ends in it is trained on its input (the logits).
    `of_classes`: softmax makes probabilities of classes of the outputs of a network that it trained.
    `ops` maps the kind of target to the op that computes the loss and its gradient; `stored`: from maps as they lie in
    memory (H, W, C), not in the public order.
    """

    absorbs: ClassVar[type[Layer] | None] = None
    ops: ClassVar[dict[str, str]] = {}
    source: ClassVar[str] = "logits"
    stored: ClassVar[bool] = False
    of_classes: ClassVar[bool] = True

    def check_output(self, shape: Shape) -> None:
        """UserError where outputs of this shape cannot be trained with this loss."""

    def target_shape(self, kind: str, shape: Shape) -> Shape | None:
        """Per-sample shape of the targets for outputs of this shape; None: any."""
        return () if kind == LABELS else shape

    def target_range(self, shape: Shape) -> tuple[float, float]:
        """The least and the largest number that float targets may hold, for outputs of this shape."""
        return -math.inf, math.inf

    def wrong_target(self, targets: NDArray[Any], shape: Shape) -> tuple[int, str] | None:
        """Number of the first sample whose float targets are none, and what is wrong with them, beyond their range."""
        return None

    def geometry(self, shape: Shape) -> dict[str, float | int]:
        """The fields of the op's geometry."""
        return {"classes": elements(shape), "label_smoothing": getattr(self, "label_smoothing", 0.0)}

    def weight(self, targets: NDArray[Any]) -> float:
        """How much the loss of a batch with these targets counts in the mean over several."""
        return len(targets)
