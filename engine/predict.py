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
        "Writes file, label and probability as CSV; with true labels also prints accuracy, macro-F1 and the "
        "confusion matrix.",
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGES", help="image files, or folders of them")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        action="append",
        help="a trained network; given several times, the mean of the networks' probabilities counts",
    )
    parser.add_argument(
        "--tta",
        metavar="VIEWS",
        help="test-time augmentation: flip, shift:PIXELS and rotate:DEGREES with commas between them, such as "
        "flip,shift:1; the mean of the probabilities over all combinations counts",
    )
    parser.add_argument(
        "--config", type=Path, metavar="CONFIG.yaml", help="take the keys checkpoint_path and gt_csv from this file"
    )
    parser.add_argument("--gt", type=Path, metavar="CSV", help="true labels: columns filename and label (or digit)")
    parser.add_argument("--out", type=Path, metavar="CSV", help="predictions (default: standard output)")
    parser.add_argument("--recursive", action="store_true", help="read the folders inside the given ones too")
    parser.add_argument(
        "--skip-damaged",
        action="store_true",
        help="go on behind an image that cannot be read: its row has no label but the error, in a column of that name, "
        "and the exit status is 1",
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
