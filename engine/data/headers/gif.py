"""GIF (version 89a, sections 17 to 27): a screen, then blocks up to a trailer."""

from __future__ import annotations

import struct

from engine.data.headers.header import MAX_PARTS, TOO_MANY, Header, pixels

SIGNATURES = (b"GIF87a", b"GIF89a")
IMAGE, EXTENSION, TRAILER = 0x2C, 0x21, 0x3B
HELD = 13  # bytes per pixel while it is decoded


def read(data: bytes) -> Header:
    """The screen, of which the decoder gives the first frame; cut off where no trailer follows the blocks."""
    if len(data) < 13:
        return Header("GIF", None, cut_off=True)
    width, height = struct.unpack_from("<HH", data, 6)
    place, parts = 13 + _table(data[10]), 0
    while place < len(data) and data[place] in (IMAGE, EXTENSION):
        image = data[place] == IMAGE
        place += 2
        if image:
            if place + 8 >= len(data):
                break
            place += 9 + _table(data[place + 7])  # the rest of its descriptor, its colours, the size of its first code
        while place < len(data) and data[place] and parts < MAX_PARTS:
            place, parts = place + 1 + data[place], parts + 1
        place += 1
        parts += 1
        if parts >= MAX_PARTS:
            return Header("GIF", (height, width), refused=TOO_MANY)
    ended = place < len(data) and data[place] == TRAILER
    size = height, width
    return Header("GIF", size, cut_off=not ended, as_stored=True, orientation=1, memory=HELD * pixels(size))


def _table(flags: int) -> int:
    """Bytes of a colour table with these flags."""
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0
