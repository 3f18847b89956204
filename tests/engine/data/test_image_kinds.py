"""WebP, TIFF, GIF, AVIF and PNM: their pixels against Pillow's or known ones, what is refused, files that are cut off.

AVIF and GIF need OpenCV 4.12; with an older one they are refused by name.
"""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from engine.data.headers import KINDS, kind_of, read_header
from engine.data.headers.header import MAX_PARTS
from engine.data.images import MAX_PIXELS, UnreadableImage, read_image
from engine.data.listing import SUFFIXES

LATER = tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 12)
later = pytest.mark.skipif(LATER, reason="GIF and AVIF need OpenCV 4.12")

RANDOM = np.random.default_rng(1)
GREY = RANDOM.integers(0, 256, (6, 10), np.uint8)
COLOUR = RANDOM.integers(0, 256, (6, 10, 3), np.uint8)
ALPHA = RANDOM.integers(0, 256, (6, 10, 4), np.uint8)


def stored(picture, kind, **options):
    file = io.BytesIO()
    (picture if isinstance(picture, Pillow.Image) else Pillow.fromarray(picture)).save(file, kind, **options)
    return file.getvalue()


def read(tmp_path, data):
    (tmp_path / "image").write_bytes(data)  # the content alone says what it is
    return read_image(tmp_path / "image")


def on_white(pixels):
    colour, alpha = pixels[..., :3].astype(int), pixels[..., 3:].astype(int)
    return (colour * alpha + 255 * (255 - alpha) + 127) // 255


def upright(image, orientation):
    """By turning: Exif's cases as counted from the meaning of its values."""
    turned = {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}[orientation]
    image = np.rot90(image, turned)
    return image[:, ::-1] if orientation in (2, 4, 5, 7) else image


def test_every_kind_has_endings():
    assert ", ".join(SUFFIXES) == KINDS
    for kind, name in {
        "PNG": "PNG",
        "JPEG": "JPEG",
        "BMP": "BMP",
        "WebP": "WEBP",
        "TIFF": "TIFF",
        "GIF": "GIF",
    }.items():
        assert kind_of(stored(GREY, name)) == kind
    assert kind_of(stored(GREY, "AVIF")) == "AVIF" and kind_of(stored(GREY, "PPM")) == "PNM"
    assert kind_of(b"") is kind_of(b"P7\n") is kind_of(b"no image") is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_webp(tmp_path, orientation):
    exif = Pillow.Exif()
    exif[274] = orientation
    image = read(tmp_path, stored(COLOUR, "WEBP", lossless=True, exif=exif))
    assert np.array_equal(image, upright(COLOUR, orientation))


def test_webp_with_alpha_lies_on_white(tmp_path):
    assert np.array_equal(read(tmp_path, stored(ALPHA, "WEBP", lossless=True, exact=True)), on_white(ALPHA))
    lossy = np.full((16, 16, 3), 90, np.uint8)
    assert np.abs(read(tmp_path, stored(lossy, "WEBP", quality=95)).astype(int) - 90).max() <= 2


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits"])
def test_tiff_of_8_and_16_bits(tmp_path, compression):
    options = {"kind": "TIFF", "compression": compression}
    for picture in (GREY, COLOUR):
        assert np.array_equal(read(tmp_path, stored(picture, **options)), picture)
    assert np.abs(read(tmp_path, stored(ALPHA, **options)) - on_white(ALPHA)).max() == 0
    wide = RANDOM.integers(0, 65536, (6, 10)).astype(np.uint16)
    assert np.array_equal(read(tmp_path, stored(wide, **options)), wide >> 8)
    bits = GREY > 127
    assert np.array_equal(read(tmp_path, stored(bits, **options)), 255 * bits)


