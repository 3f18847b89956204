"""The data of the figures: run folders, checkpoints, data sets, and what a network says about a set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset
from engine.data.images import read_image
from engine.data.location import data_root
from engine.data.preprocess import PER_BATCH, Preprocess
from engine.errors import UserError, unknown, warn
from engine.inference.ensemble import check_classifier, class_names, probabilities
from engine.inference.judging import Judgement, rank_of
from engine.layers import Dropout, Flatten
from engine.layers.topology import INPUT
from engine.network.network import Network
from engine.reading.yaml_text import read_yaml
from engine.recipe.config import TrainConfig, load_config
from engine.recipe.samples import load_data
from engine.training.folder import CONFIG, no_run
from engine.training.metrics import predicted_classes
from engine.training.resume import facts_of, find_last, other_data

Parts = tuple[Dataset, Dataset | None, Dataset | None]

CHUNK = 1024  # samples made float32 at a time
FROM_PYTHON = f"the run was started from Python, and its {CONFIG} names no data set whose images could be read"


@dataclass(frozen=True)
class Predictions:
    """A network's answers on a set: `truth` (N,), `probabilities` (N, classes)."""

    part: str
    dataset: Dataset
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    class_names: tuple[str, ...]

    @property
    def predicted(self) -> NDArray[np.int64]:
        return predicted_classes(self.probabilities)

    @property
    def captions(self) -> list[str]:
        """What names each sample beside its picture: its file, or where the set has none its number, from 0."""
        files = self.dataset.files
        return [each.name for each in files] if files else [f"sample {each}" for each in range(len(self.truth))]

    def judgement(self) -> Judgement:
        """The answers beside the truth."""
        predicted, rows = self.predicted, np.arange(len(self.truth))
        return Judgement(
            self.class_names,
            [str(each) for each in self.dataset.files or range(len(self.truth))],
            self.truth,
            predicted,
            self.probabilities[rows, predicted],
            self.probabilities[rows, self.truth],
            np.array([rank_of(*each) for each in zip(self.probabilities, self.truth)], np.int64),
            "file" if self.dataset.files else "sample",
        )


def names_data(folder: Path) -> bool:
    """Whether the configuration in a run folder can be read again: that of a run from Python names no data set."""
    path = folder / CONFIG
    return not path.is_file() or {"dataset", "model"} <= read_yaml(path).keys()


def find_config(source: Path) -> TrainConfig:
    """The configuration of a run folder, or the one in a YAML file."""
    if not source.is_dir():
        return load_config(source)
    if not (source / CONFIG).is_file():
        raise no_run(source, f"no {CONFIG}")
    if not names_data(source):
        raise UserError(
            f"{source}: {FROM_PYTHON}; curves, filters and features can be drawn, the rest in Python from your own "
            "samples, with engine.plots.confusion and engine.plots.sheets"
        )
    return load_config(source / CONFIG)


def read_parts(
    config: TrainConfig, root: Path | None, where: str, load: Callable[[TrainConfig], Parts] | None = None
) -> dict[str, Dataset]:
    """The parts of the configuration's data set: "training", and "validation" and "test" where there are such.

    A test part that is the validation set too counts once, as "test". `load`: what gives the training, validation and
    test samples of a configuration, for who keeps what was read (default: `load_data` with `root`).
    """
    if load is None:
        training, validation, test = load_data(config, data_root(root, config.data_root), f"{where}: ")
    else:
        training, validation, test = load(config)
    parts = {"training": training}
    if validation is not None and validation is not test:
        parts["validation"] = validation
    if test is not None:
        parts["test"] = test
    return parts


def held_out(parts: Mapping[str, Dataset], where: str) -> tuple[str, Dataset]:
    """The part that a network is judged on, with its name: test, else validation."""
    for name in ("test", "validation"):
        if name in parts:
            return name, parts[name]
    raise UserError(f"{where}: the run has neither a test nor a validation part, so there is nothing to judge it on")


def judged_part(folder: Path, parts: Mapping[str, Dataset]) -> tuple[str, Dataset]:
    """The part that the network of a run is judged on (see `held_out`). A warning where it is the validation part, and
    not the one that the run had: a part that is drawn anew may have images that the network was trained on."""
    name, dataset = held_out(parts, str(folder))
    last = find_last(folder).last
    if name == "validation" and last is not None and "position" in last.training:
        then, now = last.training.get("facts", {}).get(name), facts_of(dataset)
        if then is not None and _images(then) != _images(now):
            told = other_data({name: then}, {name: now}, last.class_names)
            warn(
                f"{folder}: the data are not those of the run ({'; '.join(told)}): among these validation images may "
                "be some that the network was trained on, and it is right of them too often. Put the data back as they "
                "were, or train again"
            )
    return name, dataset


def _images(facts: Mapping[str, Any]) -> list[Any]:
    """What tells the images of a part from others; labels may have been corrected since."""
    return [facts["samples"], facts["shape"], facts["sums"].get("images")]


