"""Several networks, and several views of an image, as one classifier: the mean of their probabilities."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.data.preprocess import Preprocess
from engine.errors import UserError, listed, twice
from engine.inference.views import Pixels, View
from engine.layers import Sigmoid, Softmax
from engine.quantize.network import AnyNetwork, first_nonfinite
from engine.quantize.reading import load_any
from engine.training.metrics import check_scores

CHUNK = 256  # images that pass through a network at a time


@dataclass(frozen=True)
class Member:
    """A trained classifier, and what is done to an image before it; `source` names it in messages."""

    source: str
    net: AnyNetwork
    preprocess: Preprocess

    @property
    def class_names(self) -> list[str]:
        return class_names(self.net)

    def by_name(self, scores: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
        """The network's scores (N, classes) with a column for each of `names`, which are its own in any order."""
        own = self.class_names
        return scores if own == list(names) else scores[:, [own.index(name) for name in names]]


def class_names(net: AnyNetwork) -> list[str]:
    """A name for each of the network's outputs: its class names, or numbers where it has none. An output that no class
    of the training stands for is "output 3".
    """
    known, outputs = list(net.class_names), net.output_shape[0]
    if not known:
        return [str(index) for index in range(outputs)]
    return known[:outputs] + [f"output {index}" for index in range(len(known), outputs)]


def load_networks(paths: Sequence[Path]) -> list[AnyNetwork]:
    """The networks in these checkpoints; UserError for a file given twice, by whatever spelling or link."""
    places = [os.path.realpath(path) for path in paths]
    if (again := twice(places)) is not None:
        one, other = [path for path, place in zip(paths, places, strict=True) if place == again][:2]
        also = f", also as {one}" if one != other else ""
        raise UserError(f"{other}: the checkpoint is given twice{also}")
    return [load_any(path) for path in paths]


def load_members(paths: Sequence[Path], nets: Sequence[AnyNetwork] | None = None) -> list[Member]:
    """The networks in these checkpoints; `nets` are these networks, for who has loaded them.

    UserError for one that knows no preprocessing, is no classifier or has two classes of one name, for two whose
    classes differ (their order may), and for a file given twice.
    """
    members: list[Member] = []
    for path, net in zip(paths, nets or load_networks(paths), strict=True):
        members.append(member_of(str(path), net))
        first, last = members[0], members[-1]
        if sorted(first.class_names) != sorted(last.class_names):
            raise UserError(
                f"{first.source} and {last.source} cannot predict together: "
                f"the first has {len(first.class_names)} classes ({listed(first.class_names)}), "
                f"the second {len(last.class_names)} classes ({listed(last.class_names)})"
            )
    return members


def member_of(source: str, net: AnyNetwork) -> Member:
    """A trained network as a classifier. UserError, which names the source, for one that says nothing of its
    preprocessing or does not fit it, is no classifier (see `check_classifier`), or gives two classes one name.
    """
    preprocess = preprocess_of(source, net)
    check_classifier(source, net)
    member = Member(source, net, preprocess)
    if (name := twice(member.class_names)) is not None:
        raise UserError(f"{source}: two classes of the network have the name {name!r}, so a label could be either")
    return member


def check_classifier(source: object, net: AnyNetwork) -> None:
    """UserError, which names the source, for a network whose outputs are no probabilities of classes and no scores that
    softmax makes some of: a map, one number, or what was trained by a loss of other things."""
    if len(net.output_shape) != 1:
        raise UserError(f"{source}: the network is no classifier, its output has shape {net.output_shape}")
    advice = "engine.load(…).predict(images) in Python gives its outputs as they are"
    if net.output_shape == (1,):
        raise UserError(
            f"{source}: the network has one output, and a classifier one for each of two classes or more; {advice}"
        )
    if net.trained_by and not gives_probabilities(net):
        raise UserError(
            f"{source}: the network was trained by {net.trained_by}, so its outputs are no scores of classes that "
            f"exclude each other: end it in Softmax or Sigmoid, which gives probabilities, and train it again; {advice}"
        )


def gives_probabilities(net: AnyNetwork) -> bool:
    """Whether the outputs of the network, (classes,), are probabilities as they are."""
    return isinstance(net.layers[net.topology.output], (Softmax, Sigmoid))


def preprocess_of(source: object, net: AnyNetwork) -> Preprocess:
    """How images become inputs of the network; UserError where they cannot."""
    if net.preprocess is None:
        raise UserError(f"{source}: the network was saved without its preprocessing, so images cannot be prepared")
    preprocess = Preprocess.from_dict(net.preprocess, str(source))
    if preprocess.size is not None and (made := (preprocess.channels, *preprocess.size)) != net.input_shape:
        raise UserError(
            f"{source}: its preprocessing gives images of shape {made}, but its network takes {net.input_shape}"
        )
    return preprocess


def probabilities(
    net: AnyNetwork,
    images: NDArray[np.float32],
    source: str = "the network",
    say: Callable[[int], str] = "sample {}".format,
) -> NDArray[np.float32]:
    """Outputs as probabilities (N, classes): softmax is applied here where the network does not end in one.

    A network that ends in Sigmoid gives a probability per class already. UserError, which names `source` and by `say`
    the image, for outputs or weights that are NaN or infinite: no class can be told from them.
    """
    outputs = net.predict(images, batch_size=CHUNK)
    damaged = first_nonfinite(net)
    why = f" ({damaged} holds NaN or infinite values)" if damaged else ""
    check_scores(outputs, lambda index: f"{source}{why}, image {say(index)}")
    if damaged and len(images):
        # An infinite weight can hide behind a ReLU, and every answer is wrong all the same.
        raise UserError(f"{source}: {damaged} holds NaN or infinite values, so nothing can be said of {say(0)}")
    return as_probabilities(net, outputs)


def as_probabilities(net: AnyNetwork, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The outputs (N, classes), which are finite, of a network that `check_classifier` takes, as `probabilities` gives
    them."""
    return outputs if gives_probabilities(net) else softmax(outputs)


def softmax(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of every row (N, classes), all finite."""
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def mean_probabilities(
    parts: Sequence[NDArray[np.float32]], weights: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """The mean of arrays (N, classes), added in double precision in the given order; one alone is returned as it is.

    weights: of the arrays (default: each counts once).
    """
    if len(parts) == 1:
        return parts[0]
    weights = weights or [1] * len(parts)
    total = np.zeros(parts[0].shape)
    for part, weight in zip(parts, weights, strict=True):
        total += part.astype(np.float64) * weight
    return (total / sum(weights)).astype(np.float32)


def ensemble_probabilities(
    members: Sequence[Member],
    prepared: Sequence[Pixels],
    views: Sequence[View] = (),
    say: Callable[[int], str] = "sample {}".format,
    names: Sequence[str] = (),
) -> NDArray[np.float32]:
    """Mean of the probabilities over all members and views, by the views' weights, (N, classes).

    prepared: for each member, the images as its `preprocess.prepare` gives them, uint8 (N, C, H, W). Without views the
    images are taken as they are. names: which class each column is for (default: as the first member has them); every
    member has these, in an order of its own. UserError as `probabilities` gives it.
    """
    names = list(names) or members[0].class_names
    views = views or (View(),)
    parts = [
        member.by_name(
            probabilities(member.net, member.preprocess.normalise(view(images)), member.source, say),
            names,
        )
        for member, images in zip(members, prepared, strict=True)
        for view in views
    ]
    return mean_probabilities(parts, [view.weight for view in views] * len(members))