def tiff(pixels, photometric, order="<", **tags):
    """A TIFF of one strip; tags: extra, orientation, planar, format, bits, by their names below."""
    height, width, channels = (*pixels.shape, 1)[:3]
    planes = pixels.transpose(2, 0, 1) if tags.get("planar") == 2 else pixels
    body = planes.astype(pixels.dtype.newbyteorder(order)).tobytes()
    parts = channels if tags.get("planar") == 2 else 1
    bits = [tags.get("bits", pixels.dtype.itemsize * 8)] * channels
    numbers = {"extra": 338, "orientation": 274, "planar": 284}
    start, length = 400, len(body) // parts
    values = {256: [width], 257: [height], 258: bits, 259: [1], 262: [photometric], 277: [channels], 278: [height]}
    values |= {numbers[name]: [value] for name, value in tags.items() if name in numbers}
    values |= {339: [tags.get("format", 1)] * channels}
    values |= {273: [start + length * part for part in range(parts)], 279: [length] * parts}
    directory, beyond, after = b"", b"", 10 + 12 * len(values) + 4
    for tag, each in sorted(values.items()):
        content = struct.pack(f"{order}{len(each)}H", *each)
        if len(content) > 4:
            content, beyond = struct.pack(f"{order}I", after + len(beyond)), beyond + content
        directory += struct.pack(f"{order}HHI", tag, 3, len(each)) + content.ljust(4, b"\0")
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(values))
    return (head + directory + b"\0" * 4 + beyond).ljust(start, b"\0") + body


WIDE = (COLOUR.astype(np.uint16) << 8) | 201
WIDE_ALPHA = (ALPHA.astype(np.uint16) << 8) | 201


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_is_turned_upright(tmp_path, orientation, order):
    for pixels, wanted in ((GREY, GREY), (COLOUR, COLOUR), (WIDE, COLOUR)):
        data = tiff(pixels, 1 if pixels.ndim == 2 else 2, order, orientation=orientation)
        assert np.array_equal(read(tmp_path, data), upright(wanted, orientation))


def test_other_forms_of_tiff(tmp_path):
    assert np.array_equal(read(tmp_path, tiff(GREY, 0)), 255 - GREY)  # white is 0
    wide = WIDE[..., 0].copy()
    assert np.array_equal(read(tmp_path, tiff(wide, 0)), (65535 - wide.astype(int)) >> 8)
    assert np.array_equal(read(tmp_path, tiff(COLOUR, 2, planar=2)), COLOUR)
    assert np.array_equal(read(tmp_path, tiff(ALPHA, 2, extra=0)), ALPHA[..., :3])  # a channel without a meaning
    assert np.array_equal(read(tmp_path, tiff(ALPHA, 2, extra=2)), on_white(ALPHA))
    assert np.array_equal(read(tmp_path, tiff(WIDE_ALPHA, 2, extra=2)), on_white(ALPHA))
    multiplied = np.minimum(ALPHA, ALPHA[..., 3:])
    wanted = 255 + multiplied[..., :3].astype(int) - ALPHA[..., 3:]
    assert np.array_equal(read(tmp_path, tiff(multiplied, 2, extra=1)), wanted)
    assert np.array_equal(read(tmp_path, tiff(multiplied.astype(np.uint16) * 256, 2, extra=1)), wanted)
    picture = Pillow.fromarray(COLOUR)
    assert np.array_equal(read(tmp_path, stored(picture.quantize(16), "TIFF")), picture.quantize(16).convert("RGB"))
    two = stored(picture, "TIFF", save_all=True, append_images=[Pillow.fromarray(255 - COLOUR)])
    assert np.array_equal(read(tmp_path, two), COLOUR)  # the first page


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tiff(GREY.astype(np.float32), 1, format=3), "its values are not unsigned whole numbers"),
        (tiff(GREY, 1, format=2), "its values are not unsigned whole numbers"),
        (tiff(ALPHA[..., :2].copy(), 1, extra=2), "it has 2 channels"),
        (tiff(WIDE, 2, planar=2), "16 bits are stored one after the other"),
        (tiff(WIDE_ALPHA, 2, extra=0), "16 bits without a meaning"),
        (tiff(WIDE_ALPHA, 5), "16 bits without a meaning"),
        (tiff(COLOUR, 8), "its colours are of the kind 8"),
        (tiff(GREY.astype(np.uint32), 1), "its values have 32 bits"),
        (b"II+\0\x08\0\0\0" + bytes(60), "the kind BigTIFF"),
        (b"II*\0\x08\0\0\0\0\0" + bytes(60), "can be decoded"),
    ],
)
def test_tiff_that_would_be_decoded_wrong_is_refused(tmp_path, data, message):
    with pytest.raises(UnreadableImage, match=f"image: not an image that can be decoded.*{message}|{message}"):
        read(tmp_path, data)


