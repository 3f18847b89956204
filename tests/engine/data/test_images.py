"""Decoding: every kind of image file a data set may hold, and files that are damaged or made to fill the memory."""

import io
import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from engine.data.images import MAX_PIXELS, UnreadableImage, read_image
from engine.data.preprocess import Preprocess
from engine.data.steps import STEPS
from engine.errors import UserError

RANDOM = np.random.default_rng(0)


def saved(path, picture, **options):
    (picture if isinstance(picture, Pillow.Image) else Pillow.fromarray(picture)).save(path, **options)
    return read_image(path)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of_size(width, height, depth=8, colour=0, rows=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("depth", "colour"), [(0, 0), (3, 0), (255, 0), (4, 2), (16, 3), (2, 4), (8, 1), (8, 7), (0, 6)]
)
@pytest.mark.parametrize("more", [b"", chunk(b"tRNS", b"\0\0")])
def test_bits_that_a_colour_type_cannot_have_are_refused(tmp_path, depth, colour, more):
    plain = png_of_size(1, 1, depth, colour, bytes(9))
    (tmp_path / "a.png").write_bytes(plain[:33] + more + plain[33:])
    with pytest.raises(UnreadableImage, match=rf"PNG: it has {depth} bits a value in the colour type {colour}\)"):
        read_image(tmp_path / "a.png")


def with_exif(orientation):
    exif = Pillow.Exif()
    exif[274] = orientation
    return exif


def test_grey_and_colour_are_kept_as_they_are(tmp_path):
    grey = RANDOM.integers(0, 256, (5, 7), np.uint8)
    colour = RANDOM.integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(saved(tmp_path / "grey.png", grey), grey)
    assert np.array_equal(saved(tmp_path / "colour.png", colour), colour)
    assert saved(tmp_path / "grey.jpg", grey).shape == (5, 7)
    assert saved(tmp_path / "bits.png", Pillow.fromarray(grey > 127)).tolist() == (255 * (grey > 127)).tolist()


def test_the_upper_eight_of_sixteen_bits_are_kept(tmp_path):
    values = np.array([[0, 255, 256], [32767, 32768, 65535]], np.uint16)
    assert saved(tmp_path / "16.png", values).tolist() == [[0, 0, 1], [127, 128, 255]]


def test_sixteen_bits_with_alpha(tmp_path):
    pixels = struct.pack(">4H", 0x1234, 0x5678, 0x9ABC, 0xFFFF) + struct.pack(">4H", 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(png_of_size(2, 1, depth=16, colour=6, rows=b"\0" + pixels))
    assert read_image(tmp_path / "a.png").tolist() == [[[0x12, 0x56, 0x9A], [255, 255, 255]]]


def test_palette(tmp_path):
    picture = Pillow.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putdata([0, 1])
    assert saved(tmp_path / "p.png", picture).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    transparent = saved(tmp_path / "t.png", picture, transparency=1)
    assert transparent.tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_alpha_is_laid_on_white(tmp_path):
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    assert saved(tmp_path / "rgba.png", pixels).tolist() == [[[10, 20, 30], [255] * 3, [127] * 3]]
    assert saved(tmp_path / "la.png", Pillow.fromarray(pixels).convert("LA")).shape == (1, 3)


def test_cmyk_without_a_profile(tmp_path):
    picture = Pillow.new("CMYK", (8, 8), (200, 100, 50, 30))
    image = saved(tmp_path / "cmyk.jpg", picture, quality=100)
    wanted = [(255 - ink) * (255 - 30) / 255 for ink in (200, 100, 50)]
    assert image.shape == (8, 8, 3) and np.abs(image - wanted).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "rgba.png"])
