"""Which images a command line means."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from engine.data.images import find_images
from engine.data.listing import is_folder, scan
from engine.errors import UserError

STANDARD_INPUT = Path("-")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def expanded(places: Sequence[Path], stream: TextIO | None = None) -> list[Path]:
    """The places with `-` replaced by the names on standard input: one on each line, or with a NUL behind each as
    `find -print0` writes them. UserError for `-` given twice, or an empty list.
    """
    if STANDARD_INPUT not in places:
        return list(places)
    if places.count(STANDARD_INPUT) > 1:
        raise UserError("-: standard input is given twice, and can be read once")
    source = stream or sys.stdin
    data = b"" if source is None else source.buffer.read().removeprefix(BYTE_ORDER_MARK)
    names = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    listed = [Path(os.fsdecode(name)) for name in names if name.strip()]
    if not listed:
        raise UserError("-: standard input names no images; expected the name of a file or folder on each line")
    place = places.index(STANDARD_INPUT)
    return [*places[:place], *listed, *places[place + 1 :]]


def images_of(places: Sequence[Path], recursive: bool, absent: bool = False) -> list[Path]:
    """The images to classify; UserError, which names --recursive where it would help, for a folder without any.

    absent: a file that is not there is an image too, of which its own row says so.
    """
    if not recursive:
        for place in places:
            if is_folder(place) and (found := scan(place)).folders and not found.images:
                raise UserError(
                    f"{place}: the folder holds no images, but folders ({found.folders[0].name}, …); "
                    "--recursive reads the images in them"
                )
    return find_images(places, recursive, absent)
