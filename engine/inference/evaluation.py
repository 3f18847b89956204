"""Several views of a sample as one judgement, measured on a labelled set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset
from engine.errors import UserError
from engine.inference.ensemble import CHUNK, as_probabilities, mean_probabilities
from engine.inference.views import check_shift, parse_views
from engine.network.network import Network
from engine.plan import Algorithm
from engine.training.metrics import accuracy, check_scores, macro_f1, predicted_classes


@dataclass(frozen=True)
class EvaluationViews:
    """Test-time augmentation of the validation and test samples, as metrics: accuracy_tta, macro_f1_tta.

    views  flip, shift:PIXELS, diagonal:PIXELS and rotate:DEGREES, with commas between them: every combination is a view
           (see engine.inference.views.parse_views), and an evaluation takes as many times longer as there are views
    mean   of the probabilities, or of the outputs as the network gives them
    when   at the end, with the weights that are tested; or after every epoch for the validation samples, so that the
           metrics can pick the best epoch
    """

    SHORTHAND: ClassVar[str] = "views"
    NAMES: ClassVar[tuple[str, ...]] = ("accuracy_tta", "macro_f1_tta")

    views: str
    mean: Literal["probabilities", "outputs"] = "probabilities"
    when: Literal["end", "epoch"] = "end"

    def __post_init__(self) -> None:
        parse_views(self.views)

    @property
    def count(self) -> int:
        """How many views there are."""
        return len(parse_views(self.views))

    @property
    def each_epoch(self) -> tuple[str, ...]:
        """The metrics of the validation samples that the log has after every epoch."""
        return self.NAMES if self.when == "epoch" else ()

    def check(self, net: Network) -> None:
        """UserError where the network is no classifier, or its images are too small for a shift."""
        if len(net.output_shape) != 1 or len(net.input_shape) != 3:
            raise UserError(f"evaluation_views: the network is no classifier, its output has shape {net.output_shape}")
        check_shift(self.views, net.input_shape[1:])

    def __call__(self, net: Network, dataset: Dataset, algorithm: Algorithm = "auto") -> dict[str, float]:
        """The metrics NAMES of the network on labelled samples, whose labels are numbered as its outputs.

        UserError for images that are not uint8, and for outputs that are NaN or infinite.
        """
        truth = predicted_classes(dataset.labels) if dataset.labels.ndim == 2 else dataset.labels
        predicted = predicted_classes(self.scores(net, dataset, algorithm))
        values = accuracy(truth, predicted), macro_f1(truth, predicted)
        return dict(zip(self.NAMES, values, strict=True))

    def scores(self, net: Network, dataset: Dataset, algorithm: Algorithm = "auto") -> NDArray[np.float32]:
        """The mean over the views, (N, classes)."""
        if dataset.images.dtype != np.uint8:
            raise UserError(f"{dataset.name}: views change uint8 images, these are {dataset.images.dtype}")
        dataset, views = dataset.prepared_as(net.preprocess), parse_views(self.views)
        means: list[NDArray[np.float32]] = []
        for start in range(0, len(dataset), CHUNK):
            images = dataset.images[start : start + CHUNK].astype(np.uint8, copy=False)
            parts: Sequence[NDArray[np.float32]] = [
                net.predict(np.ascontiguousarray(dataset.normalise(view(images))), CHUNK, algorithm) for view in views
            ]
            for part in parts:
                check_scores(part, partial(_place, dataset, start))
            if self.mean == "probabilities":
                parts = [as_probabilities(net, part) for part in parts]
            means.append(mean_probabilities(parts, [view.weight for view in views]))
        return np.concatenate(means)


def _place(dataset: Dataset, start: int, index: int) -> str:
    return f"{dataset.name}: sample {start + index}"