def class_labels(dataset: Dataset) -> NDArray[np.int64]:
    """Labels (N,): of soft ones the largest; UserError for one that is NaN, and for maps of labels."""
    if dataset.labels.ndim == 3:
        raise UserError(f"{dataset.name}: has a label for every pixel, and this figure is of images with one each")
    if dataset.labels.ndim == 2:
        return predicted_classes(dataset.labels, lambda index: f"label of sample {index} of {dataset.name}")
    return dataset.labels.astype(np.int64, copy=False)


def class_names_of(dataset: Dataset) -> tuple[str, ...]:
    """The set's class names, or the numbers where it has none."""
    if dataset.class_names:
        return tuple(dataset.class_names)
    classes = dataset.labels.shape[1] if dataset.labels.ndim == 2 else int(dataset.labels.max()) + 1
    return tuple(map(str, range(classes)))


def counts_by_class(parts: Mapping[str, Dataset], classes: int) -> dict[str, NDArray[np.int64]]:
    """Samples of each class in each part: (classes,)."""
    return {name: np.bincount(class_labels(part), minlength=classes) for name, part in parts.items()}


def predict_part(net: Network, checkpoint: Path, part: str, dataset: Dataset) -> Predictions:
    """The network's probabilities on a set, whose labels are matched by name and whose images come to the values that
    they had in its training; UserError where the two do not fit, or the network gives NaN or infinity.
    """
    if dataset.sample_shape != net.input_shape:
        raise UserError(
            f"{checkpoint}: the network takes {net.input_shape}, but the {part} images of {dataset.name} have shape "
            f"{dataset.sample_shape}"
        )
    check_classifier(checkpoint, net)
    try:
        dataset = dataset.with_classes(net.class_names)
    except UserError as error:
        raise UserError(f"{checkpoint}: {error}") from None
    if net.preprocess is not None and dataset.preprocess is not None:
        # What is measured on images (standardise: set) was measured on those of then.
        own = Preprocess.from_dict(net.preprocess, checkpoint)
        values = {name: getattr(own, name) for name in PER_BATCH}
        dataset = dataset.with_preprocess(replace(dataset.preprocess, **values))
    truth = class_labels(dataset)
    if truth.max() >= net.output_shape[0]:
        raise UserError(
            f"{checkpoint}: the network has {net.output_shape[0]} classes, but labels of {dataset.name} run to "
            f"{truth.max()}"
        )

    def answer(start: int) -> NDArray[np.float32]:
        images = np.ascontiguousarray(dataset.normalise(dataset.images[start : start + CHUNK]))
        return probabilities(net, images, str(checkpoint), lambda index: f"{start + index} of {dataset.name} ({part})")

    answers = [answer(start) for start in range(0, len(dataset), CHUNK)]
    return Predictions(part, dataset, truth, np.concatenate(answers), tuple(class_names(net)))


def filter_layers(net: Network) -> dict[str, NDArray[np.float32]]:
    """The weights that can be drawn, by layer: (OC, IC/groups, KH, KW) of convolutions, (out, in) of linear layers."""
    weights = net.parameters()
    return {name: weights[f"{name}.weights"] for name, layer in net.layers.items() if layer.kind in ("conv", "linear")}


def reads_colour(net: Network, layer: str) -> bool:
    """Whether the layer's three input channels are the red, green and blue of the image."""
    node = net.topology.node(layer)
    return node.inputs == (INPUT,) and net.input_shape[0] == 3 and len(net.input_shape) == 3


def changing_layers(net: Network) -> dict[str, str]:
    """How each layer is written, by name, without those that change no value in inference: Dropout and Flatten."""
    drawn = {name: str(layer) for name, layer in net.layers.items() if not isinstance(layer, (Dropout, Flatten))}
    return drawn or {name: str(layer) for name, layer in net.layers.items()}


def pick_layer(weights: dict[str, Any], net: Network, name: str | None, where: Path) -> str:
    """The layer whose filters are wanted: as named, or the first that has any; UserError for one without."""
    if not weights:
        raise UserError(f"{where}: the network has no layer with filters")
    if name is None:
        return next(iter(weights))
    if name not in net.layers:
        error = unknown("layer", name, net.layers)
        raise UserError(f"{where}: {error}; those with filters: {', '.join(weights)}")
    if name not in weights:
        raise UserError(
            f"{where}: layer {name!r} is {net.layers[name]} and has no filters; those that have: {', '.join(weights)}"
        )
    return name


def read_input(net: Network, image: Path, checkpoint: Path) -> NDArray[np.float32]:
    """An image file as the network's input (C, H, W), prepared as in training."""
    if net.preprocess is None:
        raise UserError(f"{checkpoint}: the network was saved without its preprocessing, so images cannot be prepared")
    prepared = Preprocess.from_dict(net.preprocess, checkpoint)(read_image(image))
    if prepared.shape != net.input_shape:
        raise UserError(f"{image}: gives an input of shape {prepared.shape}, the network takes {net.input_shape}")
    return prepared
