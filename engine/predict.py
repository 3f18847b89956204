"""Classify images with one trained network or several: `python -m engine.predict IMAGES --checkpoint F`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(
        "engine.predict",
        description="Classify images with a trained network: what training did to its images is done to these. "
        "Writes file, label and probability as CSV; with true labels also prints accuracy, macro-F1, mistakes and "
        "the confusion matrix (of more than 20 classes, the worst classes and most frequent confusions). Of a network "
        "that gives a class for each pixel, --out is a folder, which gets a map for each image and a table of shares.",
    )
    parser.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="IMAGES",
        help="image files, or folders of them; - reads their names from standard input, one on each line",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        action="append",
        help="a trained network, or a run folder (its best epoch); given several times, "
        "the mean of the networks' probabilities counts",
    )
    parser.add_argument(
        "--tta",
        metavar="VIEWS",
        help="test-time augmentation: flip, shift:PIXELS, diagonal:PIXELS and rotate:DEGREES with commas between them, "
        "such as flip,shift:1; the mean of the probabilities over all combinations counts",
    )
    parser.add_argument(
        "--config", type=Path, metavar="CONFIG.yaml", help="take the keys checkpoint_path and gt_csv from this file"
    )
    parser.add_argument(
        "--gt",
        type=Path,
        metavar="CSV|DIR",
        help="true labels: columns filename and label (or digit); for maps of labels a folder of masks",
    )
    parser.add_argument("--ignore", type=int, metavar="N", help="of masks: the number of pixels that do not count")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE|DIR",
        help="predictions (default: standard output); of a network that gives a class for each pixel the folder of the "
        "maps and their table",
    )
    parser.add_argument("--json", action="store_true", help="a JSON object on a line for each image, instead of CSV")
    parser.add_argument(
        "--top",
        type=int,
        metavar="K",
        help="the K likeliest classes: columns label_2, probability_2, …, or in JSON the list top; with true labels "
        "also the share of images whose class is among them",
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="the probability of every class: a column p(CLASS) for each, or in JSON the object probabilities",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="JSON",
        help="with true labels: accuracy, macro-F1, figures by class, the confusion matrix's cells that are not 0, and "
        "all mistakes",
    )
    parser.add_argument(
        "--mistakes",
        type=Path,
        metavar="CSV",
        help="with true labels: the files with a wrong label, the most confident first",
    )
    parser.add_argument("--recursive", action="store_true", help="read the folders inside the given ones too")
    parser.add_argument(
        "--skip-damaged",
        action="store_true",
        help="go on behind an image that cannot be read or is not there: its row has no label but the error, in "
        "a column of that name, and the exit status is 1",
    )
    return parser.parse_args(arguments)


def main() -> int:
    options = parse_arguments()
    from engine.recipe.prediction import predict  # only now: --help answers at once

    return predict(options)


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
