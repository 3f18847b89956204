"""The regressor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from engine.errors import UserError
from engine.estimator.base import CNN
from engine.layers import Shape
from engine.losses import TARGETS, Loss, MeanSquaredError, NumPyLoss


@dataclass(frozen=True)
class WeightedSquaredError(NumPyLoss):
    """Mean over samples and outputs of weight * (output - target)^2; the last column of the targets has the weight."""

    ops = {TARGETS: NumPyLoss.ops[TARGETS]}

    def target_shape(self, kind: str, shape: Shape) -> Shape | None:
        return (shape[0] + 1,)

    def compute(self, scores: NDArray[Any], targets: NDArray[Any]) -> tuple[Any, Any]:
        apart = scores.astype(np.float64) - targets[:, :-1]
        weighted = targets[:, -1:] * apart
        return np.mean(weighted * apart), 2.0 * weighted / apart.size


class CNNRegressor(RegressorMixin, CNN):
    """A network that is trained with the mean squared error, as a regressor of scikit-learn.

    X is as CNNClassifier takes it, y (n,) or (n, outputs). Targets are taken as they are: where they are far from 0 and
    1, scikit-learn's TransformedTargetRegressor scales them.

    network        None for a small one by `filters` and `hidden`; a function of input shape (C, H, W), or (K, 1, 1) of
                   vectors, and number of outputs that gives a network; or a network, which is copied and trained
                   further. The names of engine.models end in Softmax
    filters        of the 3x3 convolutions of that small network, each with a pool behind it; vectors have none
    hidden         widths of its linear layers
    image_shape    (C, H, W) of rows
    epochs         how often every sample is seen
    batch_size     samples in a step
    learning_rate  of the optimiser, in place of the one that it has
    optimizer      such as engine.SGD(momentum=0.9); None: engine.Adam()
    schedule       of the learning rate, such as engine.Cosine(); None: constant
    random_state   of the first weights, the order of samples and dropout; the same number gives the same bits
    verbose        a line per epoch on standard error

    After `fit`: n_features_in_, feature_names_in_ where X has names, n_iter_ (epochs), history_ (the engine's record of
    each epoch), network_, image_shape_ (None for vectors).
    """

    _single: bool

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> CNNRegressor:
        """Train on samples X with numbers y, (n,) or (n, outputs). Weights act as in CNNClassifier.fit."""
        rows, targets = self._fitting_data(X, y, multi_output=True, y_numeric=True)
        weights = self._weights(rows, sample_weight)
        self._single = targets.ndim == 1
        with np.errstate(over="ignore"):
            labels = targets.reshape(len(targets), -1).astype(np.float32)
        if not np.isfinite(labels).all():
            raise UserError("y holds numbers that are infinite as float32, the only type that is computed in")
        outputs, loss = labels.shape[1], MeanSquaredError()
        if weights is None:
            self._train(rows, labels, outputs, loss, False)
            return self
        counts = weights > 0
        scaled = weights[counts] * (counts.sum() / weights.sum())
        weighted: Loss = WeightedSquaredError()
        self._train(
            rows[counts], np.column_stack([labels[counts], scaled.astype(np.float32)]), outputs, weighted, False
        )
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Float64 (n,) or (n, outputs), as y was; computed in float32."""
        outputs = self._outputs(X).astype(np.float64)
        return outputs[:, 0] if self._single else outputs
