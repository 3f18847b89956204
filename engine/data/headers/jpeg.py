"""JPEG (ITU-T T.81, annex B): segments up to a start of scan, compressed data behind it, an end of image."""

from __future__ import annotations

import struct

from engine.data.headers.header import MAX_PARTS, TOO_MANY, Header, pixels

SIGNATURE = b"\xff\xd8"
END = b"\xff\xd9"
# Start of frame, the segment that holds the size; C4, C8 and CC are other segments.
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})  # without a length
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})  # their decoder holds the whole image as coefficients, too
END_OF_IMAGE, START_OF_SCAN = 0xD9, 0xDA


def read(data: bytes) -> Header:
    """The size, and whether an end of image follows the first scan. One in a segment before it does not count: it is
    that of a thumbnail (Exif's, Photoshop's), or chance. The decoder turns the image upright.
    """
    size, memory, place = None, 0, len(SIGNATURE)
    for _ in range(MAX_PARTS):
        if place + 4 > len(data):
            return Header("JPEG", size, cut_off=not data.endswith(END))
        if data[place] != 0xFF:  # bytes between segments, which decoders skip
            break
        marker = data[place + 1]
        if marker == 0xFF:  # a filling byte
            place += 1
            continue
        if marker in BARE_MARKERS:
            place += 2
            continue
        if marker == END_OF_IMAGE:
            return Header("JPEG", size, cut_off=size is not None)
        (length,) = struct.unpack_from(">H", data, place + 2)
        if size is None and marker in FRAME_MARKERS and length >= 8 and place + 10 <= len(data):
            height, width, channels = struct.unpack_from(">HHB", data, place + 5)
            size = height, width
            memory = pixels(size) * channels * (3 if marker in PROGRESSIVE else 2)
        place += 2 + max(length, 2)
        if marker == START_OF_SCAN:
            break
    else:
        return Header("JPEG", size, refused=TOO_MANY)
    return Header("JPEG", size, cut_off=data.find(END, place) < 0, memory=memory)
