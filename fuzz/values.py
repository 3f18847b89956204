"""Changes of values as JSON and YAML have them: most stay nearly right, some are of another kind, size or place."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from typing import Any

Plain = Callable[[bytes, int], bytes]
"""Changes bytes without knowing what they are: (bytes, the most that may come out) to bytes."""

WHOLES = [0, 1, -1, 2, 3, 7, 255, 256, 65536, 2**31 - 1, 2**31, 2**32, 2**53, 2**61, 2**62, 2**63 - 1, 2**63, 2**64]
WHOLES += [-(2**31), -(2**63), 10**19, 10**40]
REALS = [0.0, -0.0, 0.5, 1.5, -1.5, 1e-50, 1e-38, 3.4e38, 1e39, 1e308, 5e-324]
TEXTS = ["", " ", "0", "-1", "1e999", "nan", "true", "input", "a" * 300, "\u202e", "\U0001f600", "\x7f", "a/b", "../x"]
TEXTS += ["run:", "{}", "*", "0.weights", "\0", "\ud800", "\n" * 60, "auto", "direct"]
OTHERS: list[Any] = [None, True, False, [], {}, [[]], {"name": None}, [0], ["a"], {"": 0}]
MOST_VALUES = 4000  # in one value: a list that is doubled again and again


def changed(value: Any, rng: random.Random) -> Any:
    """The value with one to three changes somewhere in it; the given one stays as it is."""
    value = [copy.deepcopy(value)]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(value))
        _change(*rng.choice(places), places, rng)
    return value[0]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value within."""
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending and len(found) < MOST_VALUES:
        container = pending.pop()
        for key, inner in container.items() if isinstance(container, dict) else enumerate(container):
            found.append((container, key))
            if isinstance(inner, (dict, list)):
                pending.append(inner)
    return found


def _change(container: Any, key: Any, places: list[tuple[Any, Any]], rng: random.Random) -> None:
    value = container[key]
    what = rng.randrange(12)
    if what == 0:
        container[key] = _any(rng)
    elif what == 1 and len(places) > 1:
        container[key] = _copied(*rng.choice(places))
    elif what == 2 and isinstance(container, dict):
        del container[key]
        container[rng.choice((f"{key}x", rng.choice(TEXTS), str(key)[:-1]))] = value
    elif what == 3 and len(container) > 1:
        del container[key]
    elif what == 4:
        container[key] = [_copied(container, key)] * rng.choice((1, 2, 9))
    elif what == 5:
        for _ in range(rng.choice((1, 3, 70))):
            value = rng.choice(([value], {"name": value}))
        container[key] = value
    elif what == 6 and isinstance(value, list):
        value += [_copied(value, 0)] * rng.choice((1, 5, 64)) if value else [rng.choice(WHOLES)]
    else:
        container[key] = near(value, rng)


def _any(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(rng.choice((WHOLES, REALS, TEXTS, OTHERS))))


def _copied(container: Any, key: Any) -> Any:
    return copy.deepcopy(container[key])


def near(value: Any, rng: random.Random) -> Any:
    """Another value of about the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, value * 2, float(value), str(value), rng.choice(WHOLES)))
    if isinstance(value, float):
        whole = int(value) if math.isfinite(value) else 0
        return rng.choice((-value, value * 1e20, value / 1e20, whole, rng.choice(REALS)))
    if isinstance(value, str):
        place = rng.randrange(len(value) + 1)
        letter = rng.choice(("", " ", "\n", ",", '"', ".", "0", "é", "\x00", "/"))
        return rng.choice((value[:place] + letter + value[place + 1 :], value[:place], value * 2, value.upper()))
    if isinstance(value, list) and value:
        return rng.choice((value[::-1], value[:-1], value + value[-1:], tuple_like(value, rng)))
    return _any(rng)


def tuple_like(values: list[Any], rng: random.Random) -> list[Any]:
    """The list with one of its values changed."""
    changed_list = list(values)
    place = rng.randrange(len(values))
    changed_list[place] = near(values[place], rng)
    return changed_list


def sprinkled(data: bytes, rng: random.Random, plain: Plain, most: int) -> bytes:
    """Bytes with numbers of one, two or four bytes written over, or as libFuzzer changes them."""
    if rng.randrange(2) or not data:
        return plain(data, most)
    changed_bytes = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, length = rng.randrange(len(data)), rng.choice((1, 2, 4))
        number = rng.choice((0, 1, 2, 3, 127, 128, 255, 8192, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1))
        written = (number % 256**length).to_bytes(length, rng.choice(("big", "little")))
        changed_bytes[place : place + length] = written
    return bytes(changed_bytes[:most])


def headed(data: bytes, kinds: tuple[str, ...]) -> tuple[str, bytes]:
    """Inputs of a harness with several formats begin with the name of one in a line of its own."""
    name, _, content = data.partition(b"\n")
    text = name.decode("latin-1")
    return (text, content) if text in kinds else (kinds[len(data) % len(kinds)], data)
