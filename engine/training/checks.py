"""What a step would refuse is refused before a run begins, and before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset
from engine.data.loader import Loader
from engine.data.preprocess import PER_BATCH, Preprocess
from engine.errors import SampleError, UserError, listed, shown, unknown, warn
from engine.layers import BatchNorm
from engine.layers.patterns import layers_with_parameters
from engine.losses import CustomLoss, LabelMaps
from engine.network.inputs import check_probabilities, checked_targets, label_error, single_value_norm
from engine.network.network import Network
from engine.program.shapes import Shape
from engine.training import metrics
from engine.training.stepper import Stepper

WITH_CLASSES = ("loss", "accuracy", "macro_f1", *metrics.PER_CLASS)
WITH_PIXELS = ("loss", "pixel_accuracy", "mean_iou")
# Of first values in a running statistic. With a third of them, the loss on MNIST is 1.7 times that with statistics
# which are measured anew; after ten updates even the default momentum leaves that many.
STALE_SHARE = 1 / 3
MAPS_AT_A_TIME = 64
BYTES = Preprocess()  # as Dataset.normaliser: bytes that come without a preprocess go to 0..1


def check_data(stepper: Stepper, datasets: Iterable[Dataset | None]) -> None:
    """UserError where images or labels do not fit the network and its loss."""
    for dataset in datasets:
        if dataset is not None:
            check_fits(stepper, dataset)


def check_classes(stepper: Stepper, dataset: Dataset) -> None:
    """Hold the classes of a training set against the network's outputs.

    UserError for more classes than outputs, and where the outputs stand for other classes and cannot learn these; a
    warning where they can, and for outputs that get no class.
    """
    names, net = tuple(dataset.class_names), stepper.net
    if not names or (len(net.output_shape) != 1 and dataset.labels.ndim != 3):
        return
    outputs, before = net.output_shape[0], tuple(net.class_names)
    if outputs < len(names):
        raise UserError(
            f"{dataset.name}: has {len(names)} classes, {listed(names)}, but the network {outputs} outputs; "
            f"{_outputs_advice(len(names))}"
        )
    if outputs > len(names):
        warn(
            f"the network has {outputs} outputs, but the data {len(names)} classes: {listed(names)}; "
            f"{_outputs_advice(len(names))}"
        )
    if before in ((), names):
        return
    other = f"{listed(before)}, those of {dataset.name} are {listed(names)}"
    last = layers_with_parameters(net.topology)[-1:]
    if set(last) <= set(stepper.frozen):
        raise UserError(f"the network's outputs stand for {other}, and its last layer is frozen")
    warn(
        f"the network's outputs stood for {other}: its last layer has to learn anew what they mean "
        "(engine.network.transfer.replace_head draws it anew)"
    )


def check_fits(stepper: Stepper, dataset: Dataset) -> None:
    """UserError where images or labels of a set do not fit the network and its loss."""
    net, loss, labels = stepper.net, stepper.loss, dataset.labels
    if dataset.sample_shape != net.input_shape:
        channels, *size = dataset.sample_shape
        raise UserError(
            f"{dataset.name}: images have shape {dataset.sample_shape}, but the network takes {net.input_shape}; "
            f"{_shape_advice(channels, size, net.input_shape)}"
        )
    if dataset.images.dtype == np.float32 and not np.isfinite(dataset.images).all():
        first = int(np.argwhere(~np.isfinite(dataset.images))[0, 0])
        raise UserError(f"{dataset.name}: the images hold NaN or infinity, first in sample {first}")
    try:
        if isinstance(loss, LabelMaps) and len(net.output_shape) == 3:
            if dataset.ignore is not None and dataset.ignore != loss.ignored:
                raise UserError(
                    f"{dataset.name}: its pixels with the label {dataset.ignore} do not count, but those of the loss "
                    f"are told by ignore_index = {loss.ignored}; give both the same"
                )
            _check_maps(dataset.name, labels, loss, net.output_shape)
            return
        checked_targets(labels, len(dataset), loss, net.output_shape)
        check_probabilities(labels, loss)
        if isinstance(loss, CustomLoss):
            return  # what its labels mean, the function knows
        if labels.ndim == 1 and labels.min() < 0:
            raise label_error(labels, net.output_shape[0], 0)
    except SampleError as error:
        raise error.at(error.sample, dataset.name) from None
    if labels.ndim == 1 and labels.max() >= net.output_shape[0]:
        needed = max(len(dataset.class_names), int(labels.max()) + 1)
        raise UserError(
            f"{dataset.name}: labels run from {labels.min()} to {labels.max()}, "
            f"but the network has {net.output_shape[0]} classes; {_outputs_advice(needed)}"
        )


def _check_maps(name: str, labels: NDArray[Any], loss: LabelMaps, shape: Shape) -> None:
    """UserError unless these are maps of labels for outputs of this shape, and some pixel counts; a few at a time, as
    they may be large."""
    loss.check_output(shape)
    checked_targets(labels[:1], 1, loss, shape)
    counted = 0.0
    for start in range(0, len(labels), MAPS_AT_A_TIME):
        part = labels[start : start + MAPS_AT_A_TIME]
        if loss.bad(part, shape[0]).any():
            raise label_error(part, shape[0], start, loss)
        counted += loss.weight(part)
    if not counted:
        raise UserError(f"{name}: no pixel counts: all have the label {loss.ignored}, which is ignored")


def check_preprocess(preprocess: Preprocess, taken: Shape) -> None:
    """UserError where images prepared like this cannot have the shape `taken` of a network's input, whatever they are.
    Of images that keep their size the channels are known."""
    channels, size = preprocess.channels, preprocess.size
    if size is not None and (channels, *size) != taken:
        got = f"images get shape {(channels, *size)}"
    elif size is None and len(taken) == 3 and channels != taken[0]:
        got = f"images keep their size and get {'3 channels' if channels == 3 else '1 channel'}"
    else:
        return
    raise UserError(f"{got}, but the network takes {taken}; {_shape_advice(channels, size, taken)}")


def keep_preprocess(net: Network, dataset: Dataset) -> None:
    """Have the network say how its inputs are prepared in training with this set.

    Bytes of a set without a preprocess go to 0..1, whatever the network said before: then it says so, with a warning.
    What is done to an image before it is bytes stays as it was, and so does all where the images are floats.
    """
    if dataset.preprocess is not None:
        net.preprocess = dataset.preprocess.to_dict()
        return
    if net.preprocess is None or dataset.images.dtype != np.uint8:
        return
    before = Preprocess.from_dict(net.preprocess, "the network")
    if not _same_values(before, BYTES):
        warn(
            f"{dataset.name}: uint8 images without a preprocess are trained on as 0..1, but the network came with "
            f"{_values(before)}, and says 0..1 from now on. To go on as before, give a Dataset with "
            "preprocess=Preprocess.from_dict(net.preprocess)"
        )
        net.preprocess = replace(before, **{name: getattr(BYTES, name) for name in PER_BATCH}).to_dict()


def check_same_values(
    path: Path, then: Mapping[str, Any] | None, now: Mapping[str, Any] | None, dataset: Dataset
) -> None:
    """UserError where bytes come to other values than in the run that is gone on with, and one of the two does not say
    what they come to: then it is 0..1."""
    if dataset.images.dtype != np.uint8 or (then is None) == (now is None):
        return
    before, after = (BYTES if each is None else Preprocess.from_dict(each, path) for each in (then, now))
    if not _same_values(before, after):
        raise UserError(
            f"{path}: the run was started with images that were normalised by {_values(before)}, now it is by "
            f"{_values(after)}; give a Dataset with the preprocess of then"
        )


def warn_of_scales(train: Dataset, validation: Dataset | None) -> None:
    """Warn where validation images come to other values than training images, as far as the sets tell."""
    if validation is None or validation.images.dtype != np.uint8:
        return
    if train.images.dtype != np.uint8 and train.preprocess is None:
        if validation.preprocess is None:
            warn(
                f"{validation.name}: its images are uint8, and those of {train.name} float32, which do not tell how "
                "they were scaled: give both as float32, or as uint8"
            )
        return
    if validation.preprocess is None:
        return  # normalised as the network says, which is as in training
    trained, measured = train.normaliser, validation.preprocess
    if not _same_values(measured, trained):
        warn(
            f"{validation.name}: its images are normalised by {_values(measured)}, but those of {train.name} by "
            f"{_values(trained)}"
        )


def _same_values(one: Preprocess, other: Preprocess) -> bool:
    """Whether both do the same to the values of batches, whatever they do to images before."""
    return all(getattr(one, name) == getattr(other, name) for name in PER_BATCH)


def _values(preprocess: Preprocess) -> str:
    """What is done to the values of batches, in words."""
    told = [name for name in PER_BATCH if name == "scale" or getattr(preprocess, name) != getattr(BYTES, name)]
    return ", ".join(f"{name} {shown(getattr(preprocess, name))}" for name in told)


def _shape_advice(channels: int, size: Sequence[int] | None, taken: Shape) -> str:
    """The keys of a configuration that let images of that shape (size None: of any) fit a network's input."""
    if len(taken) != 3 or taken[0] not in (1, 3):
        return f"in a configuration set model.input_shape: {[channels, *(size or ('H', 'W'))]}".replace("'", "")
    if channels == taken[0]:
        return f"in a configuration set preprocess.size: {list(taken[1:])}"
    keys = [f"preprocess.colour: {'true' if taken[0] == 3 else 'false'}"]
    if size is None or tuple(size) != taken[1:]:
        keys.append(f"preprocess.size: {list(taken[1:])}")
    return (
        f"in a configuration set {' and '.join(keys)}, or take a network of {channels} "
        f"channel{'s' * (channels > 1)} (model.arguments.channels, or model.input_shape with layers)"
    )


