"""Losses of classes and pixels, and the checks of what a run is given."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.ops import oracle
from tests.ops.families.base import Family, Function, OpCall, wide
from tests.ops.families.optimizers import optimizer_geometry
from tests.ops.oracle import Array


class OfScores(Family):
    """A loss of scores, the first that `draw` gives; `evaluate` gives the loss and its gradient by them."""

    def draw(self) -> tuple[NDArray, NDArray]:
        raise NotImplementedError

    def evaluate(self, logits: Array) -> tuple[float, Array]:
        raise NotImplementedError

    def function(self) -> Function:
        return Function(
            lambda logits: np.array(self.evaluate(logits)[0]),
            lambda diff, logits: (diff * self.evaluate(logits)[1],),
            tuple(wide(self.draw()[0])),
        )


@dataclass(frozen=True)
class Loss(OfScores):
    """kind: cross_entropy, cross_entropy_soft, mean_squared_error or binary_cross_entropy."""

    kind: str
    batch: int
    classes: int
    label_smoothing: float = 0.0
    spread: float = 3.0
    gradient: bool = True

    def draw(self) -> tuple[NDArray, NDArray, NDArray]:
        """logits, labels, targets"""
        rng = self.rng()
        logits = self.normal(rng, self.batch, self.classes) * np.float32(self.spread)
        labels = rng.integers(0, self.classes, self.batch)
        weights = rng.random((self.batch, self.classes))
        if self.kind == "cross_entropy_soft":
            weights /= weights.sum(axis=1, keepdims=True)
        return logits, labels, weights.astype(np.float32)

    def evaluate(self, logits: Array) -> tuple[float, Array]:
        _, labels, targets = self.draw()
        smoothing = float(np.float32(self.label_smoothing))
        if self.kind == "cross_entropy":
            return oracle.cross_entropy(logits, oracle.one_hot(labels, self.classes), smoothing)
        if self.kind == "cross_entropy_soft":
            return oracle.cross_entropy(logits, targets.astype(np.float64), smoothing)
        function = {
            "mean_squared_error": oracle.mean_squared_error, "binary_cross_entropy": oracle.binary_cross_entropy
        }[self.kind]  # fmt: skip
        return function(logits, targets.astype(np.float64))

    def calls(self) -> list[OpCall]:
        logits, labels, targets = self.draw()
        loss, gradient = self.evaluate(*wide(logits))
        source = "src" if self.kind == "mean_squared_error" else "logits"
        truth = {"labels": labels} if self.kind == "cross_entropy" else {"targets": targets}
        geometry = {"classes": self.classes, "label_smoothing": self.label_smoothing}
        return [
            OpCall(
                self.kind, geometry, self.batch, {source: logits, **truth},
                {f"diff_{source}": gradient} if self.gradient else {}, loss=loss,
            )
        ]  # fmt: skip


@dataclass(frozen=True)
class PixelLoss(OfScores):
    """pixel_cross_entropy; `share` of the pixels have the label `ignored`."""

    batch: int
    rows: int
    classes: int
    ignored: int = -1
    share: float = 0.0
    label_smoothing: float = 0.0
    spread: float = 3.0
    gradient: bool = True

    def draw(self) -> tuple[NDArray, NDArray]:
        """logits, labels"""
        rng = self.rng()
        logits = self.normal(rng, self.batch, self.rows, self.classes) * np.float32(self.spread)
        labels = rng.integers(0, self.classes, (self.batch, self.rows))
        return logits, np.where(rng.random(labels.shape) < self.share, self.ignored, labels)

    def evaluate(self, logits: Array) -> tuple[float, Array]:
        labels = self.draw()[1].reshape(-1)
        smoothing = float(np.float32(self.label_smoothing))
        loss, gradient = oracle.pixel_cross_entropy(logits.reshape(len(labels), -1), labels, self.ignored, smoothing)
        return loss, gradient.reshape(logits.shape)

    def calls(self) -> list[OpCall]:
        logits, labels = self.draw()
        loss, gradient = self.evaluate(*wide(logits))
        geometry = {
            "rows": self.rows, "classes": self.classes, "ignored": self.ignored, "label_smoothing": self.label_smoothing
        }  # fmt: skip
        outputs = {"diff_logits": gradient} if self.gradient else {}
        inputs = {"logits": logits, "labels": labels}
        return [OpCall("pixel_cross_entropy", geometry, self.batch, inputs, outputs, loss=loss)]


@dataclass(frozen=True)
class Checks(Family):
    """Sound values: the ops that could stop a program let it pass. What they stop is in `test_checks.py`."""

    batch: int
    count: int

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        labels = rng.integers(0, self.count, self.batch)
        return [
            OpCall(
                "check_finite", {"count": self.count, "slope": 0.0}, self.batch,
                {"src": self.normal(rng, self.batch, self.count)}, {},
            ),
            OpCall(
                "check_labels", {"classes": self.count, "label_smoothing": 0.0}, self.batch, {"labels": labels}, {}
            ),
            OpCall(
                "check_gradients", optimizer_geometry(self.count), self.batch,
                {"gradients": self.normal(rng, self.count)}, {},
            ),
        ]  # fmt: skip
