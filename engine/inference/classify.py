"""Classifying images with one trained network or several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.data.images import Image, load_cv2, read_image
from engine.errors import UserError
from engine.inference.ensemble import CHUNK, Member, ensemble_probabilities
from engine.inference.views import View
from engine.training.metrics import ranked_classes


@dataclass(frozen=True)
class Prediction:
    """What is said about one image: its label, the numbers of the likeliest classes, and `scores` (classes,), the
    probability of each, 0 … 1.
    """

    path: Path
    label: str
    ranked: tuple[int, ...]
    scores: NDArray[np.float32]

    @property
    def index(self) -> int:
        """The number of the label."""
        return self.ranked[0]

    @property
    def probability(self) -> float:
        """Of the label."""
        return float(self.scores[self.index])


@dataclass(frozen=True)
class Damaged:
    """An image that was passed over, and why."""

    path: Path
    error: str


def classify(
    members: Sequence[Member],
    paths: Sequence[Path],
    views: Sequence[View] = (),
    skip_damaged: bool = False,
    top: int = 1,
) -> Iterator[Prediction | Damaged]:
    """Predictions in the order of the paths, each with the `top` likeliest classes; each image is decoded once.

    UserError for one that is unreadable (with `skip_damaged` it is passed over) or does not give the input of a
    network, and where a network gives NaN or infinity.
    """
    load_cv2()  # what is wrong with OpenCV is wrong with no image
    for start in range(0, len(paths), CHUNK):
        damaged: dict[Path, str] = {}
        part: list[Path] = []
        prepared: list[list[Image]] = []
        for path in paths[start : start + CHUNK]:
            try:
                raw = read_image(path)
            except UserError as error:
                if not skip_damaged:
                    raise
                damaged[path] = str(error)
                continue
            part.append(path)
            prepared.append(prepared_for(members, raw, path))
        said = dict(zip(part, predictions(members, part, prepared, views, top), strict=True))
        for path in paths[start : start + CHUNK]:
            yield Damaged(path, damaged[path]) if path in damaged else said[path]


def prepared_for(members: Sequence[Member], raw: Image, path: Path) -> list[Image]:
    """For each member, the image as its preprocessing gives it, uint8 (C, H, W). UserError where that is not what its
    network takes."""
    images = [member.preprocess.prepare(raw) for member in members]
    for member, image in zip(members, images, strict=True):
        if image.shape != member.net.input_shape:
            raise UserError(
                f"{path}: gives an input of shape {image.shape}, the network in {member.source} takes "
                f"{member.net.input_shape}"
            )
    return images


def predictions(
    members: Sequence[Member],
    paths: Sequence[Path],
    prepared: Sequence[Sequence[Image]],
    views: Sequence[View] = (),
    top: int = 1,
) -> list[Prediction]:
    """What is said of images, no more than CHUNK, as `prepared_for` gives them. UserError where a network gives NaN or
    infinity."""
    if not paths:
        return []
    names = members[0].class_names
    say = [str(path) for path in paths].__getitem__
    scores = ensemble_probabilities(members, [np.stack(images) for images in zip(*prepared, strict=True)], views, say)
    ranked = ranked_classes(scores, top, say).tolist()
    return [
        Prediction(path, names[best[0]], tuple(best), row)
        for path, row, best in zip(paths, scores, ranked, strict=True)
    ]