def _outputs_advice(classes: int) -> str:
    """The keys of a configuration that give a network so many outputs."""
    return (
        f"in a configuration set model.arguments.classes: {classes}, or with model.layers {classes} outputs in the last"
    )


def check_last_batch(
    stepper: Stepper, loader: Loader, advice: str = "choose another batch_size, or leave that batch out (drop_last)"
) -> None:
    """UserError where a batch has one sample and a BatchNorm would see one value per channel; `advice` ends it."""
    layer = single_value_norm(stepper.net.topology, stepper.frozen)
    rest = len(loader.dataset) % loader.batch_size
    single = loader.batch_size == 1 or (rest == 1 and not loader.drop_last)
    if layer and single:
        raise UserError(
            f"{loader.dataset.name}: with {len(loader.dataset)} samples in batches of {loader.batch_size} a batch "
            f"has one sample, of which BatchNorm {layer!r} sees one value per channel; {advice}"
        )


def warn_of_statistics(stepper: Stepper) -> None:
    """Warn of the BatchNorm whose running statistics have seen too few updates for its momentum: their first values, 0
    and 1, still have a share of (1 - momentum)^updates in them, where the default momentum would have left few. A run
    so short that it would not has hardly trained, whatever the momentum."""
    store = stepper.net.store
    stale = [
        (share, updates, name, layer.momentum)
        for name, layer in stepper.net.layers.items()
        if isinstance(layer, BatchNorm) and name not in stepper.frozen and f"{name}.running_var" in store.fresh
        for updates in [store.steps - store.fresh[f"{name}.running_var"]]
        for share in [(1.0 - layer.momentum) ** updates]
        if share > STALE_SHARE >= (1.0 - BatchNorm.momentum) ** updates
    ]
    if stale:
        share, updates, name, momentum = max(stale)
        warn(
            f"BatchNorm {name!r}: {share:.0%} of its running statistics, by which evaluation and prediction normalise, "
            f"are still their first values, after {updates} updates with momentum {momentum:g}. Momentum is the weight "
            "of the new batch here, as in PyTorch (0.01 here is Keras's 0.99). Take a larger one, train longer, or "
            "renew the statistics with engine.calibrate(net, data)",
        )


def measured_names(stepper: Stepper, dataset: Dataset) -> Sequence[str]:
    """What an evaluation of this set can give."""
    if stepper.has_pixels(dataset):
        return WITH_PIXELS
    return WITH_CLASSES if stepper.has_classes(dataset) else WITH_CLASSES[:1]


def names_in_log(stepper: Stepper, train: Dataset | None, validation: Dataset | None) -> list[str]:
    """The metrics that the log of a run has; None for a part that is not evaluated after an epoch."""
    further = () if validation is None else (*measured_names(stepper, validation), *stepper.each_epoch)
    return logged_names(() if train is None else measured_names(stepper, train), further)


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
