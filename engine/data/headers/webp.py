"""WebP (RFC 9649): a RIFF file with a chunk of pixels, or one VP8X chunk first and Exif among those behind it."""

from __future__ import annotations

import struct

from engine.data.headers.exif import orientation
from engine.data.headers.header import MAX_PARTS, Header, pixels

EXIF_FLAG = 0x08
EXIF_BYTES = 1 << 16
HELD = 10  # bytes per pixel while it is decoded


def read(data: bytes) -> Header:
    """The canvas of VP8X, else the size of the one image. Of an animation the decoder gives the first frame, or (before
    OpenCV 4.11) nothing.
    """
    (length,) = struct.unpack_from("<I", data, 4)
    turn = _exif(data) if data[12:16] == b"VP8X" and data[20:21] and data[20] & EXIF_FLAG else 1
    size = _size(data)
    cut_off = len(data) < 8 + length
    return Header("WebP", size, cut_off=cut_off, as_stored=True, orientation=turn, memory=HELD * pixels(size))


def _size(data: bytes) -> tuple[int, int] | None:
    name, body = data[12:16], data[20:30]
    if len(body) < 10:
        return None
    if name == b"VP8X":
        return 1 + int.from_bytes(body[7:10], "little"), 1 + int.from_bytes(body[4:7], "little")
    if name == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if name == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 6)
        return height & 0x3FFF, width & 0x3FFF
    return None


def _exif(data: bytes) -> int:
    place = 12
    for _ in range(MAX_PARTS):
        if place + 8 > len(data):
            break
        name, length = struct.unpack_from("<4sI", data, place)
        if name == b"EXIF":
            return orientation(data[place + 8 : place + 8 + min(length, EXIF_BYTES)])
        place += 8 + length + length % 2
    return 1