def test_exif_orientation(tmp_path, orientation, kind):
    """Against Pillow's own way of turning a picture upright."""
    from PIL import ImageOps

    picture = Pillow.fromarray(np.repeat(np.repeat(RANDOM.integers(0, 256, (2, 3, 3), np.uint8), 8, 0), 8, 1))
    path = tmp_path / f"picture.{kind}"
    image = saved(path, picture.convert("RGBA") if "rgba" in kind else picture, exif=with_exif(orientation))
    with Pillow.open(path) as stored:
        wanted = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    assert image.shape == ((24, 16, 3) if orientation >= 5 else (16, 24, 3))
    assert np.abs(image.astype(int) - wanted).max() <= (0 if kind != "jpg" else 4)


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"text"])
def test_a_damaged_orientation_is_none(tmp_path, exif):
    data = png_of_size(1, 2, colour=4, rows=b"\0\x07\xff\0\x09\xff")
    (tmp_path / "a.png").write_bytes(data[:33] + chunk(b"eXIf", exif) + data[33:])
    assert read_image(tmp_path / "a.png").tolist() == [[7], [9]]


@pytest.mark.parametrize("colour", [False, True])
def test_one_pixel_goes_through_every_step(tmp_path, colour):
    assert saved(tmp_path / "1.png", np.array([[7]], np.uint8)).tolist() == [[7]]
    for steps in [(), *[(name,) for name in STEPS], tuple(STEPS)]:
        prepared = Preprocess(colour=colour, steps=steps, size=(28, 28)).prepare(read_image(tmp_path / "1.png"))
        assert prepared.shape == (3 if colour else 1, 28, 28)


def test_pixel_bombs_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    for name in ("imdecode", "imread"):
        monkeypatch.setattr(cv2, name, lambda *arguments: pytest.fail("it was decoded"))
    path = tmp_path / "bomb.png"
    row = zlib.compressobj(9)
    packed = b"".join(row.compress(bytes(2501) * 100) for _ in range(200)) + row.flush()  # 20,000 rows of one bit
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    assert path.stat().st_size < 100_000
    with pytest.raises(
        UnreadableImage, match=f"bomb.png: the image has 20000x20000 pixels, more than the {MAX_PIXELS}"
    ):
        read_image(path)
    picture = io.BytesIO()
    Pillow.new("L", (8, 8)).save(picture, "JPEG")
    data = bytearray(picture.getvalue())
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", 20_000, 20_000)
    (tmp_path / "bomb.jpg").write_bytes(data)
    with pytest.raises(UnreadableImage, match="20000x20000"):
        read_image(tmp_path / "bomb.jpg")


def test_the_largest_image_that_is_read(tmp_path):
    assert MAX_PIXELS == 8192 * 8192
    rows = zlib.compressobj(1)
    packed = b"".join(rows.compress(bytes(1025) * 1024) for _ in range(8)) + rows.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8192, 8192, 1, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    assert read_image(tmp_path / "a.png").shape == (8192, 8192)


