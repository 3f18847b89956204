"""What a step would refuse is refused before a run begins, and before anything is written."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from engine.data.dataset import Dataset
from engine.data.loader import Loader
from engine.errors import UserError, unknown
from engine.layers import BatchNorm
from engine.network.inputs import checked_targets, single_value_norm
from engine.training import metrics
from engine.training.stepper import Stepper

WITH_CLASSES = ("loss", "accuracy", "macro_f1", *metrics.PER_CLASS)
STALE_SHARE = 1 / 3  # of first values in a running statistic: validation is then far from what was trained


def check_data(stepper: Stepper, datasets: Iterable[Dataset | None]) -> None:
    """UserError where images or labels do not fit the network and its loss."""
    net, loss = stepper.net, stepper.loss
    names: tuple[str, ...] = ()  # those of the first set that has any
    for dataset in datasets:
        if dataset is None:
            continue
        if dataset.sample_shape != net.input_shape:
            raise UserError(
                f"{dataset.name}: images have shape {dataset.sample_shape}, but the network takes {net.input_shape}"
            )
        names = names or tuple(dataset.class_names)
        if dataset.class_names and tuple(dataset.class_names) != names:
            raise UserError(
                f"{dataset.name}: its classes are {', '.join(dataset.class_names)}, but those trained on are "
                f"{', '.join(names)}; labels must be numbered alike"
            )
        if dataset.images.dtype == np.float32 and not np.isfinite(dataset.images).all():
            first = int(np.argwhere(~np.isfinite(dataset.images))[0, 0])
            raise UserError(f"{dataset.name}: the images hold NaN or infinity, first in sample {first}")
        labels = dataset.labels
        checked_targets(labels, len(dataset), loss, net.output_shape)
        if labels.ndim == 1 and not (labels.min() >= 0 and labels.max() < net.output_shape[0]):
            raise UserError(
                f"{dataset.name}: labels run from {labels.min()} to {labels.max()}, "
                f"but the network has {net.output_shape[0]} classes"
            )
    if names and len(net.output_shape) == 1 and net.output_shape[0] > len(names):
        warnings.warn(
            f"the network has {net.output_shape[0]} outputs, but the data {len(names)} classes: {', '.join(names)}",
            stacklevel=4,  # the caller of fit
        )


def check_last_batch(stepper: Stepper, loader: Loader) -> None:
    """UserError where a batch has one sample and a BatchNorm would see one value per channel."""
    layer = single_value_norm(stepper.net.topology, stepper.frozen)
    rest = len(loader.dataset) % loader.batch_size
    single = loader.batch_size == 1 or (rest == 1 and not loader.drop_last)
    if layer and single:
        raise UserError(
            f"{loader.dataset.name}: with {len(loader.dataset)} samples in batches of {loader.batch_size} a batch "
            f"has one sample, of which BatchNorm {layer!r} sees one value per channel; "
            "choose another batch_size, or leave that batch out (drop_last)"
        )


def warn_of_statistics(stepper: Stepper) -> None:
    """Warn of the BatchNorm whose running statistics have seen too few updates: their first values, 0 and 1, still have
    a share of (1 - momentum)^updates in them."""
    store = stepper.net.store
    stale = [
        (share, updates, name, layer.momentum)
        for name, layer in stepper.net.layers.items()
        if isinstance(layer, BatchNorm) and name not in stepper.frozen and f"{name}.running_var" in store.fresh
        for updates in [store.steps - store.fresh[f"{name}.running_var"]]
        for share in [(1.0 - layer.momentum) ** updates]
        if share > STALE_SHARE
    ]
    if stale:
        share, updates, name, momentum = max(stale)
        warnings.warn(
            f"BatchNorm {name!r}: {share:.0%} of its running statistics, by which evaluation and prediction normalise, "
            f"are still their first values, after {updates} updates with momentum {momentum:g}. Momentum is the weight "
            "of the new batch here, as in PyTorch (0.01 here is Keras's 0.99). Take a larger one, train longer, or "
            "renew the statistics with engine.calibrate(net, data)",
            stacklevel=4,  # the caller of fit
        )


def measured_names(stepper: Stepper, dataset: Dataset) -> Sequence[str]:
    """What an evaluation of this set can give."""
    return WITH_CLASSES if stepper.has_classes(dataset) else WITH_CLASSES[:1]


def logged_names(train: Sequence[str], validation: Sequence[str]) -> list[str]:
    """The metrics that a run's log has; train, validation: what is measured of these parts after an epoch."""
    names = ["train_loss", *(f"train_{name}" for name in train), *(f"val_{name}" for name in validation)]
    return list(dict.fromkeys(names))


def watched_per_class(logged: Sequence[str], watched: Mapping[str, str | None]) -> set[str]:
    """Those of engine.training.metrics.PER_CLASS that something watches; UserError for a metric that is not logged.

    watched   what decides by a metric, and by which (None: by none)
    """
    for what, name in watched.items():
        if name and name not in logged:
            raise unknown(f"{what} (this run logs {', '.join(logged)}):", name, logged)
    return {each for each in metrics.PER_CLASS for name in watched.values() if name and name.partition("_")[2] == each}
