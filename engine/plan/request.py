"""What a plan is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.losses import LABELS, Loss
from engine.optim import Optimizer
from engine.program.code import Algorithm

AVERAGES = {"ema": "average", "lookahead": "lookahead"}
"""Kind of average of the weights → the op that keeps it."""

USUAL, SMALL = MEMORY = ("usual", "small")
"""How much memory a step may take."""

INFERENCE, EVALUATION, GRADIENTS, TRAINING = "inference", "evaluation", "gradients", "training"


@dataclass(frozen=True)
class StateLayout:
    """Where everything lies that an update keeps beside the parameters, in floats from the start of the states.

    optimizer  name of each of the optimiser's arrays → its place; each is as long as the parameters
    average    place of the averaged parameters, or None; behind them lie the averaged running statistics
    sums       place of the gradients that are added up over the parts of a batch, or None
    total      floats of all
    """

    optimizer: Mapping[str, int]
    average: int | None
    sums: int | None
    total: int

    @classmethod
    def of(cls, names: Sequence[str], count: int, buffers: int, average: bool, sums: bool) -> StateLayout:
        """For these arrays of the optimiser, `count` floats of parameters and `buffers` of running statistics."""
        arrays = {name: position * count for position, name in enumerate(names)}
        end = len(arrays) * count
        averaged = end if average else None
        end += count + buffers if average else 0
        summed = end if sums else None
        return cls(arrays, averaged, summed, end + count if sums else end)


@dataclass(frozen=True)
class Request:
    """What a plan is for. `batch` is the largest batch; `targets` the kind of target, "labels" or "targets".

    Modes: "inference" (input → output), "evaluation" (with the loss), "gradients" (forward in training mode, loss,
    backward), "training" (and the update). `max_norm` clips the gradient's Euclidean norm. `algorithm` of the
    convolutions: "auto", "direct", or one by layer and pass (see engine.plan.algorithms.choose). In training, `frozen`
    names the layers that stay as they are, and `rates` has factors on the learning rate by key of a parameter.
    `average` names the kind of averaged weights that the update keeps (AVERAGES), `parts` says how many passes a step
    is computed in; `batch` is that of a pass. `fused` lets one op do the work of several layers; without it every layer
    has ops of its own. `memory` "small": see engine.plan.memory.less.
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
    average: str | None = None
    parts: int = 1
    fused: bool = True
    memory: str = USUAL

    @property
    def trains(self) -> bool:
        return self.mode in (GRADIENTS, TRAINING)

    def states(self, count: int, buffers: int) -> StateLayout:
        """What the update keeps, for `count` floats of parameters and `buffers` of running statistics."""
        names = self.optimizer.states if self.optimizer else ()
        return StateLayout.of(names, count, buffers, self.average is not None, self.parts > 1)
