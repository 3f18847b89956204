"""An image file of a few bytes takes no more memory and time than it is worth, whatever its header says."""

import struct
import zlib

import numpy as np
import pytest

from engine.data.headers import read_header
from engine.data.headers.av1 import largest_frame
from engine.data.images import UnreadableImage, load_cv2, read_image
from engine.reading.memory import memory_for
from tests.engine.costs import check_costs
from tests.engine.data.test_image_kinds import later, stored
from tests.engine.data.test_images import chunk, png_of_size

READ = "from engine.data.images import load_cv2, read_image as read; load_cv2()"
SIDE = 8192
GREY = np.full((4, 6), 200, np.uint8)
ONE = png_of_size(1, 1, rows=b"\0\0")


def white_png(colour, *before):
    """8192 x 8192 pixels of one bit, all of them set: 8 kB."""
    row = b"\0" + b"\xff" * (SIDE // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(SIDE)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 1, colour, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", header, *before, chunk(b"IDAT", packed), chunk(b"IEND", b"")))


def with_length(name, length, data=ONE):
    """The PNG whose chunk of this name says it is as long as that."""
    place = data.index(name) - 4
    return data[:place] + struct.pack(">I", length) + data[place + 4 :]


def jpeg(progressive):
    cv2 = load_cv2()
    data = bytearray(cv2.imencode(".jpg", np.dstack([GREY] * 3), [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1])
    place = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", SIDE, SIDE)
    return bytes(data)


def webp():
    data = bytearray(stored(GREY, "WEBP", lossless=True))
    struct.pack_into("<I", data, 21, (SIDE - 1) | (SIDE - 1) << 14)
    return bytes(data)


def gif():
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, SIDE, SIDE, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0x80, 0, 0) + bytes(6) + frame + b";"


def tiff(width, height, *tags):
    plain = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 2), (277, 3, 1, 3)]
    entries = sorted((*plain, *(tags or [(273, 4, 1, 8), (278, 4, 1, height), (279, 4, 1, 8)])))
    table = b"".join(struct.pack("<HHII", *each) for each in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(64)


TILE = [(322, 4, 1, SIDE), (323, 4, 1, SIDE), (324, 4, 1, 8), (325, 4, 1, 8)]
BOMBS = {
    "end.png": (with_length(b"IEND", 2**31 - 1), "truncated"),
    "end-of-all.png": (with_length(b"IEND", 2**32 - 1), "truncated"),
    "header.png": (with_length(b"IHDR", 2**31 - 1), "truncated"),
    "pixels.png": (with_length(b"IDAT", 2**31 - 1), "truncated"),
    "text.png": (ONE[:33] + struct.pack(">I", 2**31) + b"tEXt" + ONE[33:], "truncated"),
    "palette.png": (
        white_png(3, chunk(b"PLTE", bytes(6)), chunk(b"tRNS", b"\0\xff")),
        "would take 536 MB",
    ),
    "a.jpg": (jpeg(0), "would take 402 MB"),
    "progressive.jpg": (jpeg(1), "would take 603 MB"),
    "a.webp": (webp(), "would take 671 MB"),
    "a.gif": (gif(), "would take 872 MB"),
    "a.tif": (tiff(SIDE, SIDE), "would take 469 MB"),
    "tile.tif": (tiff(4, 4, *TILE), "would take 469 MB"),
    "hidden.tif": (tiff(4, 4, (256, 9, 1, SIDE), (257, 9, 1, SIDE)), "can be decoded"),
    "bytes.bmp": (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, SIDE, SIDE, 1, 8, 1, 0, 0, 0, 0, 0),
        "would",
    ),
    "text.pnm": (f"P3 {SIDE} {SIDE} 255 0 0 0".encode(), "truncated"),
}


def test_a_header_that_asks_for_much_is_refused_before_anything_is_decoded(tmp_path):
    files = {}
    for name, (data, wanted) in BOMBS.items():
        (tmp_path / name).write_bytes(data)
        files[tmp_path / name] = wanted
    check_costs(READ, files)


def test_a_white_sheet_of_the_largest_size_is_read_from_a_few_kilobytes(tmp_path):
    path = tmp_path / "sheet.png"
    path.write_bytes(white_png(0))
    check_costs(READ, {path: None})
    image = read_image(path)
    assert image.shape == (SIDE, SIDE) and image.min() == 255


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM", *[pytest.param(k, marks=later) for k in ("GIF", "AVIF")]]
)
def test_every_kind_counts_what_its_pixels_take(kind):
    header = read_header(stored(np.dstack([GREY] * 3), kind))
    assert 6 * GREY.size <= header.memory <= 64 * GREY.size


@later
@pytest.mark.parametrize("shape", [(64, 48, 3), (33, 200, 4), (1100, 16, 3)])
def test_the_size_that_an_avif_decodes_to_counts_and_not_only_the_one_that_it_states(shape):
    data = stored(np.full(shape, 77, np.uint8), "AVIF")
    place = data.index(b"ispe") + 8
    assert struct.unpack_from(">II", data, place) == (shape[1], shape[0])
    smaller = data[:place] + struct.pack(">II", 1, 1) + data[place + 8 :]
    stated, hidden = read_header(data), read_header(smaller)
    assert hidden.size == (1, 1) and stated.memory == hidden.memory >= shape[0] * shape[1] * 17


@later
def test_a_sheet_of_avif_that_says_it_is_small_is_refused(tmp_path):
    data = stored(np.full((3600, 3600), 255, np.uint8), "AVIF", speed=10)
    place = data.index(b"ispe") + 8
    (tmp_path / "a.avif").write_bytes(data[:place] + struct.pack(">II", 16, 16) + data[place + 8 :])
    assert memory_for(len(data)) < 17 * 3600 * 3600
    with pytest.raises(UnreadableImage, match="would take 220 MB"):
        read_image(tmp_path / "a.avif")


def bits(*fields):
    """An open bitstream unit with a sequence header of these (value, bits)."""
    text = "".join(f"{value:0{count}b}" for value, count in fields) + "1"
    text += "0" * (-len(text) % 8)
    body = int(text, 2).to_bytes(len(text) // 8, "big")
    return bytes((0x0A, len(body))) + body


SIZE = ((12, 4), (10, 4), (7000, 13), (1999, 11))
POINT = (0, 12)
SEQUENCES = [
    bits((0, 3), (1, 1), (1, 1), (8, 5), *SIZE),
    bits((0, 3), (0, 1), (0, 1), (0, 1), (0, 1), (0, 5), POINT, (9, 5), (1, 1), *SIZE),
    bits((0, 3), (0, 1), (0, 1), (0, 1), (1, 1), (1, 5), POINT, (3, 5), (1, 1), (9, 4), POINT, (3, 5), (0, 1), *SIZE),
    bits(
        *((0, 3), (0, 1), (0, 1), (1, 1), (1, 32), (25, 32), (1, 1), (5, 5), (1, 1), (9, 5), (1, 32), (9, 5), (9, 5)),
        *((0, 1), (0, 5), POINT, (3, 5), (1, 1), (0, 10), (0, 10), (0, 1), *SIZE),
    ),
]


@pytest.mark.parametrize("unit", SEQUENCES)
def test_a_sequence_header_of_av1_tells_the_largest_frame(unit):
    assert largest_frame(b"\x12\0" + unit + b"\x32\x01\0") == (2000, 7001)
    assert largest_frame(b"\x12\0\x32\x01\0") == largest_frame(b"") == (0, 0)
    assert largest_frame(unit[:4]) != (2000, 7001)
