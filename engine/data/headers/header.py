"""What the header of an image file says about how to decode it."""

from __future__ import annotations

from dataclasses import dataclass

# Chunks, segments, blocks or strips of one file that are looked at: one that is made of tiny ones would take minutes.
MAX_PARTS = 1 << 20
TOO_MANY = f"it consists of more than {MAX_PARTS} parts"


@dataclass(frozen=True)
class Header:
    """size           (height, width) as stored, before any turn; None where the header does not say or is damaged
    cut_off        the file ends before its content does
    refused        why it cannot be decoded right, in words; empty where it can
    as_stored      decoded with all channels and bits, and turned here: grey, colour, or colour with alpha
    grey           the decoder's three channels hold the same grey
    clear          the grey value, as decoded with all its bits, that is transparent
    unused_alpha   an alpha of 0 everywhere means nothing: programs declare it without writing it
    premultiplied  the colours are multiplied with alpha already
    depth          bits of a value where the decoder gives more than eight
    orientation    as Exif counts it, 1 to 8; None: the decoder turns the image upright
    memory         bytes that decoding takes at its peak, about (measured with OpenCV 5.0); 0 where there is no size
    hidden         (start, end) of bytes that the decoder is not to see, in order
    """

    kind: str
    size: tuple[int, int] | None
    cut_off: bool = False
    refused: str = ""
    as_stored: bool = False
    grey: bool = False
    clear: int | None = None
    unused_alpha: bool = False
    premultiplied: bool = False
    depth: int = 16
    orientation: int | None = None
    memory: int = 0
    hidden: tuple[tuple[int, int], ...] = ()

    def shown(self, data: bytes) -> bytes:
        """The file without what is hidden from the decoder."""
        if not self.hidden:
            return data
        ends = [0, *(end for _, end in self.hidden)]
        starts = [*(start for start, _ in self.hidden), len(data)]
        return b"".join(data[end:start] for end, start in zip(ends, starts))


def pixels(size: tuple[int, int] | None) -> int:
    """Height times width; 0 for None."""
    return 0 if size is None else size[0] * size[1]
