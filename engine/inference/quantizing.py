"""Quantising a network with images from files, as the command `python -m engine.quantize` asks for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.data.images import load_cv2, read_image
from engine.data.readers.tables import read_csv
from engine.errors import UserError
from engine.inference.ensemble import CHUNK, preprocess_of
from engine.inference.places import images_of
from engine.network.network import Network
from engine.quantize.build import quantize


def quantize_by_images(net: Network, options: argparse.Namespace) -> None:
    """Write the quantised network, and print how large it is and how often it says the same. UserError, before anything
    is written, for what cannot be."""
    if options.most < 1:
        raise UserError(f"--most: expected 1 or more, got {options.most}")
    paths = images_named(options.images, options.recursive)
    if options.out.resolve() in {path.resolve() for path in (*paths, options.images, Path(options.network))}:
        raise UserError(f"{options.out}: is read, and would be written over")
    places = np.linspace(0, len(paths) - 1, min(options.most, len(paths))).round().astype(int)
    samples = prepared(net, options.network, [paths[place] for place in places])
    made = quantize(
        net,
        samples,
        scales=options.scales,
        calibrate=calibration(options.calibrate),
        first=options.first,
        last=options.last,
        weight_bits=options.weight_bits,
    )
    made.save(options.out)
    answers = [each.predict(samples, batch_size=CHUNK).argmax(axis=1) for each in (made, net)]
    print(
        f"written: {options.out}: {made.weight_bytes:,} bytes of weights in place of {4 * net.num_parameters:,}; of "
        f"the {len(samples):,} images that it was calibrated with it says the same as before of "
        f"{np.mean(answers[0] == answers[1]):.1%}"
    )


def calibration(text: str) -> str | float:
    """A way of choosing ranges: its name, or a percentile."""
    try:
        return float(text)
    except ValueError:
        return text


def images_named(source: Path, recursive: bool) -> list[Path]:
    """The images of a folder, or those in the column `filename` of a table, which lie beside it. UserError for none."""
    if source.suffix.lower() == ".csv" and not source.is_dir():
        rows = read_csv(source, ["filename"])
        paths = [source.parent / row["filename"] for _, row in rows]
    else:
        paths = images_of([source], recursive)
    if not paths:
        raise UserError(f"{source}: names no images")
    return paths


def prepared(net: Network, source: str, paths: Sequence[Path]) -> np.ndarray:
    """The images as the network takes them, float32 (N, *input_shape). UserError for one that is unreadable or gives
    another shape, and for a network that does not say what is done to images."""
    preprocess = preprocess_of(source, net)
    load_cv2()  # what is wrong with OpenCV is wrong with no image
    images = []
    for path in paths:
        images.append(preprocess.prepare(read_image(path)))
        if images[-1].shape != net.input_shape:
            raise UserError(f"{path}: gives an input of shape {images[-1].shape}, the network takes {net.input_shape}")
    return preprocess.normalise(np.stack(images))
