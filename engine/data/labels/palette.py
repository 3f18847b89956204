"""Maps of labels as pictures: a PNG whose pixels are the numbers of classes, with colours for who looks at it."""

from __future__ import annotations

import struct
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.data.headers.png import PALETTE, SIGNATURE, chunk
from engine.data.labels.files import LabelMap

NONE, DEFLATE = 0, 0  # the filter of a row, and the one compression that there is
LEVEL = 6


@cache
def _colours() -> bytes:
    return bytes(colours().reshape(-1))


def colours() -> NDArray[np.uint8]:
    """A colour for each number, (256, 3), red first: those of PASCAL VOC (Everingham et al. 2015), in which the bits of
    the number, three at a time from the lowest, are the bits of red, green and blue from the highest."""
    numbers = np.arange(256)
    found = np.zeros((256, 3), np.int64)
    for place in range(8):
        for channel in range(3):
            found[:, channel] |= (numbers >> channel & 1) << (7 - place)
        numbers = numbers >> 3
    return found.astype(np.uint8)


def encoded(numbers: LabelMap) -> bytes:
    """A map (H, W) as a PNG of a palette: the same bytes for the same map with one version of zlib."""
    height, width = numbers.shape
    rows = np.insert(numbers, 0, NONE, axis=1)  # each begins with its filter
    header = struct.pack(">IIBBBBB", width, height, 8, PALETTE, DEFLATE, 0, 0)
    pixels = zlib.compress(rows.tobytes(), LEVEL)
    parts = [chunk(b"IHDR", header), chunk(b"PLTE", _colours()), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(parts)
