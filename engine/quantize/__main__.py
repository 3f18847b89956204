"""A trained network with integers in place of float32: `python -m engine.quantize NET IMAGES OUT.safetensors`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cli import command_parser, run
from engine.errors import UserError

SCALES, ENDS = ("power_of_two", "free"), ("int8", "float")
MOST = 512  # images that are calibrated with, unless another number is given


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(
        "engine.quantize",
        description="Write a trained network with int8 weights and uint8 values, which predicts with integer "
        "arithmetic. Images like those that it will see tell how large its values become.",
    )
    parser.add_argument("network", metavar="NET", help="a .safetensors checkpoint, or a run folder (its best epoch)")
    parser.add_argument(
        "images",
        type=Path,
        metavar="IMAGES",
        help="a folder of images, or a .csv file with a column filename, of files beside it; no label is used",
    )
    parser.add_argument("out", type=Path, metavar="OUT.safetensors", help="the file to write")
    parser.add_argument(
        "--scales",
        choices=SCALES,
        default=SCALES[0],
        help="power_of_two: every runtime gives the same bits (default); free: a little finer",
    )
    parser.add_argument(
        "--calibrate",
        default="error",
        metavar="WAY",
        help="how a range is chosen: error, what loses the least (default); minmax, what was seen; percentile, or a "
        "number such as 99.9",
    )
    parser.add_argument(
        "--first", choices=ENDS, default=ENDS[0], help="float: leave the first layer with weights as it is"
    )
    parser.add_argument(
        "--last", choices=ENDS, default=ENDS[0], help="float: leave the last layer with weights as it is"
    )
    parser.add_argument(
        "--weight-bits", type=int, choices=(8, 7), default=8, help="7 for runtimes whose sums saturate (default: 8)"
    )
    parser.add_argument(
        "--most", type=int, default=MOST, metavar="N", help=f"images to take, spread evenly over all (default: {MOST})"
    )
    parser.add_argument("--recursive", action="store_true", help="read the folders inside the given one too")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_arguments()
    # Only now: --help answers at once.
    from engine.inference.quantizing import quantize_by_images
    from engine.recipe.build import open_network

    if options.out.suffix.lower() != ".safetensors":
        raise UserError(f"{options.out}: the file's name must end in .safetensors")
    quantize_by_images(open_network(options.network, ()), options)


def command() -> int:
    """The installed script."""
    return run(main)


if __name__ == "__main__":
    sys.exit(command())
