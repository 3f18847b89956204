"""What the core can compute with: its own table of limits, in the words of a layer's arguments and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import cnncore

from engine.arguments import integer, size
from engine.errors import UserError
from engine.program.shapes import Shape

MOST_ELEMENTS = int(cnncore.GEOMETRY_LIMITS["elementwise"]["count"][1])
"""Of one array, for a whole batch."""


def bounds(kind: str, field: str) -> tuple[int, int]:
    """The least and the largest whole number that a field of this kind of geometry can have."""
    least, most = cnncore.GEOMETRY_LIMITS[kind][field]
    return int(least), int(most)


def whole(owner: str, name: str, value: Any, kind: str, field: str) -> int:
    """An argument that becomes this field of a geometry; UserError beyond its limits."""
    return integer(owner, name, value, *bounds(kind, field))


def extents(owner: str, name: str, value: Any, kind: str, field: str) -> int | tuple[int, int]:
    """As `whole`, for one number or (height, width), of which both have the limits of `field`."""
    return size(owner, name, value, *bounds(kind, field))


def check_geometry(owner: str, op: str, geometry: Mapping[str, Any]) -> None:
    """UserError unless the op can run on these numbers, each of them and all together."""
    if fits(op, geometry):
        return
    kind = cnncore.OPS[op].geometry
    for field, value in geometry.items():
        least, most = cnncore.GEOMETRY_LIMITS[kind][field]
        if isinstance(value, int) and not least <= value <= most:
            raise UserError(f"{owner}: {field} would be {value}, but {least:.0f} to {most:.0f} is possible")
    numbers = ", ".join(f"{field} {value:g}" for field, value in geometry.items())
    raise UserError(
        f"{owner}: {op} cannot be computed with {numbers}; "
        f"no array can have more than {MOST_ELEMENTS} elements, with its padding"
    )


def fits(op: str, geometry: Mapping[str, Any]) -> bool:
    """Whether the core has the op for these numbers. Geometries are of one sample, so that the plans of a network for
    several batches ask for the same ones: the answers are kept."""
    return _fits(op, tuple(geometry), tuple(geometry.values()))


@lru_cache(maxsize=1024)
def _fits(op: str, fields: tuple[str, ...], numbers: tuple[Any, ...]) -> bool:
    try:
        return cnncore.op_fits(op, dict(zip(fields, numbers, strict=True)))
    except ValueError:  # a number that no field can hold
        return False


def check_shape(owner: str, shape: Shape) -> None:
    """UserError for a map or vector with an extent, or with a number of elements, beyond what the core can have."""
    limits = [bounds("image", field) for field in "chw"] if len(shape) == 3 else [(1, MOST_ELEMENTS)]
    if any(not least <= extent <= most for extent, (least, most) in zip(shape, limits, strict=True)):
        most = max(most for _, most in limits)
        raise UserError(f"{owner} has shape {shape}, but extents of 1 to {most} are possible")
    check_elements(f"{owner} of shape {shape}", math.prod(shape))


def check_elements(owner: str, count: int) -> None:
    """UserError for an array that is larger than the core can have."""
    if count > MOST_ELEMENTS:
        raise UserError(f"{owner} has {count} elements, but no array can have more than {MOST_ELEMENTS}")