def test_other_formats_and_empty_headers_are_no_images(tmp_path):
    for suffix, kind in (("ico", "icon"), ("jp2", "JPEG 2000"), ("pdf", "PDF")):
        with pytest.raises(UnreadableImage, match=f"a file of the kind {kind}; expected PNG, JPEG"):
            saved(tmp_path / f"a.{suffix}", np.zeros((20, 20), np.uint8))
    for number, data in enumerate([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe1\0\0\xff\xd9"]):
        (tmp_path / str(number)).write_bytes(data)
        with pytest.raises(UnreadableImage, match="truncated|not an image that can be decoded"):
            read_image(tmp_path / str(number))
    with pytest.raises(UnreadableImage, match="missing.png: cannot be read .No such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(UserError, match="cannot be read .Is a directory") as caught:
        read_image(tmp_path)
    assert not isinstance(caught.value, UnreadableImage)


@pytest.mark.parametrize("shape", [(5, 3), (4, 7, 3)])
def test_bmp(tmp_path, shape):
    path = tmp_path / "a.bmp"
    picture = RANDOM.integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(saved(path, picture), picture)
    data = path.read_bytes()
    for end in (1, 30, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(UnreadableImage, match="truncated|not an image that can be decoded"):
            read_image(path)
    path.write_bytes(data[:18] + struct.pack("<ii", 20000, -20000) + data[26:])
    with pytest.raises(UnreadableImage, match="truncated|20000x20000 pixels"):
        read_image(path)


def bmp(pixels, length, compression, mask):
    """Top-down, 32 bits; the header of `length` bytes has masks of blue, green, red and this one of alpha."""
    height, width = pixels.shape[:2]
    head = struct.pack("<IiiHHIIiiII", length, width, -height, 1, 32, compression, pixels.size, 0, 0, 0, 0)
    head = (head + struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, mask))[:length].ljust(length, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + length + pixels.size, 0, 0, 14 + length) + head + pixels.tobytes()


@pytest.mark.parametrize("length", [56, 108, 124])
def test_the_alpha_of_a_bmp_counts_where_a_mask_says_so(tmp_path, length):
    pixels = np.array([[[1, 2, 3, 255], [4, 5, 6, 0], [0, 0, 0, 128]]], np.uint8)
    path, plain = tmp_path / "a.bmp", [[[3, 2, 1], [6, 5, 4], [0, 0, 0]]]
    path.write_bytes(bmp(pixels, length, 3, 0xFF000000))
    assert read_image(path).tolist() == [[[3, 2, 1], [255, 255, 255], [127, 127, 127]]]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnreadableImage, match="truncated"):
        read_image(path)
    for data in (bmp(pixels, length, 3, 0), bmp(pixels, length, 0, 0), bmp(pixels, 40, 0, 0)):
        path.write_bytes(data)
        assert read_image(path).tolist() == plain
    unused = pixels * np.array([1, 1, 1, 0], np.uint8)  # as screenshots have it
    path.write_bytes(bmp(unused, length, 3, 0xFF000000))
    assert read_image(path).tolist() == plain


def test_every_changed_byte_of_a_png_is_noticed(tmp_path):
    path = tmp_path / "a.png"
    whole = saved(path, RANDOM.integers(0, 256, (20, 20, 3), np.uint8))
    data = path.read_bytes()
    start = data.index(b"IDAT") + 4
    for place in range(start, len(data) - 12, 37):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        with pytest.raises(UnreadableImage, match="a.png"):
            read_image(path)
    path.write_bytes(data)
    assert np.array_equal(read_image(path), whole)


@pytest.mark.parametrize(
    ("depth", "row", "clear", "wanted"),
    [
        (1, b"\xa5", 0, [255, 255, 255, 255, 255, 255, 255, 255]),
        (2, b"\x1b", 2, [0, 85, 255, 255]),
        (4, b"\x12\x7f", 7, [17, 34, 255, 255]),
        (8, b"\x01\x07\x08\xff", 7, [1, 255, 8, 255]),
        (8, b"\x01\x07\x08\xff", 0x1207, [1, 255, 8, 255]),  # only the depth's bits count
        (16, b"\1\2\1\3\1\1\xff\xff", 0x102, [255, 1, 1, 255]),  # all sixteen bits are compared
    ],
)
def test_the_transparent_colour_of_a_grey_png_is_white(tmp_path, depth, row, clear, wanted):
    plain = png_of_size(len(wanted), 1, depth, 0, b"\0" + row)
    (tmp_path / "a.png").write_bytes(plain[:33] + chunk(b"tRNS", struct.pack(">H", clear)) + plain[33:])
    assert read_image(tmp_path / "a.png").tolist() == [wanted]
    behind = plain[:-12] + chunk(b"tRNS", struct.pack(">H", clear)) + plain[-12:]  # where the specification forbids it
    (tmp_path / "a.png").write_bytes(behind)
    (tmp_path / "plain.png").write_bytes(plain)
    assert np.array_equal(read_image(tmp_path / "a.png"), read_image(tmp_path / "plain.png"))


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_colour_of_a_colour_png_is_white(tmp_path, depth):
    one, two = (1, 2, 3), (4, 5, 6)
    row = struct.pack(f">6{'B' if depth == 8 else 'H'}", *(value << (depth - 8) for value in one + two))
    data = png_of_size(2, 1, depth, 2, b"\0" + row)
    clear = chunk(b"tRNS", struct.pack(">3H", *(value << (depth - 8) for value in two)))
    (tmp_path / "a.png").write_bytes(data[:33] + clear + data[33:])
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3], [255, 255, 255]]]


