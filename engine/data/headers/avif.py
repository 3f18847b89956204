"""AVIF (version 1.1, on ISO/IEC 14496-12 and 23008-12): boxes in boxes, of which the properties of the image are read.

The decoder leaves turning and mirroring to who asks (OpenCV 4.12 to 5.0), and Exif does not count beside them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from engine.data.headers.header import MAX_PARTS, Header

BRANDS = frozenset({b"avif", b"avis"})
HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
# Quarter turns against the clock, then a mirror (0: top to bottom, 1: left to right), as Exif counts them.
ORIENTATIONS = {
    (0, None): 1,
    (0, 1): 2,
    (2, None): 3,
    (0, 0): 4,
    (1, 0): 5,
    (3, None): 6,
    (3, 0): 7,
    (1, None): 8,
    (2, 0): 2,
    (2, 1): 4,
    (1, 1): 7,
    (3, 1): 5,
}


def brands(start: bytes) -> frozenset[bytes]:
    """The brands that the file type box names, as far as it lies in these bytes; none for another file."""
    if start[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(start[:4], "big"), len(start))
    return frozenset({start[8:12], *(start[place : place + 4] for place in range(16, end - 3, 4))})


def read(data: bytes) -> Header:
    """Size, depth and orientation of the primary image."""
    size, depth, turns, mirror = None, 8, 0, None
    try:
        for name, start, end in _primary_properties(data):
            if name == b"ispe":
                width, height = struct.unpack_from(">II", data, start + 4)
                size = height, width
            elif name == b"pixi" and end > start + 5:
                depth = data[start + 5]
            elif name == b"irot":
                turns = data[start] & 3
            elif name == b"imir":
                mirror = data[start] & 1
    except (struct.error, IndexError):
        size = None
    whole = all(end <= len(data) for _, _, end in _boxes(data, 0, len(data)))
    return Header("AVIF", size, cut_off=not whole, as_stored=True, depth=depth, orientation=ORIENTATIONS[turns, mirror])


def _boxes(data: bytes, place: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end of the content) of the boxes that begin in this range."""
    for _ in range(MAX_PARTS):
        if place + 8 > stop:
            return
        length, name = struct.unpack_from(">I4s", data, place)
        start = place + 8
        if length == 1:
            if place + 16 > stop:
                return
            (length,), start = struct.unpack_from(">Q", data, start), place + 16
        end = stop if length == 0 else place + length
        if end < start:
            return
        yield name, start, end
        place = end


def _inside(data: bytes, path: tuple[bytes, ...], start: int, stop: int) -> tuple[int, int] | None:
    """Start and end of the content of the first box that this path of names leads to."""
    for name in path:
        found = next(((first, end) for each, first, end in _boxes(data, start, stop) if each == name), None)
        if found is None:
            return None
        start, stop = found[0], min(found[1], len(data))
        if name == b"meta":
            start += 4  # version and flags
    return start, stop


def _primary_properties(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The property boxes that belong to the primary item, in its order."""
    meta = _inside(data, (b"meta",), 0, len(data))
    places = [meta and _inside(data, path, *meta) for path in ((b"pitm",), (b"iprp", b"ipco"), (b"iprp", b"ipma"))]
    if not all(places):
        return
    primary, properties, links = (place for place in places if place)
    wanted = _number(data, primary[0] + 4, 4 if data[primary[0]] else 2)
    boxes = list(_boxes(data, *properties))
    version, flags = data[links[0]], data[links[0] + 3]
    (count,) = struct.unpack_from(">I", data, links[0] + 4)
    place = links[0] + 8
    for _ in range(min(count, MAX_PARTS)):
        item = _number(data, place, 4 if version else 2)
        place += 4 if version else 2
        linked, place = data[place], place + 1
        width = 2 if flags & 1 else 1
        essential = 0x80 << 8 * (width - 1)  # a flag beside the number
        indices = [_number(data, place + width * each, width) & ~essential for each in range(linked)]
        place += width * linked
        if item == wanted:
            yield from (boxes[index - 1] for index in indices if 1 <= index <= len(boxes))
            return


def _number(data: bytes, place: int, length: int) -> int:
    if place + length > len(data):
        raise IndexError("the box ends early")
    return int.from_bytes(data[place : place + length], "big")
