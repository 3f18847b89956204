"""Shapes of one sample, in the public order and as they lie in memory."""

from __future__ import annotations

import math

Shape = tuple[int, ...]
"""Extents of one sample in the public order: (C, H, W) for a feature map, (K,) for a vector."""


def elements(shape: Shape) -> int:
    """Number of elements of one sample."""
    return math.prod(shape)


def spatial(shape: Shape) -> int:
    """H*W of a feature map, 1 for a vector."""
    return math.prod(shape[1:])


def needs_transpose(shape: Shape) -> bool:
    """Whether the orders C, H, W and H, W, C of this shape differ in memory."""
    return len(shape) == 3 and shape[0] > 1 and spatial(shape) > 1


def stored_shape(shape: Shape) -> tuple[int, ...]:
    """(C, H, W) as it lies in memory: (H, W, C). Vectors stay."""
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape
