"""AV1 (Bitstream & Decoding Process Specification, 5.3 and 5.5): the largest frame that its sequence headers allow.

The container says a size as well, but a decoder makes room for the one that is said here.
"""

from __future__ import annotations

from engine.data.headers.header import MAX_PARTS

SEQUENCE_HEADER = 1
LONGEST = 512  # bytes of a sequence header up to the size


def largest_frame(units: bytes) -> tuple[int, int]:
    """(height, width) over all sequence headers among these open bitstream units; (0, 0) where there is none."""
    height = width = place = 0
    for _ in range(MAX_PARTS):
        if place >= len(units):
            break
        first = units[place]
        place += 2 if first & 0x04 else 1  # an extension follows
        length = len(units) - place
        if first & 0x02:
            length, place = _leb128(units, place)
        if first >> 3 & 15 == SEQUENCE_HEADER:
            size = _sequence_size(_Bits(units[place : place + min(length, LONGEST)]))
            height, width = max(height, size[0]), max(width, size[1])
        place += length
    return height, width


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    """The number, seven bits a byte from the lowest on, and the place behind it."""
    value = 0
    for count, byte in enumerate(data[place : place + 8]):
        value |= (byte & 0x7F) << 7 * count
        if not byte & 0x80:
            return value, place + count + 1
    return len(data), len(data)


class _Bits:
    """Bits from the highest on; zeros behind the end."""

    def __init__(self, data: bytes):
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return shifted & ((1 << count) - 1)

    def take_uvlc(self) -> None:
        zeros = 0
        while zeros < 32 and not self.take(1):
            zeros += 1
        self.take(zeros)


def _sequence_size(bits: _Bits) -> tuple[int, int]:
    bits.take(4)  # profile, whether it is a still picture
    if bits.take(1):  # a reduced header
        bits.take(5)
    else:
        _operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    width = bits.take(width_bits) + 1
    return bits.take(height_bits) + 1, width


def _operating_points(bits: _Bits) -> None:
    """Passes over the times and points that stand before the size."""
    delay_bits = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):
            bits.take_uvlc()
        if bits.take(1):  # decoder model
            delay_bits = bits.take(5) + 1
            bits.take(42)
    delays = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if delays and bits.take(1):
            bits.take(4)
