"""JSON without its traps: no key twice, of which readers take different ones, and nothing too deep to walk through."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from engine.errors import shortened
from engine.reading.yaml_text import DEEPEST

TOO_DEEP = f"lists and mappings lie more than {DEEPEST} deep in each other"


def parse_json(text: str | bytes, hook: Callable[[dict[str, Any]], Any] = dict) -> Any:
    """The value of a JSON text; `hook` may put another value in the place of an object.

    ValueError for what is no JSON, for a key that stands twice in an object, and where lists and objects lie more than
    DEEPEST deep in each other.
    """
    try:
        value = json.loads(text, object_pairs_hook=lambda pairs: hook(_once(pairs)))
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """ValueError where lists and mappings lie deeper in each other than `parse_json` takes them."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
    if level:
        raise ValueError(TOO_DEEP)


def _inside(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [each for each in inner if isinstance(each, (dict, list, tuple))]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {shortened(twice)!r} stands there twice")
    return given
