"""A trained network with samples of the data that its run folder names, for the checks of quantised networks."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset
from engine.data.location import data_root
from engine.errors import UserError
from engine.network.load import load
from engine.network.network import Network
from engine.recipe.config import load_config
from engine.recipe.samples import load_data
from engine.training.folder import find_checkpoint


@dataclass(frozen=True)
class Trained:
    """A trained network, samples of its training part to calibrate with, and the images and labels of its test part, as
    the network takes them."""

    name: str
    net: Network
    samples: NDArray[np.float32]
    images: NDArray[np.float32]
    labels: NDArray[np.int64]


def opened(path: Path, root: Path | None, count: int, most: int) -> Trained:
    """What a run folder names. UserError for a run without a test part."""
    config = load_config(path / "config.yaml")
    train, _, test = load_data(config, data_root(root, config.data_root), f"{path}: ")
    if test is None:
        raise UserError(f"{path}: its configuration names no test data")
    net = load(find_checkpoint(path))
    samples, (images, labels) = inputs(train, count)[0], inputs(test.with_classes(train.class_names), most)
    return Trained(f"{config.model.name or 'layers'} ({config.dataset.name})", net, samples, images, labels)


def inputs(data: Dataset, most: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """So many samples, spread evenly over the set, as the network takes them, and their labels."""
    places = np.linspace(0, len(data) - 1, min(most, len(data))).round().astype(int)
    images: Any = data.images[places]
    if images.dtype == np.uint8:
        assert data.preprocess is not None
        images = data.preprocess.normalise(images)
    return images, data.labels[places].astype(np.int64)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How many samples, and where the data are."""
    parser.add_argument("--samples", type=int, default=512, metavar="N", help="to calibrate with (default: 512)")
    parser.add_argument(
        "--test", type=int, default=10_000, metavar="N", help="of the test part, at most (default: 10000)"
    )
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder that holds the data sets")


def check_counts(options: argparse.Namespace) -> None:
    """UserError where no sample is asked for."""
    if min(options.samples, options.test) < 1:
        raise UserError("--samples and --test: expected 1 or more")
