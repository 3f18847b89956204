"""JSON in which a key stands twice, or that lies too deep, is refused; all else is read as ever."""

from __future__ import annotations

import math

import pytest

from engine.reading.strict_json import parse_json
from engine.reading.yaml_text import DEEPEST


def test_json_is_read() -> None:
    assert parse_json('{"a": [1, 2.5, {"b": null}], "c": "x"}') == {"a": [1, 2.5, {"b": None}], "c": "x"}
    assert parse_json(b"[]") == [] and parse_json("3") == 3
    assert math.isnan(parse_json('[{"float": "nan"}]', lambda found: float(found["float"]))[0])


def test_a_key_that_stands_twice_is_named() -> None:
    for text in ('{"a": 1, "b": 2, "a": 1}', '[{"x": {"a": 1, "a": 2}}]'):
        with pytest.raises(ValueError, match="the key 'a' stands there twice"):
            parse_json(text)


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}")])
def test_depth_is_bounded(opening: str, closing: str) -> None:
    parse_json(opening * DEEPEST + "1" + closing * DEEPEST)
    for depth in (DEEPEST + 1, 500, 10_000, 1_000_000):
        with pytest.raises(ValueError, match=f"more than {DEEPEST} deep"):
            parse_json(opening * depth + "1" + closing * depth)


@pytest.mark.parametrize("text", ["", "{", "nul", '{"a": 1}}', "1" * 5000, b"\xff\xfe\x00", "{1: 2}", "[1,]"])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)
