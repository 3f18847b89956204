"""Masks of digits: which pixels are ink and which are sheet, from real images, for networks that label every pixel.

    python -m experiments.methods.digit_masks FOLDER                      # NumtaDB, from CNN_DATA
    python -m experiments.methods.digit_masks FOLDER --source digits5k    # the digits that come with the package

writes FOLDER/train and FOLDER/test, each with images/ and masks/, as the data set `segmentation` takes them. A pixel is
ink (1) where it differs from the paper by more than Otsu's threshold (1979), sheet (0) where it differs by less, and of
the number 255, which is not to count, within 16 grey levels of the threshold: there nobody can tell. An image without
ink, or with ink on less than 1 % or more than 40 % of it (pictures on dark paper, with shadows or with frames), has no
mask to trust and is left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.cli import command_parser, run
from engine.data.digits import digits_on_sheets
from engine.data.images import Image, ImageFiles, load_cv2, read_image
from engine.data.labels import palette
from engine.data.location import data_root
from engine.data.readers import read_dataset
from engine.data.steps import MIN_CONTRAST, paper_of
from engine.draws import epoch_order
from engine.errors import UserError
from engine.files import naming

CLASSES = ("sheet", "ink")
IGNORE = 255
DOUBT = 16  # grey levels round the threshold
INK_SHARES = (0.01, 0.4)  # of an image
PARTS = {"train": "abc", "test": "d"}  # of NumtaDB
COUNTS = {"numtadb": (4000, 1000), "digits5k": (800, 200)}  # training and test images

Sample = tuple[str, Callable[[], Image], Callable[[], bytes]]
"""The name of a sample's file, its image, and the bytes of that file."""


def ink_map(image: Image) -> NDArray[np.uint8] | None:
    """1 where there is ink, 0 on the sheet, IGNORE in doubt, (H, W); None for an image without a mask to trust."""
    cv2 = load_cv2()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    strength = cv2.absdiff(grey, np.full_like(grey, paper_of(grey)[0]))
    if strength.max() < MIN_CONTRAST:
        return None
    threshold, _ = cv2.threshold(strength, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    numbers = (strength > threshold).astype(np.uint8)
    if not INK_SHARES[0] <= numbers.mean() <= INK_SHARES[1]:
        return None
    numbers[np.abs(strength.astype(np.int64) - int(threshold)) < DOUBT] = IGNORE
    return numbers


def numtadb(root: Path | None, part: str, seed: int) -> Iterator[Sample]:
    """The images of a part of NumtaDB in an order drawn by `seed`."""
    images = read_dataset("numtadb", root, {"parts": PARTS[part]}).images
    assert isinstance(images, ImageFiles)
    for index in epoch_order(len(images), seed, 0):
        path = images.paths[index]
        yield path.name, partial(read_image, path), path.read_bytes


def packaged(part: str, seed: int) -> Iterator[Sample]:
    """The packaged digits on sheets; the last fifth of them in the drawn order are the test part."""
    sheets, _ = digits_on_sheets(seed)
    order = epoch_order(len(sheets), seed, 0)
    first_of_test = 4 * len(order) // 5
    for index in order[:first_of_test] if part == "train" else order[first_of_test:]:
        yield f"digit{index:04}.png", partial(np.asarray, sheets[index]), partial(_png, sheets[index])


def _png(image: Image) -> bytes:
    return bytes(load_cv2().imencode(".png", image)[1])


def write_part(folder: Path, samples: Iterator[Sample], count: int) -> int:
    """Write `count` images with their masks; returns how many were left out on the way. UserError where there are not
    so many."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    written = left = 0
    for name, image, content in samples:
        if written == count:
            break
        numbers = ink_map(image())
        if numbers is None:
            left += 1
            continue
        (folder / "images" / name).write_bytes(content())
        (folder / "masks" / f"{Path(name).stem}.png").write_bytes(palette.encoded(numbers))
        written += 1
    if written < count:
        raise UserError(f"{folder.name}: asked for {count} images with masks, but there are {written}")
    return left


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(
        "experiments.methods.digit_masks",
        description="Write images of digits and masks of their ink, as the data set `segmentation` takes them.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where train/ and test/ go; it must not exist")
    parser.add_argument("--source", choices=("numtadb", "digits5k"), default="numtadb", help="default: %(default)s")
    parser.add_argument("--train", type=int, metavar="N", help="training images (default: 4000, of digits5k 800)")
    parser.add_argument("--test", type=int, metavar="N", help="test images (default: 1000, of digits5k 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default: %(default)s)")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_arguments()
    out: Path = options.folder
    if out.exists():
        raise UserError(f"{out}: is there already; name a folder that is not")
    counts = dict(zip(PARTS, COUNTS[options.source]))
    counts |= {part: getattr(options, part) for part in PARTS if getattr(options, part) is not None}
    for part, count in counts.items():
        if count < 1:
            raise UserError(f"--{part} must be 1 or more, got {count}")
    root = data_root(options.data_root, None)
    out.parent.mkdir(parents=True, exist_ok=True)
    with naming(out), tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        made = Path(folder) / out.name
        for part, count in counts.items():
            samples = (
                packaged(part, options.seed) if options.source == "digits5k" else numtadb(root, part, options.seed)
            )
            left = write_part(made / part, samples, count)
            print(f"{out / part}: {count} images with masks; {left} left out that have none to trust")
        made.rename(out)


if __name__ == "__main__":
    sys.exit(run(main))
