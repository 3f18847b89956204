"""TIFF (revision 6.0): the first directory says what the first image is. BigTIFF is not read."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from engine.data.headers.exif import Tags, read_tags
from engine.data.headers.header import MAX_PARTS, Header, pixels

SIGNATURES = (b"II*\0", b"MM\0*")
WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA, FORMAT = 256, 257, 258, 262, 277, 284, 338, 339
# Where the parts lie, and how long each is: strips, or tiles.
PARTS = ((273, 279), (324, 325))
TILE = (322, 323)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
UNSIGNED, UNDEFINED = 1, 4
ASSOCIATED, UNASSOCIATED = 1, 2  # kinds of alpha
MOST_TILE = 1 << 26  # pixels
HELD, HELD_WIDE = 7, 4  # bytes per pixel while it is decoded; per channel of 16 bits


def read(data: bytes) -> Header:
    """8 and 16 bits, grey, colour or palette, with alpha of 8 bits multiplied in by the decoder, which also turns the
    image upright. Refused is what it decodes wrong or not at all.
    """
    try:
        tags = read_tags(data, MAX_PARTS)
    except struct.error:
        return Header("TIFF", None, cut_off=True)
    width, height = _one(tags, WIDTH, 0), _one(tags, HEIGHT, 0)
    if not width or not height:
        return Header("TIFF", None)
    bits, extra = tags.get(BITS, (1,)), _one(tags, EXTRA, 0)
    tile = _one(tags, TILE[0], 0) * _one(tags, TILE[1], 0)  # may be larger than the image
    photometric = _one(tags, PHOTOMETRIC, BLACK_IS_ZERO)
    wide = bits[0] == 16
    held = max(HELD, HELD_WIDE * _one(tags, SAMPLES, 1)) if wide else HELD
    return Header(
        "TIFF",
        (height, width),
        cut_off=_cut_off(data, tags),
        refused=_refused(tags, bits, photometric),
        # Inverted 16 bits are put right only on the decoder's way to 8; a fourth channel without a meaning is left out.
        as_stored=photometric in (BLACK_IS_ZERO, RGB) and (wide or extra in (ASSOCIATED, UNASSOCIATED)),
        premultiplied=not wide or extra == ASSOCIATED,
        memory=held * (pixels((height, width)) + tile),
    )


def _one(tags: Tags, tag: int, default: int) -> int:
    return next(iter(tags.get(tag, ())), default)


def _cut_off(data: bytes, tags: Tags) -> bool:
    for starts, lengths in PARTS:
        if starts in tags and lengths in tags:
            return any(start + length > len(data) for start, length in zip(tags[starts], tags[lengths]))
    return False


def _refused(tags: Tags, bits: Sequence[int], photometric: int) -> str:
    samples, wide = _one(tags, SAMPLES, 1), bits[0] == 16
    if set(tags.get(FORMAT, ())) - {UNSIGNED, UNDEFINED}:
        return "its values are not unsigned whole numbers"
    if len(set(bits)) > 1 or bits[0] not in (1, 2, 4, 8, 16):
        return f"its values have {' and '.join(map(str, sorted(set(bits))))} bits, expected 8 or 16"
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR):
        return f"its colours are of the kind {photometric} (PhotometricInterpretation)"
    grey = photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE)
    most = 1 if grey else 4 if photometric in (RGB, CMYK) else 3
    if samples > most or (not grey and samples < 3):
        return f"it has {samples} channels, expected grey, colour, or colour with alpha"
    if wide and samples == 4 and _one(tags, EXTRA, 0) not in (ASSOCIATED, UNASSOCIATED):
        return "it has a fourth channel of 16 bits without a meaning"
    if wide and samples > 1 and _one(tags, PLANAR, 1) != 1:
        return "its channels of 16 bits are stored one after the other"
    if _one(tags, TILE[0], 0) * _one(tags, TILE[1], 0) > MOST_TILE:
        return f"its tiles have more than {MOST_TILE} pixels"
    return ""