def gif(width, frame, clear=None, background=0, more=b""):
    """One row of pixels 0 to 3, `frame` at its place; a palette of four colours."""
    left, values = frame
    head = b"GIF89a" + struct.pack("<HHBBB", width, 1, 0x81, background, 0) + bytes(PALETTE.ravel())
    control = b"" if clear is None else bytes([0x21, 0xF9, 4, 1, 0, 0, clear, 0])
    codes = [code for value in values for code in (4, value)] + [5]  # a clear code before each pixel: no table grows
    bits = sum(code << 3 * place for place, code in enumerate(codes))
    packed = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    image = b"," + struct.pack("<HHHHB", left, 0, len(values), 1, 0) + b"\2" + bytes([len(packed)]) + packed + b"\0"
    return head + control + image + more + b";"


PALETTE = np.array([[10, 20, 30], [200, 100, 50], [0, 0, 255], [1, 2, 3]], np.uint8)


@later
def test_gif(tmp_path):
    assert np.array_equal(read(tmp_path, gif(2, (0, [0, 1]))), PALETTE[None, :2])
    assert read(tmp_path, gif(2, (0, [0, 1]), clear=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert read(tmp_path, gif(3, (1, [1, 2]), clear=2)).tolist() == [[[255] * 3, [200, 100, 50], [255] * 3]]
    picture = Pillow.fromarray(COLOUR).quantize(16)
    assert np.array_equal(read(tmp_path, stored(picture, "GIF", interlace=1)), picture.convert("RGB"))
    options = {"save_all": True, "append_images": [Pillow.fromarray(255 - COLOUR).quantize(16)]}
    assert np.array_equal(read(tmp_path, stored(picture, "GIF", **options)), picture.convert("RGB"))  # the first frame


@later
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif(tmp_path, orientation):
    options = {"quality": 100, "subsampling": "4:4:4"}
    exif = Pillow.Exif()
    exif[274] = orientation
    image = read(tmp_path, stored(COLOUR, "AVIF", exif=exif, **options))
    assert image.shape == upright(COLOUR, orientation).shape
    assert np.abs(image.astype(int) - upright(COLOUR, orientation)).max() <= 3
    assert np.abs(read(tmp_path, stored(ALPHA, "AVIF", **options)) - on_white(ALPHA)).max() <= 3
    assert read(tmp_path, stored(GREY, "AVIF")).shape == GREY.shape


@later
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_the_upper_eight_bits_of_avif_are_kept(tmp_path, depth):
    values = COLOUR if depth == 8 else COLOUR.astype(np.uint16) << (depth - 8)
    options = [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 100]
    data = cv2.imencode(".avif", values, options)[1].tobytes()
    assert np.abs(read(tmp_path, data).astype(int) - COLOUR[..., ::-1]).max() <= 1


@pytest.mark.skipif(not LATER, reason="of an OpenCV before 4.12")
@pytest.mark.parametrize("kind", ["GIF", "AVIF"])
def test_an_old_opencv_says_which_kind_it_lacks(tmp_path, kind):
    with pytest.raises(UnreadableImage, match=f"{kind}: .*a form that OpenCV {cv2.__version__} does not decode"):
        read(tmp_path, stored(COLOUR, kind))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"P5\n# a comment\n3 2\n255\n\1\2\3\4\5\6", [[1, 2, 3], [4, 5, 6]]),
        (b"P5 3 1 65535\n\1\2\3\4\5\6", [[1, 3, 5]]),
        (b"P6\n1 2\n255\n\1\2\3\4\5\6", [[[1, 2, 3]], [[4, 5, 6]]]),
        (b"P4\n3 1\n\xa0", [[0, 255, 0]]),
        (b"P1\n3 1\n1 0 1\n", [[0, 255, 0]]),
        (b"P2\n3 1\n255\n7 0 255\n", [[7, 0, 255]]),
    ],
)
def test_pnm(tmp_path, data, wanted):
    assert read(tmp_path, data).tolist() == wanted


