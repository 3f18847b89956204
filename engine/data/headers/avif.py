"""AVIF (version 1.1, on ISO/IEC 14496-12 and 23008-12): boxes in boxes, of which the properties of the image are read.

The decoder leaves turning and mirroring to who asks (OpenCV 4.12 to 5.0), and Exif does not count beside them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from engine.data.headers.av1 import largest_frame
from engine.data.headers.header import MAX_PARTS, Header, pixels

BRANDS = frozenset({b"avif", b"avis"})
ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"
HELD, HELD_ALPHA = 17, 32  # bytes per pixel while it is decoded; of more than 8 bits twice as many
MOST_SHARED = 4  # times that a byte of the file may be part of an item or a track
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
        frame = _largest_frame(data)
    except (struct.error, IndexError):
        size = frame = None
    whole = all(end <= len(data) for _, _, end in _boxes(data, 0, len(data)))
    held = (HELD_ALPHA if ALPHA in data else HELD) * (2 if depth > 8 else 1)
    return Header(
        "AVIF",
        size,
        cut_off=not whole,
        as_stored=True,
        depth=depth,
        orientation=ORIENTATIONS[turns, mirror],
        memory=held * max(pixels(size), pixels(frame)),
    )


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


def _largest_frame(data: bytes) -> tuple[int, int]:
    """(height, width) that the compressed data of the items and of the tracks ask for."""
    sizes, looked_at = [], 0
    for start, end in (*_item_data(data), *_track_data(data)):
        looked_at += max(0, min(end, len(data)) - start)
        if looked_at > MOST_SHARED * len(data):
            raise IndexError("pieces of the file belong to many items at once")
        sizes.append(largest_frame(data[start:end]))
    return max((height for height, _ in sizes), default=0), max((width for _, width in sizes), default=0)


def _item_data(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of the pieces of all items."""
    meta = _inside(data, (b"meta",), 0, len(data))
    table = meta and _inside(data, (b"iloc",), *meta)
    if not meta or not table:
        return
    inner = _inside(data, (b"idat",), *meta)
    place, version = table[0] + 4, data[table[0]]
    widths = _number(data, place, 2)  # of an offset, a length, a base, an index
    offset, length, base, index = (widths >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    count, place = _number(data, place + 2, wide), place + 2 + wide
    for _ in range(min(count, MAX_PARTS)):
        place += wide
        method = 0
        if version:
            method, place = _number(data, place, 2) & 15, place + 2
        place += 2  # which file the data lie in
        first, place = _number(data, place, base), place + base
        if method == 1 and inner:
            first += inner[0]
        pieces, place = _number(data, place, 2), place + 2
        if offset + length == 0 and pieces > 1:
            raise IndexError("the pieces of an item lie at the same place")
        for _ in range(pieces):
            place += index if version else 0
            start = first + _number(data, place, offset)
            size = _number(data, place + offset, length)
            place += offset + length
            yield start, start + size if size else len(data)


def _track_data(data: bytes) -> Iterator[tuple[int, int]]:
    """Start of the first sample of each track of an animation, and the end of the file."""
    movie = _inside(data, (b"moov",), 0, len(data))
    for name, start, end in _boxes(data, *movie) if movie else ():
        for offsets, width in ((b"stco", 4), (b"co64", 8)):
            path = (b"mdia", b"minf", b"stbl", offsets)
            table = _inside(data, path, start, min(end, len(data))) if name == b"trak" else None
            if table and _number(data, table[0] + 4, 4):
                yield _number(data, table[0] + 8, width), len(data)


def _number(data: bytes, place: int, length: int) -> int:
    if place + length > len(data):
        raise IndexError("the box ends early")
    return int.from_bytes(data[place : place + length], "big")
