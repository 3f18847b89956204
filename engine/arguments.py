"""Checks of arguments that layers, losses, optimisers and settings have in common."""

from __future__ import annotations

import math
from typing import Any

from engine.errors import UserError


def integer(owner: str, name: str, value: Any, minimum: int) -> int:
    """`value` as an int, at least `minimum`; UserError otherwise."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < minimum:
        raise UserError(f"{owner}: {name} must be a whole number of at least {minimum}, not {value!r}")
    return int(value.__index__())


MAX_SEED = 2**64 - 1  # one word of the counter-based generators' key


def checked_seed(owner: str, value: Any) -> int:
    """`value` as a seed, 0 to 2^64 - 1; UserError otherwise."""
    seed = integer(owner, "seed", value, 0)
    if seed > MAX_SEED:
        raise UserError(f"{owner}: seed must be a whole number from 0 to 2^64 - 1, not {value!r}")
    return seed


def size(owner: str, name: str, value: Any, minimum: int) -> int | tuple[int, int]:
    """An int, or a pair (height, width) of them, checked; a list (from JSON or YAML) becomes a tuple."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise UserError(f"{owner}: {name} must be one number or (height, width), not {value!r}")
        return integer(owner, name, value[0], minimum), integer(owner, name, value[1], minimum)
    return integer(owner, name, value, minimum)


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def number(
    owner: str, name: str, value: Any, low: float, high: float, *, above: bool = False, below: bool = False
) -> float:
    """`value` as a finite float in [low, high], without `low` if `above`, without `high` if `below`; UserError
    otherwise."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < low or value > high or (above and value == low) or (below and value == high):
        if math.isfinite(high):
            bound = f"from {'above ' if above else ''}{low} to {'below ' if below else ''}{high}"
        else:
            bound = f"above {low}" if above else f"of at least {low}"
        raise UserError(f"{owner}: {name} must be a number {bound}, not {value!r}")
    return float(value)


def assign(instance: object, **values: Any) -> None:
    """Store checked arguments in a frozen dataclass, from its __post_init__."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)