def test_pnm_that_would_be_too_dark_is_refused(tmp_path):
    with pytest.raises(UnreadableImage, match="its largest value is 15, expected 255 or 65535"):
        read(tmp_path, b"P5\n3 1\n15\n\1\2\x0f")
    with pytest.raises(UnreadableImage, match="can be decoded"):
        read(tmp_path, b"P5\n3\n")


NOISE = RANDOM.integers(0, 256, (60, 80, 3), np.uint8)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PPM", {}),
        pytest.param("GIF", {}, marks=later),
        pytest.param("AVIF", {}, marks=later),
    ],
)
def test_a_file_that_is_cut_off_is_refused_and_one_with_bytes_behind_it_is_not(tmp_path, kind, options):
    data = stored(NOISE, kind, **options)
    whole = read(tmp_path, data)
    assert whole.shape == NOISE.shape
    assert np.array_equal(read(tmp_path, data + b"\0" * 100), whole)
    for end in (len(data) * 3 // 10, len(data) // 2, len(data) * 9 // 10, len(data) - 1):
        with pytest.raises(UnreadableImage, match="image: the image file is truncated"):
            read(tmp_path, data[:end])


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "GIF", "AVIF", "PNG", "BMP", "PPM", "JPEG"])
def test_no_header_that_is_damaged_stops_the_program(kind):
    data = stored(COLOUR, kind)
    assert read_header(data).size == (6, 10)
    for end in range(min(len(data), 400)):
        read_header(data[:end])
    for place in range(min(len(data), 400)):
        for value in (0, 1, 127, 255):
            read_header(data[:place] + bytes([value]) + data[place + 1 :])


def test_bombs_of_every_kind_are_refused_before_they_are_decoded(tmp_path):
    side = 20_000
    webp = bytearray(stored(NOISE, "WEBP", lossless=True))
    struct.pack_into("<I", webp, 21, (16_383) | (16_383) << 14)
    flat = tiff(GREY, 1)
    wide = bytearray(flat)
    for tag in (256, 257):
        struct.pack_into("<H", wide, flat.index(struct.pack("<HHI", tag, 3, 1)) + 8, side)
    gifs = bytearray(gif(2, (0, [0, 1])))
    struct.pack_into("<HH", gifs, 6, side, side)
    avif = bytearray(stored(GREY, "AVIF"))
    struct.pack_into(">II", avif, avif.index(b"ispe") + 8, side, side)
    for data in (webp, wide, gifs, avif):
        with pytest.raises(UnreadableImage, match=f"pixels, more than the {MAX_PIXELS} allowed"):
            read(tmp_path, bytes(data))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("apart", [True, False])
def test_of_an_animated_png_the_still_image_is_read(tmp_path, mode, frames, apart):
    """`apart`: the image that old viewers show is none of the animation."""
    still, *others = (Pillow.new("L", (9, 8), 20 * number + 50).convert(mode) for number in range(frames + 1))
    options = {"save_all": True, "default_image": apart, "append_images": others}
    animated = stored(still, "PNG", **options)
    assert b"acTL" in animated and np.array_equal(read(tmp_path, animated), read(tmp_path, stored(still, "PNG")))
    assert (read(tmp_path, animated) == 50).all()


def test_files_of_endless_tiny_parts_are_refused(tmp_path):
    jpeg = b"\xff\xd8" + b"\xff\xe0\0\2" * (MAX_PARTS + 1)
    tiny = stored(GREY, "PNG")[:33] + (b"\0\0\0\0teXt" + b"\0" * 4) * (MAX_PARTS + 1)
    blocks = b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1a" * (MAX_PARTS + 1)
    for data in (jpeg, tiny, blocks):
        with pytest.raises(UnreadableImage, match="more than 1048576 parts"):
            read(tmp_path, data)
