"""Losses that NumPy computes, between the forward and the backward half of a step; among them those of a user."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.arguments import is_real, truth
from engine.errors import UserError, shown
from engine.layers import Shape
from engine.losses.base import LABELS, TARGETS, Loss

Scores = NDArray[np.floating[Any]]
Function = Callable[[Any, Any], tuple[Any, Any]]

STEP = 1e-3  # of the central differences, relative to each score
TOLERANCE = 1e-2  # of the differences, relative: kinks lie in a few scores
FLOAT32_STEP = 2.0**-22  # a value that is computed in float32 is off by so much of itself
DIRECTIONS = 2  # of each kind


class StoppedError(Exception):
    """A number that stops a step, found outside of the core; `status` is the core's name for it, `what` where it is."""

    def __init__(self, status: str, what: str = "loss"):
        self.status = status
        self.what = what
        super().__init__(status)


@dataclass(frozen=True)
class NumPyLoss(Loss):
    """Base of the losses that NumPy computes. The program ends its forward half with a copy of the scores, Python gives
    the loss and its gradient by them, and the program goes on backward from that gradient."""

    ops: ClassVar[dict[str, str]] = {LABELS: "copy_channels", TARGETS: "copy_channels"}

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self).__name__

    def compute(self, scores: Scores, targets: NDArray[Any]) -> tuple[Any, Any]:
        """The loss of scores (n, ...) and its gradient by them."""
        raise NotImplementedError

    def check_gradient(self, scores: NDArray[np.float32], targets: NDArray[Any]) -> None:
        """UserError where the gradient is not that of the value; the engine's own losses have tests instead."""

    def measure(self, scores: NDArray[np.float32], targets: NDArray[Any]) -> tuple[float, NDArray[np.float32]]:
        """The loss and its gradient, float32 in the shape of the scores.

        UserError for what is neither; StoppedError where scores, loss or gradient are not finite.
        """
        if targets.dtype.kind == "f" and not np.isfinite(targets).all():
            raise StoppedError("CNN_NONFINITE_INPUT")
        if not np.isfinite(scores).all():
            raise StoppedError("CNN_NONFINITE_LOSS")
        value, gradient = self.pair(self.compute(scores, targets), scores.shape)
        with np.errstate(over="ignore"):
            rounded = np.ascontiguousarray(gradient, np.float32)
        if not math.isfinite(value):
            raise StoppedError("CNN_NONFINITE_LOSS")
        if not np.isfinite(rounded).all():
            raise StoppedError("CNN_NONFINITE_LOSS", f"gradient of {self.name} by the scores")
        return value, rounded

    def pair(self, result: Any, shape: Shape) -> tuple[float, NDArray[Any]]:
        """What `compute` gave, as a number and an array of this shape; UserError for anything else."""
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise UserError(f"{self.name}: must give (value, gradient by the scores), not {shown(result)}")
        value, gradient = result
        number = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
        if not is_real(number):
            raise UserError(f"{self.name}: the value must be a real number, not {shown(value)}")
        if not isinstance(gradient, np.ndarray) or gradient.dtype.kind not in "iuf" or gradient.shape != shape:
            got = f"{gradient.dtype} {gradient.shape}" if isinstance(gradient, np.ndarray) else shown(gradient)
            raise UserError(f"{self.name}: the gradient must be numbers of the scores' shape {shape}, got {got}")
        return float(number), gradient


def _title(function: Any) -> str:
    """The name of a function, as a run's record has it."""
    return str(getattr(function, "__qualname__", type(function).__name__))


@dataclass(frozen=True, eq=False, repr=False)
class CustomLoss(NumPyLoss):
    """A loss of your own: `function(scores, targets)` gives its value and its gradient by the scores.

    scores are what the network's last layer gives, float32 (n, ...), a copy; targets are what the data hold for these
    samples: int64, or float32 that is finite. The value is to be a mean over the samples, the gradient an array in the
    shape of the scores. With `accumulate` the function is called once for each pass, and an evaluation calls it for
    some samples at a time: both weight its values by the samples, so that a value that is no mean over them depends on
    how they are divided. The same numbers must give the same result: a resumed run repeats the bits of an undisturbed
    one as far as the function does. A configuration cannot hold it, and a checkpoint has the function's name only.

    check    hold the gradient against central differences, in float64, on the first batch: a few directions, and a
             UserError that has both numbers where they differ by more than 1 %. Leave it out for a function whose
             gradient is meant to be another one
    """

    function: Function = field(metadata={"told": _title})
    check: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise UserError(f"CustomLoss: function must be a function of scores and targets, not {self.function!r}")
        truth("CustomLoss", "check", self.check)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomLoss) and other.function is self.function

    def __hash__(self) -> int:
        return id(self.function)

    def __repr__(self) -> str:
        return f"CustomLoss({_title(self.function)})"

    @property
    def name(self) -> str:
        return repr(self)

    def target_shape(self, kind: str, shape: Shape) -> Shape | None:
        return None

    def compute(self, scores: Scores, targets: NDArray[Any]) -> tuple[Any, Any]:
        return self.function(scores, targets)

    def check_gradient(self, scores: NDArray[np.float32], targets: NDArray[Any]) -> None:
        """UserError where the gradient is not that of the value, by central differences in float64.

        Every score moves by a share of its own size, so that probabilities stay above 0; those that are 0 stay (a
        network of zeros moves all). Half of the directions go up the gradient, where no terms cancel; the others have
        random signs.
        """
        if not self.check:
            return
        at = scores.astype(np.float64)
        value, gradient = self.pair(self.function(at.copy(), targets), at.shape)
        size = np.abs(at) if at.any() else np.ones_like(at)
        rng = np.random.default_rng(0)
        for number in range(2 * DIRECTIONS):
            signs = np.sign(gradient) if number < DIRECTIONS else rng.choice([-1.0, 1.0], at.shape)
            direction = signs * rng.uniform(0.5, 1.0, at.shape) * size
            ends = []
            for step in (STEP, -STEP):
                end, _ = self.pair(self.function(at + step * direction, targets), at.shape)
                ends.append(end)
            found = (ends[0] - ends[1]) / (2 * STEP)
            terms = gradient * direction
            told = float(terms.sum())
            scale = np.abs(terms).sum() if number < DIRECTIONS else math.sqrt(np.square(terms).sum())
            if not abs(found - told) <= TOLERANCE * scale + FLOAT32_STEP * abs(value) / STEP:
                raise UserError(
                    f"{self.name}: the gradient is not that of the value {value:g}: along a direction the gradient "
                    f"says {told:.6g}, but the difference of values is {found:.6g} (check=False leaves this out)"
                )
