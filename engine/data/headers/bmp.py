"""BMP (Windows' BITMAPFILEHEADER and BITMAPINFOHEADER). OS/2's older, shorter header is not read."""

from __future__ import annotations

import struct

from engine.data.headers.header import Header, pixels

SIGNATURE = b"BM"
HELD = 8  # bytes per pixel while it is decoded
BYTES = 14 + 40  # of both headers
BIT_FIELDS, ALPHA_MASK = (3, 6), 66  # compressions whose header, of 56 bytes or more, has masks of the channels


def read(data: bytes) -> Header:
    """A negative height means that the rows begin at the top. Rows end at whole words of 32 bits. The fourth byte of a
    pixel is alpha only where a mask says so.
    """
    if len(data) < BYTES or (length := struct.unpack_from("<I", data, 14)[0]) < BYTES - 14:
        return Header("BMP", None)
    width, height = struct.unpack_from("<ii", data, 18)
    if width <= 0 or not height:
        return Header("BMP", None)
    (first,), (bits, compression) = struct.unpack_from("<I", data, 10), struct.unpack_from("<HI", data, 28)
    row = (width * bits + 31) // 32 * 4
    masked = compression in BIT_FIELDS and bits == 32 and length >= 56
    return Header(
        "BMP",
        (abs(height), width),
        cut_off=len(data) < first + (row * abs(height) if masked or not compression else 0),
        as_stored=masked and data[ALPHA_MASK : ALPHA_MASK + 4] != bytes(4),
        unused_alpha=True,
        orientation=1,
        memory=HELD * pixels((abs(height), width)),
    )
