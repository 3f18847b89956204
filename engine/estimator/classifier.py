"""The classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from engine.errors import UserError, shown
from engine.estimator.base import CNN
from engine.estimator.networks import Recipe
from engine.inference.ensemble import softmax
from engine.layers import Softmax
from engine.losses import CrossEntropy
from engine.optim import Optimizer
from engine.training.schedules import Schedule


class CNNClassifier(ClassifierMixin, CNN):
    """A network that is trained with the cross-entropy, as a classifier of scikit-learn.

    X is (n, K), or images (n, C, H, W); rows are images too where `image_shape` says so, and vectors otherwise. Numbers
    are taken as they are, as float32: scale pixels to about 0..1 before. Errors of the engine are ValueError.

    network        None for a small one by `filters` and `hidden`; a name of engine.models; a function of input shape
                   (C, H, W), or (K, 1, 1) of vectors, and number of classes that gives a network; or a network, which
                   is copied and trained further
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
    class_weight   class → weight, or "balanced"; multiplies the weights of the samples

    After `fit`: classes_, n_features_in_, feature_names_in_ where X has names, n_iter_ (epochs), history_ (the engine's
    record of each epoch), network_, image_shape_ (None for vectors).
    """

    classes_: NDArray[Any]

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
        class_weight: Mapping[Any, float] | str | None = None,
    ):
        super().__init__(
            network=network,
            filters=filters,
            hidden=hidden,
            image_shape=image_shape,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            optimizer=optimizer,
            schedule=schedule,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> CNNClassifier:
        """Train on samples X with classes y (n,), of any kind that can be sorted.

        The loss of a batch is the sum of weight times loss over its number of samples, where the weights are scaled to
        a mean of 1 over all samples. Those of weight 0 are left out, and so is a class that only these have.
        """
        rows, classes = self._fitting_data(X, y)
        check_classification_targets(classes)
        weights = self._weights(rows, sample_weight)
        if weights is not None:
            counts = weights > 0
            rows, classes, weights = rows[counts], classes[counts], weights[counts]
        self.classes_, labels = np.unique(classes, return_inverse=True)
        if len(self.classes_) < 2:
            raise UserError(f"a classifier needs samples of two classes or more, y has one class: {self.classes_[0]}")
        if self.class_weight is not None:
            by_class = compute_sample_weight(self.class_weight, classes)
            weights = by_class if weights is None else weights * by_class
            if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
                raise UserError(
                    f"class_weight {shown(self.class_weight)}: expected finite numbers of at least 0 that leave "
                    "samples with a weight above 0"
                )
        scaled = None if weights is None else (weights * (len(weights) / weights.sum())).astype(np.float32)
        outputs = len(self.classes_)
        self._train(rows, labels.astype(np.int64), outputs, CrossEntropy(), True, scaled, list(self.classes_))
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities float32 (n, classes), in the order of `classes_`."""
        outputs = self._outputs(X)
        # As the loss of the training took them: also what a Sigmoid gives are scores there, not a probability each.
        ends_in_softmax = isinstance(self.network_.layers[self.network_.topology.output], Softmax)
        return outputs if ends_in_softmax else softmax(outputs)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likeliest class of each sample, (n,)."""
        found = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[found]
