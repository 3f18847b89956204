"""A class for every pixel of an image, by one trained network, at the size that the image has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.data.images import load_cv2, read_image
from engine.data.labels.files import MOST, LabelMap
from engine.data.labels.prepared import check_preparable
from engine.data.preprocess import Preprocess
from engine.data.steps import Pad
from engine.errors import UserError
from engine.inference.classify import Damaged
from engine.inference.ensemble import class_names, preprocess_of
from engine.quantize.network import AnyNetwork, first_nonfinite
from engine.training.metrics import check_scores, evaluation_chunk

CHUNK = 32  # images whose scores are in memory at a time; fewer where these are many


@dataclass(frozen=True)
class Segmenter:
    """A network that gives a score of each class for every pixel; `source` names it in messages."""

    source: str
    net: AnyNetwork
    preprocess: Preprocess

    @property
    def class_names(self) -> list[str]:
        return class_names(self.net)


@dataclass(frozen=True)
class Segmented:
    """What is said about one image: the number of a class for each of its pixels, uint8 (H, W)."""

    path: Path
    numbers: LabelMap


def segmenter(path: Path, net: AnyNetwork) -> Segmenter:
    """The network of a checkpoint.

    UserError where it knows no preprocessing, or one that leaves places behind, gives no class for each pixel, or holds
    numbers that are not finite.
    """
    preprocess = preprocess_of(path, net)
    check_preparable(str(path), preprocess, MOST)  # what masks cannot follow, a map cannot be brought back from
    if len(net.output_shape) != 3 or net.output_shape[0] < 2:
        raise UserError(
            f"{path}: the network gives no class for each pixel, its output has shape {net.output_shape}, expected "
            "(classes, H, W) with two classes or more"
        )
    if net.output_shape[0] > MOST + 1:
        raise UserError(f"{path}: the network has {net.output_shape[0]} classes, but a map has {MOST + 1} at most")
    if damaged := first_nonfinite(net):
        raise UserError(f"{path}: {damaged} holds NaN or infinite values, so nothing can be said of an image")
    return Segmenter(str(path), net, preprocess)


def segment(network: Segmenter, paths: Sequence[Path], skip_damaged: bool = False) -> Iterator[Segmented | Damaged]:
    """Maps in the order of the paths; each image is decoded once.

    UserError for one that is unreadable (with `skip_damaged` it is passed over) or does not give the network's input,
    and where the network gives NaN or infinity.
    """
    load_cv2()  # what is wrong with OpenCV is wrong with no image
    net, preprocess = network.net, network.preprocess
    chunk = min(CHUNK, evaluation_chunk(net.output_shape))
    for start in range(0, len(paths), chunk):
        part: list[Path | Damaged] = []
        inputs: list[NDArray[np.uint8]] = []
        sizes: list[tuple[int, int]] = []
        for path in paths[start : start + chunk]:
            try:
                raw = read_image(path)
            except UserError as error:
                if not skip_damaged:
                    raise
                part.append(Damaged(path, str(error)))
                continue
            inputs.append(preprocess.prepare(raw))
            if inputs[-1].shape != net.input_shape:
                raise UserError(
                    f"{path}: gives an input of shape {inputs[-1].shape}, the network in {network.source} takes "
                    f"{net.input_shape}"
                )
            sizes.append((raw.shape[0], raw.shape[1]))
            part.append(path)
        scores: Iterator[NDArray[np.float32]] = iter(())
        if inputs:
            read = [each for each in part if isinstance(each, Path)]
            outputs = net.predict(preprocess.normalise(np.stack(inputs)))
            check_scores(outputs, lambda index: f"{network.source}, image {read[index]}")  # noqa: B023 (called here)
            scores = iter(outputs)
        places = iter(sizes)
        for each in part:
            if isinstance(each, Damaged):
                yield each
            else:
                yield Segmented(each, at_image_size(next(scores), next(places), preprocess))


def at_image_size(scores: NDArray[np.float32], size: tuple[int, int], preprocess: Preprocess) -> LabelMap:
    """The class of the largest score at each pixel of an image of this (height, width), the first of equal ones.

    scores: (classes, h, w) of the image as `preprocess` prepared it; they are interpolated to the image's size, without
    the borders that the step `pad` gave it.
    """
    padded = any(isinstance(step, Pad) for step in preprocess.steps)
    height, width = (max(size), max(size)) if padded else size
    if scores.shape[1:] == (height, width):
        numbers = scores.argmax(axis=0).astype(np.uint8)
    else:
        cv2 = load_cv2()
        numbers = np.zeros((height, width), np.uint8)
        best: NDArray[np.float32] | None = None
        for number, plane in enumerate(scores):  # one after the other: all at once may take much memory
            larger = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
            if best is None:
                best = larger
                continue
            numbers[larger > best] = number
            best = np.maximum(best, larger)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return np.ascontiguousarray(numbers[top : top + size[0], left : left + size[1]])
