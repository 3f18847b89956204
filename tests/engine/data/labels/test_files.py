"""Masks from files: every form of PNG that holds numbers, and what holds none."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from engine.data.labels import palette
from engine.data.labels.files import read_label_map
from engine.errors import UserError
from tests.engine.data.labels.masks import png

RNG = np.random.default_rng(0)


def written(tmp_path, data, name="mask.png"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def grey(numbers, depth):
    """A grey PNG of 1, 2, 4, 8 or 16 bits, by the specification."""
    height, width = numbers.shape
    if depth == 16:
        rows = [b"\0" + row.astype(">u2").tobytes() for row in numbers]
    else:
        bits = np.unpackbits(numbers.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :].reshape(height, -1)
        rows = [b"\0" + np.packbits(row).tobytes() for row in bits]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)), (b"tRNS", b"\0\1")]
    parts += [(b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_values_are_the_numbers_that_are_stored(tmp_path, depth):
    numbers = RNG.integers(0, min(1 << depth, 256), (9, 13))
    assert np.array_equal(read_label_map(written(tmp_path, grey(numbers, depth))), numbers)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_of_a_palette_the_places_count_and_not_its_colours(tmp_path, bits):
    numbers = RNG.integers(0, 1 << bits, (7, 10)).astype(np.uint8)
    data = png(numbers, "P", bits=bits, transparency=0)
    assert np.array_equal(read_label_map(written(tmp_path, data)), numbers)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).ndim == 3  # what it is for a viewer


def test_what_is_written_is_read_again_and_has_the_colours_of_voc(tmp_path):
    numbers = RNG.integers(0, 256, (31, 17)).astype(np.uint8)
    path = written(tmp_path, palette.encoded(numbers))
    assert np.array_equal(read_label_map(path), numbers)
    pillow = pytest.importorskip("PIL.Image", reason="a viewer's decoder")
    seen = pillow.open(path)
    assert seen.mode == "P" and np.array_equal(np.asarray(seen), numbers)
    assert np.array_equal(np.asarray(seen.convert("RGB")), palette.colours()[numbers])
    # The first colours as that data set's kit lists them.
    voc = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert palette.colours()[: len(voc)].tolist() == [list(each) for each in voc]
    assert palette.colours()[255].tolist() == [224, 224, 192]


def test_what_holds_no_numbers_is_refused_by_its_name(tmp_path):
    colours = RNG.integers(0, 256, (5, 6, 3)).astype(np.uint8)
    plain = png(colours[..., 0])
    start, header, rest = plain[:8], plain[8:33], plain[33:]
    for name, data, message in (
        ("rgb.png", png(colours, "RGB"), "holds colours or alpha"),
        ("alpha.png", png(colours[..., 0], "LA"), "holds colours or alpha"),
        ("photo.jpg", bytes(cv2.imencode(".jpg", colours)[1]), "a mask is no JPEG"),
        ("large.png", grey(np.full((3, 3), 256), 16), "has the number 256, but those of classes end at 255"),
        ("twice.png", start + header + header + rest, "holds colours or alpha, not numbers of classes, or is damaged"),
        ("late.png", start + grey(np.zeros((2, 2), int), 1)[33:47] + header + rest, "its header is damaged"),
        ("empty.png", b"", "the image file is empty"),
        ("half.png", png(colours[..., 0])[:-20], "truncated"),
    ):
        with pytest.raises(UserError, match=f"{name}: .*{message}"):
            read_label_map(written(tmp_path, data, name))
    with pytest.raises(UserError, match=r"none\.png: cannot be read"):
        read_label_map(tmp_path / "none.png")


def test_damaged_bytes_give_numbers_or_an_error_that_names_the_file(tmp_path):
    """Any byte changed: the header's and the pixels' checksums stay those of the file."""
    numbers = RNG.integers(0, 4, (6, 6)).astype(np.uint8)
    data = png(numbers, "P", bits=2)
    refused = 0
    for place in range(8, len(data)):
        changed = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        try:
            found = read_label_map(written(tmp_path, changed))
        except UserError as error:
            refused += 1
            assert "mask.png: " in str(error)
        else:
            assert found.dtype == np.uint8 and found.ndim == 2
    header = data[:24] + b"\x01" + data[25:]  # another depth, with the old checksum
    assert refused > 20
    with pytest.raises(UserError, match=r"mask\.png"):
        read_label_map(written(tmp_path, header))
