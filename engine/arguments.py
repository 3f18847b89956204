"""Checks of arguments that layers, losses, optimisers and settings have in common."""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import SampleError, UserError, shown


def integer(owner: str, name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """`value` as an int, at least `minimum` and, where there is one, at most `maximum`; UserError otherwise."""
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None or found < minimum:
        raise UserError(f"{owner}: {name} must be a whole number of at least {minimum}, not {shown(value)}")
    if maximum is not None and found > maximum:
        raise UserError(f"{owner}: {name} must be a whole number of at most {maximum}, not {shown(value)}")
    return found


def truth(owner: str, name: str, value: Any) -> bool:
    """`value` as true or false, which 1 and 0 stand for too; UserError for anything else: a text would be true."""
    if isinstance(value, (bool, int, np.bool_)) and value in (0, 1):
        return bool(value)
    raise UserError(f"{owner}: {name} must be true or false, not {shown(value)}")


MAX_SEED = 2**64 - 1  # one word of the counter-based generators' key


def checked_seed(owner: str, value: Any) -> int:
    """`value` as a seed, 0 to 2^64 - 1; UserError otherwise."""
    seed = integer(owner, "seed", value, 0)
    if seed > MAX_SEED:
        raise UserError(f"{owner}: seed must be a whole number from 0 to 2^64 - 1, not {value!r}")
    return seed


def size(owner: str, name: str, value: Any, minimum: int, maximum: int | None = None) -> int | tuple[int, int]:
    """An int, or a pair (height, width) of them, checked; a list (from JSON or YAML) becomes a tuple."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise UserError(f"{owner}: {name} must be one number or (height, width), not {shown(value)}")
        height, width = (integer(owner, name, side, minimum, maximum) for side in value)
        return height, width
    return integer(owner, name, value, minimum, maximum)


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


_FLOAT32_MIN = 2.0**-126  # the least that is no denormal: the core counts what is below as zero
FLOAT32_LIMIT = 2.0**128 - 2.0**103  # halfway behind the largest: from here on a number is infinite


def as_float32(value: float) -> float:
    """A number as the core sees it: rounded to float32, infinite where that overflows, zero below 1.18e-38 in size."""
    try:
        (rounded,) = struct.unpack("f", struct.pack("f", float(value)))
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return 0.0 if abs(rounded) < _FLOAT32_MIN else float(rounded)


def is_real(value: Any) -> bool:
    """Whether `value` is a real number: Python's, NumPy's or another; true and false are none."""
    return type(value) is float or (isinstance(value, Real) and not isinstance(value, bool))


def real(
    owner: str, name: str, value: Any, low: float, high: float, *, above: bool = False, below: bool = False
) -> float:
    """`value` as a float that is finite and in [low, high]; UserError otherwise. `above` and `below` leave out `low`
    and `high` themselves."""
    _check_within(owner, name, value, low, high, above, below)
    try:
        return float(value)
    except OverflowError:
        raise UserError(f"{owner}: {name} must be a number of double precision, not {shown(value)}") from None


def number(
    owner: str, name: str, value: Any, low: float, high: float, *, above: bool = False, below: bool = False
) -> float:
    """`value` as `real` gives it, where it is as float32 still what it is; UserError otherwise.

    A number that float32 turns into infinity, zero or a bound that is left out would reach the core as another one, so
    it is refused; other roundings are as always. With no owner the message begins with the name.
    """
    _check_within(owner, name, value, low, high, above, below)
    seen = as_float32(value)
    other = math.isinf(seen) or (seen == 0.0 and value != 0.0)
    if other or (above and seen == low) or (below and seen == high):
        raise UserError(
            f"{_place(owner, name)} must be a number {_interval(low, high, above, below)}, but {shown(value)} is "
            f"{'infinite' if math.isinf(seen) else f'{seen:g}'} as a float32, in which everything is computed"
        )
    return float(value)


def _check_within(owner: str, name: str, value: Any, low: float, high: float, above: bool, below: bool) -> None:
    good = is_real(value) and value not in (math.inf, -math.inf)
    if not good or not low <= value <= high or (above and value == low) or (below and value == high):
        raise UserError(
            f"{_place(owner, name)} must be a number {_interval(low, high, above, below)}, not {shown(value)}"
        )


def _place(owner: str, name: str) -> str:
    return f"{owner}: {name}" if owner else name


def _interval(low: float, high: float, above: bool, below: bool) -> str:
    if math.isinf(low) and math.isinf(high):
        return "that is finite"
    if math.isinf(high):
        return f"above {low}" if above else f"of at least {low}"
    return f"from {'above ' if above else ''}{low} to {'below ' if below else ''}{high}"


def refuse_masked(subject: str, values: Any) -> None:
    """UserError where an array, or one in a list, has masked values: what lies below them is none of the data.
    `subject` begins the message, as in "the input has"."""
    arrays = values if isinstance(values, (list, tuple)) else (values,)
    if any(isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array) for array in arrays):
        raise UserError(f"{subject} masked values: fill or drop them")


def as_array(name: str, what: str, values: Any) -> NDArray[Any]:
    """An array as it is, or one made of a list and the like; UserError where its rows differ in length,
    and where values of it are masked."""
    refuse_masked(f"{name}: the {what} have", values)
    if isinstance(values, np.ndarray) and not isinstance(values, np.ma.MaskedArray):
        return values
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{name}: the {what} form no array: {error}") from None


def real_numbers(owner: str, name: str, values: Any) -> list[float]:
    """The elements of an array or list (n,) in double precision; UserError for what are no real numbers."""
    array = as_array(owner, name, values)
    if array.ndim != 1 or (array.dtype.kind not in "iuf" and not all(map(is_real, array.tolist()))):
        raise UserError(f"{owner}: the {name} must be real numbers (n,), got {array.dtype} {array.shape}")
    return [float(value) for value in array.tolist()]


def as_int64(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers (n, ...) as int64; SampleError for one that is too large for that."""
    if labels.dtype.kind == "u" and labels.dtype.itemsize == 8:
        large = np.argwhere(labels > np.iinfo(np.int64).max)
        if len(large):
            raise SampleError(
                "", int(large[0, 0]), f"has label {labels[tuple(large[0])]}, but no class has a number above 2^63 - 1"
            )
    return labels.astype(np.int64, copy=False)


Kind = TypeVar("Kind")


def each(owner: str, name: str, values: Any, check: Callable[[Any], Kind]) -> tuple[Kind, ...]:
    """The elements of a list, tuple or array, each as `check` gives it; UserError for anything else."""
    if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray)):
        raise UserError(f"{owner}: {name} must be a list, not {shown(values)}")
    return tuple(check(value) for value in values)


def instance(owner: str, name: str, value: Any, kind: type[Kind], what: str, *, good: bool = True) -> Kind:
    """`value`, an object of `kind`, called `what` in the message; UserError for others, or one that is not good."""
    if isinstance(value, kind) and good:
        return value
    is_class = isinstance(value, type) and issubclass(value, kind)
    given = f"the class {value.__name__}: write {value.__name__}(…)" if is_class else shown(value)
    raise UserError(f"{owner}: {name} must be {what}, not {given}")


def assign(instance: object, **values: Any) -> None:
    """Store checked arguments in a frozen dataclass, from its __post_init__."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)
