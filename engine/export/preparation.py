"""How the images of a network were prepared: in words, and as factors of the channels."""

from __future__ import annotations

import numpy as np

from engine.data.preprocess import Preprocess
from engine.quantize.network import AnyNetwork


def preprocess_of(network: AnyNetwork) -> Preprocess | None:
    return Preprocess.from_dict(network.preprocess) if network.preprocess else None


def in_words(network: AnyNetwork) -> str:
    """What was done to an image before the network saw it, in words."""
    how = preprocess_of(network)
    if how is None:
        return "The checkpoint does not say how images were prepared."
    parts = ["red, green, blue" if how.colour else "grey"]
    if how.steps:
        parts.append("after the image steps " + ", ".join(str(step) for step in network.preprocess["steps"]))  # type: ignore[index]
    if how.size:
        parts.append(f"resized to {how.size[0]} x {how.size[1]} (height x width)")
    if how.per_image:
        parts.append("each image stretched to 0..255")
    if how.standardise == "image":
        parts.append("each image minus its mean, divided by its standard deviation")
    if how.scale != "none" and how.standardise == "none":
        parts.append(f"bytes scaled to {how.scale}")
    if how.mean or how.std:
        parts.append(f"minus {list(how.mean or (0.0,))}, divided by {list(how.std or (1.0,))}")
    return "Trained on images so: " + "; ".join(parts) + "."


def factors_of(network: AnyNetwork) -> tuple[list[float], list[float]] | None:
    """(scale, offset) of each channel, where they are the same for all images."""
    how = preprocess_of(network)
    shape = network.input_shape
    if how is None or how.per_sample or how.standardise == "set" or len(shape) != 3 or how.channels != shape[0]:
        return None
    scale, offset = how.factors(np.zeros((1, *shape), np.uint8))
    return scale.tolist(), offset.tolist()
