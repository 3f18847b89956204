"""What classifier and regressor share: rows or images to samples, a network for them, and its training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from engine.arguments import refuse_masked
from engine.data.dataset import Dataset
from engine.data.loader import Loader
from engine.errors import UserError, shown
from engine.estimator.networks import Recipe, plain_network, recipe_network
from engine.layers.topology import checked_input_shape
from engine.losses import Loss
from engine.network.inputs import LONGEST_NAME
from engine.network.network import Network
from engine.optim import Adam, Optimizer, checked_optimizer
from engine.plan import Choices
from engine.program.shapes import Shape
from engine.training.checks import check_last_batch
from engine.training.schedules import Schedule
from engine.training.trainer import Trainer

PREDICTED_AT_A_TIME = 256


class CNN(BaseEstimator):
    """Base of both; their docstrings say what the parameters are."""

    network_: Network
    image_shape_: Shape | None
    n_features_in_: int

    def __init__(
        self,
        *,
        network: Recipe = None,
        filters: Sequence[int] = (16, 32),
        hidden: Sequence[int] = (64,),
        image_shape: Sequence[int] | None = None,
        epochs: int = 50,
        batch_size: int = 32,
        learning_rate: float = 0.001,
        optimizer: Optimizer | None = None,
        schedule: Schedule | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.network = network
        self.filters = filters
        self.hidden = hidden
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.schedule = schedule
        self.random_state = random_state
        self.verbose = verbose

    # ---- from X and y to arrays ----

    def _fitting_data(self, X: Any, y: Any, **checks: Any) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Rows float32 (n, K) and y, checked as scikit-learn does; sets what is known of the features."""
        rows, shape = _rows(X)
        if shape is not None and self.image_shape is not None and tuple(self.image_shape) != shape:
            raise UserError(f"X holds images of shape {shape}, but image_shape is {tuple(self.image_shape)}")
        rows, y = validate_data(self, rows, y, dtype=np.float32, order="C", **checks)
        if shape is None and self.image_shape is not None:
            shape = checked_input_shape(self.image_shape)
            if len(shape) != 3 or math.prod(shape) != rows.shape[1]:
                raise UserError(
                    f"image_shape {shown(self.image_shape)}: expected (channels, height, width) with as many elements "
                    f"as X has features, {rows.shape[1]}"
                )
        self.image_shape_ = shape
        return rows, y

    def _outputs(self, X: Any) -> NDArray[np.float32]:
        """What the network's last layer gives, (n, outputs). A sample has the same bits in any company."""
        check_is_fitted(self)
        rows, shape = _rows(X)
        if shape is not None and shape != self.image_shape_:
            known = self.image_shape_ or f"vectors of {self.n_features_in_} features"
            raise UserError(f"X holds images of shape {shape}, but the network was trained on {known}")
        rows = validate_data(self, rows, dtype=np.float32, order="C", reset=False)
        images = rows.reshape(len(rows), *self.network_.input_shape)
        return self.network_.predict(images, PREDICTED_AT_A_TIME, self._algorithms())

    def _algorithms(self) -> Choices:
        """Those of a full batch, whatever the number of samples: the cost model would choose others for a few, and
        these round differently."""
        return self.network_.plan(PREDICTED_AT_A_TIME).choices["convolutions"]

    def _weights(self, X: NDArray[Any], given: ArrayLike | None) -> NDArray[np.float64] | None:
        """Weights of the samples (n,) as float64; ValueError for negative ones and where all are zero."""
        if given is None:
            return None
        weights = _check_sample_weight(given, X, dtype=np.float64, ensure_non_negative=True)
        if not weights.any():
            raise UserError("sample_weight: sample weights must contain at least one non-zero number")
        return weights

    # ---- training ----

    def _train(
        self,
        rows: NDArray[np.float32],
        labels: NDArray[Any],
        outputs: int,
        loss: Loss,
        softmax: bool,
        weights: NDArray[np.float32] | None = None,
        classes: Sequence[Any] = (),
    ) -> None:
        """Make the network and train it; sets network_, n_iter_ and history_. `classes`: what its outputs stand for."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        shape = self.image_shape_ or (rows.shape[1], 1, 1)
        net = (
            plain_network(shape, outputs, self.filters, self.hidden, seed, softmax)
            if self.network is None
            else recipe_network(self.network, shape, outputs, seed)
        )
        # What a network that is given knew of its inputs and outputs does not hold for X and y.
        net.preprocess, net.class_names = None, _names(classes)
        given = Adam() if self.optimizer is None else checked_optimizer(type(self).__name__, self.optimizer)
        trainer = Trainer(
            net,
            replace(given, lr=self.learning_rate),
            loss,
            self.schedule,
            batch_size=self.batch_size,
            seed=seed,
            progress="lines" if self.verbose else "none",
        )
        data = Dataset("X", rows.reshape(len(rows), *shape), labels, sample_weights=weights)
        # Without prefetching there is no thread beside the core's: a search over several processes counts on it.
        loader = Loader(data, self.batch_size, seed=seed, prefetch=0)
        check_last_batch(trainer, loader, "choose another batch_size")  # all that there is to choose here
        self.history_ = trainer.fit(loader, epochs=self.epochs)
        self.n_iter_ = len(self.history_.epochs)
        self.network_ = net


def _names(classes: Sequence[Any]) -> list[str]:
    """The classes as names of a network's outputs, none where one is too long for a name."""
    names = [str(each) for each in classes]
    return names if all(len(name) <= LONGEST_NAME for name in names) else []


def _rows(X: Any) -> tuple[Any, Shape | None]:
    """Images (n, C, H, W) as rows (n, C*H*W) and their shape; anything else as it is, and None."""
    refuse_masked("X has", X)
    if getattr(X, "ndim", None) != 4:
        return X, None
    images = np.asarray(X)
    shape = images.shape[1], images.shape[2], images.shape[3]
    return images.reshape(len(images), math.prod(shape)), shape
