"""Directories of tags as TIFF has them, and the orientation in an Exif block (Exif 2.32, 4.6.2 and tag 274)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

ORDERS = {b"II": "<", b"MM": ">"}
ORIENTATION = 274
PREFIX = b"Exif\0\0"
# Type of a value: its code for `struct` and its bytes. Only whole numbers are read.
NUMBERS = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4)}
MAX_TAGS = 1 << 12

Tags = Mapping[int, tuple[int, ...]]


def read_tags(data: bytes, longest: int) -> Tags:
    """The whole numbers in the first directory, by tag; of more than `longest` values none is taken. The first of a
    tag that is given twice counts, also where it is not taken, and none is empty. struct.error for a directory that
    points beyond the end.
    """
    order = ORDERS[data[:2]]
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, place)
    tags: dict[int, tuple[int, ...]] = {}
    seen: set[int] = set()
    for entry in range(min(count, MAX_TAGS)):
        start = place + 2 + 12 * entry
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, start)
        if tag in seen:
            continue
        seen.add(tag)
        if kind not in NUMBERS or not 0 < length <= longest:
            continue
        code, size = NUMBERS[kind]
        where = start + 8 if size * length <= 4 else struct.unpack_from(f"{order}I", data, start + 8)[0]
        tags[tag] = struct.unpack_from(f"{order}{length}{code}", data, where)
    return tags


def orientation(block: bytes) -> int:
    """Exif orientation, 1 to 8, in a TIFF header with or without the prefix that JPEG has; 1, upright, where it is
    missing or damaged.
    """
    block = block.removeprefix(PREFIX)
    order = ORDERS.get(block[:2])
    if order is None:
        return 1
    try:
        (place,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, place)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, place + 2 + 12 * entry)
            if tag == ORIENTATION:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass  # the directory points beyond its end
    return 1