def test_what_follows_the_end_of_a_png_is_no_part_of_it(tmp_path):
    path = tmp_path / "a.png"
    picture = RANDOM.integers(0, 256, (20, 30), np.uint8)
    saved(path, picture)
    data = path.read_bytes()
    for behind in (b"\0" * 100, b"IEND" * 50, data):
        path.write_bytes(data + behind)
        assert np.array_equal(read_image(path), picture)
    # A small PNG in a chunk of a larger one that is cut off: its end is not the file's.
    inner = data
    path.write_bytes(data[:33] + chunk(b"meta", inner) + data[33:-40])
    with pytest.raises(UnreadableImage, match="truncated"):
        read_image(path)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
@pytest.mark.parametrize("behind", [False, True])
def test_the_orientation_of_a_png_counts_before_and_behind_the_pixels(tmp_path, mode, behind):
    picture = Pillow.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40).convert(mode)
    upright = saved(tmp_path / "a.png", picture)
    data = (tmp_path / "a.png").read_bytes()
    place = data.index(b"IEND" if behind else b"IDAT") - 4
    exif = chunk(b"eXIf", with_exif(6).tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(data[:place] + exif + data[place:])
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(upright, -1))


def jpeg(picture, **options):
    file = io.BytesIO()
    Pillow.fromarray(picture).save(file, "JPEG", **options)
    return file.getvalue()


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("marker", [0xE0, 0xE1, 0xED, 0xFE])
def test_a_thumbnail_does_not_hide_that_a_jpeg_is_cut_off(tmp_path, marker, progressive):
    path = tmp_path / "a.jpg"
    thumbnail = jpeg(RANDOM.integers(0, 256, (16, 16, 3), np.uint8))
    data = jpeg(RANDOM.integers(0, 256, (64, 64, 3), np.uint8), progressive=progressive)
    path.write_bytes(data)
    plain = read_image(path)
    whole = data[:2] + segment(marker, b"Exif\0\0" + thumbnail) + data[2:]
    path.write_bytes(whole)
    assert np.array_equal(read_image(path), plain)
    path.write_bytes(whole + b"a video behind it")
    assert np.array_equal(read_image(path), plain)
    for end in (len(whole) * 6 // 10, len(whole) - 2, len(whole) - 200):
        path.write_bytes(whole[:end])
        with pytest.raises(UnreadableImage, match="a.jpg: the image file is truncated"):
            read_image(path)


@pytest.mark.parametrize(("before", "said"), [("", False), ("import cv2", True), ("OPENCV_LOG_LEVEL", True)])
def test_opencv_prints_nothing_of_damaged_images_unless_it_is_asked_to(tmp_path, before, said):
    place = tmp_path / "a.tiff"
    Pillow.fromarray(np.zeros((8, 8), np.uint8)).save(place, compression="tiff_lzw")
    data = place.read_bytes()
    place.write_bytes(data[:8] + b"\xff" * 6 + data[14:])
    asked = before.startswith("import")
    code = f"{before * asked}\nfrom engine.data.images import read_image\nprint(read_image({str(place)!r}))"
    environment = {**os.environ, **({before: "WARNING"} if before and not asked else {})}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment).stderr
    assert ("TIFF_Error" in shown) is said and (said or "WARN" not in shown)
