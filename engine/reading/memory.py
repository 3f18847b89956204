"""How much memory a file may ask for: a few hundred bytes can state sizes that fill any."""

from __future__ import annotations

# Bytes that reading a file may take: some for any, and so many more for each byte of it. A file of a few hundred can
# ask for as much as one of megabytes.
MEMORY, MEMORY_PER_BYTE = 180_000_000, 2000


def memory_for(length: int) -> int:
    """Bytes of memory that a file of so many bytes may take to read; and that a network from it, for one sample."""
    return MEMORY + MEMORY_PER_BYTE * length
