"""What a plan is for."""

from __future__ import annotations

from dataclasses import dataclass

from engine.losses import LABELS, Loss
from engine.optim import Optimizer
from engine.program.code import Algorithm

INFERENCE, EVALUATION, GRADIENTS, TRAINING = "inference", "evaluation", "gradients", "training"


@dataclass(frozen=True)
class Request:
    """What a plan is for. `batch` is the largest batch; `targets` the kind of target, "labels" or "targets".

    Modes: "inference" (input → output), "evaluation" (with the loss), "gradients" (forward in training mode, loss,
    backward), "training" (and the update). `max_norm` clips the gradient's Euclidean norm. `algorithm` of the
    convolutions: "auto", "direct", or one by layer and pass (see engine.plan.algorithms.choose). In training, `frozen`
    names the layers that stay as they are, and `rates` has factors on the learning rate by key of a parameter. `fused`
    lets one op do the work of several layers; without it every layer has ops of its own.
    """

    mode: str
    batch: int
    loss: Loss | None = None
    targets: str = LABELS
    optimizer: Optimizer | None = None
    max_norm: float | None = None
    algorithm: Algorithm = "auto"
    frozen: tuple[str, ...] = ()
    rates: tuple[tuple[str, float], ...] = ()
    fused: bool = True

    @property
    def trains(self) -> bool:
        return self.mode in (GRADIENTS, TRAINING)
