"""What the bytes of an image file tell without decoding it, a file per kind: size, an end that is cut off, orientation,
transparency, and what OpenCV would get wrong. Decoders do not complain about much of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from engine.data.headers import avif, bmp, gif, jpeg, png, pnm, tiff, webp
from engine.data.headers.header import Header

__all__ = ["KINDS", "START", "Header", "kind_of", "other_kind", "read_header"]

READERS: Mapping[str, tuple[Callable[[bytes], bool], Callable[[bytes], Header]]] = MappingProxyType(
    {
        "PNG": (lambda start: start.startswith(png.SIGNATURE), png.read),
        "JPEG": (lambda start: start.startswith(jpeg.SIGNATURE), jpeg.read),
        "BMP": (lambda start: start.startswith(bmp.SIGNATURE), bmp.read),
        "WebP": (lambda start: start[:4] == b"RIFF" and start[8:12] == b"WEBP", webp.read),
        "TIFF": (lambda start: start[:4] in tiff.SIGNATURES, tiff.read),
        "GIF": (lambda start: start[:6] in gif.SIGNATURES, gif.read),
        "AVIF": (lambda start: not avif.BRANDS.isdisjoint(avif.brands(start)), avif.read),
        "PNM": (lambda start: pnm.START.match(start) is not None, pnm.read),
    }
)
KINDS = ", ".join(READERS)
START = 64  # bytes, enough to tell the kinds apart
# Files that lie among images under an image's name, or are images of kinds that are not read.
OTHERS = (
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
    (b"<!DOCTYPE", "HTML"),
    (b"<html", "HTML"),
    (b"\0\x05\x16\x07", "AppleDouble"),
    (b"\0\0\x01\0", "icon"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"version https://git-lfs", "Git LFS pointer"),
)


def kind_of(start: bytes) -> str | None:
    """The kind of image, one of KINDS, that a file of which these are the first START bytes holds; None for no such."""
    return next((kind for kind, (fits, _) in READERS.items() if fits(start)), None)


def other_kind(start: bytes) -> str | None:
    """The name of another kind of file that begins so, where it is known."""
    if not avif.HEIC_BRANDS.isdisjoint(avif.brands(start)):
        return "HEIC"
    return next((kind for begin, kind in OTHERS if start.startswith(begin)), None)


def read_header(data: bytes) -> Header | None:
    """What the whole file `data` tells; None for a file of none of KINDS."""
    kind = kind_of(data[:START])
    return None if kind is None else READERS[kind][1](data)
