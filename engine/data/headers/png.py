"""PNG (specification, third edition, 5.3 and 11): chunks of length, name, content, checksum, up to IEND."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from engine.data.headers.exif import orientation
from engine.data.headers.header import MAX_PARTS, TOO_MANY, Header, pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6  # colour types
# The bits of a value that each of them may have (11.2.1, table 12).
DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    COLOUR: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    COLOUR_ALPHA: (8, 16),
}
EXIF_BYTES = 1 << 16
# Of animations. The image itself need not be one of their frames, and decoders may then give the first of these.
ANIMATION = (b"acTL", b"fcTL", b"fdAT")


def read(data: bytes) -> Header:
    """The orientation is that of the first eXIf chunk, before the pixels or behind them. What follows IEND is no part
    of the image. A transparent colour of a grey image is given as the decoder widens it: 1, 2 and 4 bits to 8.
    """
    turn, clear, transparent, begun, ended = None, b"", False, False, False
    parts = 0
    hidden: list[tuple[int, int]] = []
    for name, start, end in _chunks(data):
        parts += 1
        if name in ANIMATION:
            hidden.append((start - 8, end + 4))
        if name == b"IDAT":
            begun = True
        elif name == b"tRNS" and not begun:
            clear, transparent = data[start : min(end, start + 2)], True
        elif name == b"eXIf" and turn is None:
            turn = orientation(data[start : min(end, start + EXIF_BYTES)])
        elif name == b"IEND":
            ended = True
    if data[12:16] != b"IHDR" or len(data) < 26:
        return Header("PNG", None, not ended)
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if depth not in DEPTHS.get(colour, ()):
        return Header("PNG", (height, width), not ended, f"it has {depth} bits a value in the colour type {colour}")
    grey = colour in (GREY, GREY_ALPHA)
    as_stored = transparent or colour in (GREY_ALPHA, COLOUR_ALPHA)
    values = 1 if colour == GREY else 4 if as_stored else 3
    return Header(
        "PNG",
        (height, width),
        cut_off=not ended and parts < MAX_PARTS,
        refused=TOO_MANY if parts >= MAX_PARTS else "",
        as_stored=as_stored,
        grey=grey,
        clear=_widened(clear, depth) if colour == GREY and len(clear) == 2 else None,
        orientation=turn or 1,
        memory=pixels((height, width)) * 2 * values * (2 if as_stored and depth == 16 else 1),
        hidden=tuple(hidden),
    )


def numbers_of(data: bytes) -> tuple[bytes, int] | None:
    """For a PNG of one value a pixel (grey, or of a palette): a grey PNG that has these values for its pixels, and how
    many bits each has. Palette, transparency and all that viewers heed is left out. None for a PNG of colours or alpha,
    or one whose header is damaged.
    """
    parts, depth = [SIGNATURE], 0
    for name, start, end in _chunks(data):
        if (name == b"IHDR") != (depth == 0):
            return None  # the header comes first, and once
        if name == b"IHDR":
            header, sum_ = data[start:end], data[end : end + 4]
            if len(header) != 13 or header[9] not in (GREY, PALETTE) or zlib.crc32(name + header) != _number(sum_):
                return None
            depth = header[8]
            if depth not in DEPTHS[header[9]]:
                return None
            parts.append(chunk(name, header[:9] + bytes([GREY]) + header[10:]))
        elif name in (b"IDAT", b"IEND"):
            parts.append(data[start - 8 : end + 4])
    return (b"".join(parts), depth) if depth else None


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk as it stands in a file: length, name, content, checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end of the content) of each chunk that is whole, up to IEND or MAX_PARTS."""
    place = len(SIGNATURE)
    for _ in range(MAX_PARTS):
        if place + 8 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, place)
        start, place = place + 8, place + 12 + length
        # The one that ends the file is empty. Decoders make room for the length before they look for the content.
        if place <= len(data) or (name == b"IEND" and not length):
            yield name, start, start + length
        if name == b"IEND":
            return


def _widened(value: bytes, depth: int) -> int:
    """The bits of the value that count, as the decoder gives them."""
    most = (1 << depth) - 1
    stored = int.from_bytes(value, "big") & most
    return stored if depth >= 8 else stored * 255 // most
