"""Image files: what their headers tell, and what is let through to the decoder.

An image that is decoded has the size that its header said, turned at most. Chunks of PNG get right checksums, so that
changes pass them.
"""

from __future__ import annotations

import random
import struct
import zlib
from functools import cache

import numpy as np

from engine.data.headers import Header, read_header
from engine.data.images import load_cv2, read_image
from fuzz.promises import promised, quiet, scratch
from fuzz.values import Plain, sprinkled

PATH = scratch() / "a.image"
PNG = b"\x89PNG\r\n\x1a\n"
COLOUR = (np.arange(5 * 6 * 3) % 251).astype(np.uint8).reshape(5, 6, 3)
ENDINGS = ("png", "jpg", "bmp", "webp", "tif", "gif", "avif", "ppm")


@cache
def _stored() -> dict[str, bytes]:
    cv2 = load_cv2()
    found = {}
    for ending in ENDINGS:
        if ending in ("gif", "avif") and not cv2.haveImageWriter(f"a.{ending}"):
            continue
        found[ending] = cv2.imencode(f".{ending}", COLOUR)[1].tobytes()
    alpha = np.dstack([COLOUR, COLOUR[:, :, 0]])
    found["alpha"] = cv2.imencode(".png", alpha)[1].tobytes()
    found["deep"] = cv2.imencode(".png", COLOUR.astype(np.uint16) * 257)[1].tobytes()
    found["grey"] = cv2.imencode(".jpg", COLOUR[:, :, 0], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    found["plain"] = b"P2\n# numbers\n3 2\n255\n0 1 2\n3 4 255\n"
    return found


def corpus() -> dict[str, bytes]:
    """An image of every kind that this OpenCV writes."""
    return dict(_stored())


def run(data: bytes) -> None:
    with promised(data):
        header = read_header(data)
        assert header is None or header.size is None or min(header.size) >= 0
        _shown(header, data)
    PATH.write_bytes(data)
    with promised(data), quiet():
        image = read_image(PATH)
        assert header is not None and header.size is not None
        assert image.dtype == np.uint8 and image.shape[2:] in ((), (3,))
        assert image.shape[:2] in (header.size, header.size[::-1]), (image.shape, header)


def _shown(header: Header | None, data: bytes) -> None:
    """What is hidden from the decoder lies in the file, in order."""
    if header is None:
        return
    places = [0, *(place for pair in header.hidden for place in pair), len(data)]
    assert places == sorted(places), f"hidden parts {places}"


def mutate(data: bytes, most: int, seed: int, plain: Plain) -> bytes:
    rng = random.Random(seed)
    if data.startswith(PNG) and rng.randrange(4):
        return _png_changed(data, rng, plain, most)
    return sprinkled(data, rng, plain, most)


def _png_changed(data: bytes, rng: random.Random, plain: Plain, most: int) -> bytes:
    chunks, place = [], len(PNG)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    if not chunks:
        return sprinkled(data, rng, plain, most)
    number = rng.randrange(len(chunks))
    name, content = chunks[number]
    what = rng.randrange(6)
    if what < 3:
        chunks[number] = name, sprinkled(content, rng, plain, most)
    elif what == 3:
        names = (b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"tEXt", b"IDAT", b"IHDR", b"IEND")
        chunks.insert(number, (rng.choice(names), content[: rng.randrange(40)]))
    elif what == 4:
        chunks.insert(number, rng.choice(chunks))
    else:
        del chunks[number]
    parts = [struct.pack(">I", len(content)) + name + content + _sum(name + content) for name, content in chunks]
    return PNG + b"".join(parts)


def _sum(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))
