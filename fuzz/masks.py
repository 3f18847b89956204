"""Masks: PNGs of class numbers, what of their header and pixels is let through.

A mask that is accepted is a number for each pixel of the size that its header said.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache

import numpy as np

from engine.data.headers import png, read_header
from engine.data.labels import palette
from engine.data.labels.files import read_label_map
from fuzz.images import mutate as mutate
from fuzz.promises import promised, quiet, scratch

PATH = scratch() / "a.mask"
NUMBERS = (np.arange(5 * 8) % 7).astype(np.uint8).reshape(5, 8)


def _grey(depth: int) -> bytes:
    """The numbers in a grey PNG of so many bits: 1, 8 or 16."""
    kinds = {1: np.packbits(NUMBERS % 2, axis=1), 8: NUMBERS, 16: NUMBERS.astype(">u2")}
    rows = b"".join(b"\0" + row.tobytes() for row in kinds[depth])
    header = struct.pack(">IIBBBBB", 8, 5, depth, png.GREY, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return png.SIGNATURE + b"".join(png.chunk(*each) for each in parts)


@cache
def _stored() -> dict[str, bytes]:
    return {"palette": palette.encoded(NUMBERS), **{f"grey {depth}": _grey(depth) for depth in (1, 8, 16)}}


def corpus() -> dict[str, bytes]:
    """A mask of every form."""
    return dict(_stored())


def run(data: bytes) -> None:
    PATH.write_bytes(data)
    with promised(data), quiet():
        numbers = read_label_map(PATH)
        header = read_header(data)
        assert header is not None and numbers.dtype == np.uint8
        assert numbers.shape == header.size, (numbers.shape, header)
