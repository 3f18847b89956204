"""What a request may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from engine.inference.ensemble import CHUNK


@dataclass(frozen=True)
class Limits:
    """body      bytes of a request
    images    in a list
    requests  that are read or answered at a time; one more is told to come back
    seconds   in which a body has to arrive
    """

    body: int = 16 << 20
    images: int = CHUNK
    requests: int = 128
    seconds: float = 60.0
