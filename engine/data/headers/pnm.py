"""PBM, PGM and PPM (netpbm's formats 1 to 6): numbers as text, then pixels as text or bytes."""

from __future__ import annotations

import re

from engine.data.headers.header import Header, pixels

START = re.compile(rb"P[1-6][ \t\r\n#]")
HELD = 8  # bytes per pixel while it is decoded
LONGEST = 4096  # bytes of a header with its comments
GAP = rb"(?:[ \t\r\n]|#[^\r\n]*[\r\n])+"
SIZES = re.compile(rb"P([1-6])" + GAP + rb"(\d{1,10})" + GAP + rb"(\d{1,10})")
LARGEST = re.compile(GAP + rb"(\d{1,10})")


def read(data: bytes) -> Header:
    """Bytes are decoded as they are: a largest value other than 255 or 65535 would make the image darker."""
    head = data[:LONGEST]
    sizes = SIZES.match(head)
    if sizes is None:
        return Header("PNM", None)
    form, width, height = int(sizes[1]), int(sizes[2]), int(sizes[3])
    bitmap, text = form in (1, 4), form <= 3
    largest, end = 1, sizes.end()
    if not bitmap:
        found = LARGEST.match(head, end)
        if found is None:
            return Header("PNM", None)
        largest, end = int(found[1]), found.end()
    refused = ""
    if not bitmap and largest not in (255, 65535):
        refused = f"its largest value is {largest}, expected 255 or 65535"
    row = (width + 7) // 8 if bitmap else width * (3 if form == 6 else 1) * (2 if largest > 255 else 1)
    # As text a pixel takes a digit at least.
    cut_off = len(data) < end + 1 + (width * height if text else row * height)
    return Header("PNM", (height, width), cut_off, refused, memory=HELD * pixels((height, width)))
