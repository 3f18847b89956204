"""What the first bytes of a PNG, JPEG or BMP file tell, without decoding it: size, transparency, orientation, an end
that is cut off.

Layouts: PNG specification, third edition, 5.3 and 11; JPEG, ITU-T T.81, annex B; Exif 2.32, 4.6 (orientation, tag 274);
BMP, Windows' BITMAPFILEHEADER and BITMAPINFOHEADER.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8"
BMP_SIGNATURE = b"BM"
BMP_HEADER = 14 + 40  # bytes of both headers; OS/2's older, shorter one is not read
GREY_ALPHA, COLOUR_ALPHA = 4, 6  # colour types of a PNG's header, byte 25
# Start of frame, the JPEG segment that holds the size; C4, C8 and CC are other segments.
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})  # JPEG markers without a length
END_MARKERS = frozenset({0xD9, 0xDA})  # end of image; start of scan, behind which compressed data follow
ORIENTATION_TAG, SHORT = 274, 3


def image_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) that the header states, before any rotation; None for other files and without a size."""
    if data.startswith(PNG_SIGNATURE):
        if data[12:16] != b"IHDR" or len(data) < 26:
            return None
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    if data.startswith(BMP_SIGNATURE):
        return _bmp_size(data)
    for marker, start, end in _segments(data):
        if marker in FRAME_MARKERS and end - start >= 5:
            height, width = struct.unpack_from(">HH", data, start + 1)
            return height, width
    return None


def _bmp_size(data: bytes) -> tuple[int, int] | None:
    """A negative height means that the rows begin at the top."""
    if len(data) < BMP_HEADER or struct.unpack_from("<I", data, 14)[0] < BMP_HEADER - 14:
        return None
    width, height = struct.unpack_from("<ii", data, 18)
    return (abs(height), width) if width > 0 and height else None


def is_transparent(data: bytes) -> bool:
    """True for a PNG with an alpha channel or a tRNS chunk."""
    if not data.startswith(PNG_SIGNATURE) or len(data) < 26:
        return False
    return data[25] in (GREY_ALPHA, COLOUR_ALPHA) or b"tRNS" in data[: max(data.find(b"IDAT"), 0)]


def is_grey(data: bytes) -> bool:
    """True for a PNG that is stored grey, with or without transparency."""
    return data.startswith(PNG_SIGNATURE) and len(data) > 25 and data[25] in (0, GREY_ALPHA)


def is_cut_off(data: bytes) -> bool:
    """True for a PNG or JPEG without its end marker, or a BMP shorter than its rows: decoders do not complain."""
    if data.startswith(PNG_SIGNATURE):
        return b"IEND" not in data[-32:]
    if data.startswith(JPEG_SIGNATURE):
        return b"\xff\xd9" not in data[2:]
    size = _bmp_size(data) if data.startswith(BMP_SIGNATURE) else None
    if size is None:
        return False
    (first,), (bits, compression) = struct.unpack_from("<I", data, 10), struct.unpack_from("<HI", data, 28)
    row = (size[1] * bits + 31) // 32 * 4  # rows end at whole words of 32 bits
    return len(data) < first + (0 if compression else row * size[0])


def png_orientation(data: bytes) -> int:
    """Exif orientation, 1 to 8, of a PNG with an eXIf chunk before its pixels; 1, upright, where it has none."""
    start = data.find(b"eXIf", 0, max(data.find(b"IDAT"), 0))
    return 1 if start < 0 else _exif_orientation(data[start + 4 :])


def _exif_orientation(exif: bytes) -> int:
    """The tag in the first directory of a TIFF header; 1 where it is missing or damaged."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (place,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, place)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, place + 2 + 12 * entry)
            if tag == ORIENTATION_TAG:
                return value if kind == SHORT and 1 <= value <= 8 else 1
    except struct.error:
        pass  # the directory points beyond its end
    return 1


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end of its content) of a JPEG's segments up to the compressed data; nothing for other files."""
    if not data.startswith(JPEG_SIGNATURE):
        return
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            return
        marker = data[place + 1]
        if marker == 0xFF:  # a filling byte
            place += 1
        elif marker in BARE_MARKERS:
            place += 2
        elif marker in END_MARKERS:
            return
        else:
            (length,) = struct.unpack_from(">H", data, place + 2)
            yield marker, place + 4, min(place + 2 + length, len(data))
            place += 2 + max(length, 2)
