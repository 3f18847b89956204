"""Values of which more than one type is allowed: the first type that takes one gets it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from engine.errors import UserError
from engine.reading.schema import merge, parse_override, read_json, read_mapping, read_stored
from engine.recipe.config import read_config


@dataclass(frozen=True)
class Some:
    layers: tuple[str | int, ...] = ()
    size: int | tuple[int, int] | None = None
    shares: dict[str, int | float] | None = None


@pytest.mark.parametrize(
    "given",
    [
        {"layers": ("conv1", 0, "fc")},
        {"size": 3},
        {"size": (3, 4)},
        {"size": None},
        {"shares": {"a": 1, "b": 0.5}},
    ],
)
def test_each_type_of_a_union_is_taken(given):
    assert read_mapping(Some, given, "here") == Some(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": ["conv1", 0.5]}, r"here: layers\[1\]: expected str or int, got float 0.5"),
        ({"layers": [None]}, r"here: layers\[0\]: expected str or int, got nothing"),
        ({"size": "big"}, "here: size: expected int or .*, got str 'big'"),
        ({"size": [1, 2, 3]}, "here: size: expected 2 values, got 3"),
        ({"shares": {"a": "much"}}, "here: shares.a: expected int or float, got str 'much'"),
    ],
)
def test_what_no_type_takes_is_named(given, message):
    with pytest.raises(UserError, match=message):
        read_mapping(Some, given, "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands there twice"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a": ' + "7" * 5000 + "}", "not valid JSON"),
        ("[]", "expected a JSON object"),
    ],
)
def test_json_that_is_none_or_says_a_thing_twice_is_refused(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=f"a.json: .*{message}"):
        read_json(path)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("optimizer=SGD", "; is {name: SGD} meant?"),
        ("schedule=Cosine", "; is {name: Cosine} meant?"),
        ("loss=CrossEntropy", "; is {name: CrossEntropy} meant?"),
        ("model=lenet", "; is {name: lenet} meant?"),
        ("split=none", "; is {kind: none} meant?"),
        ("early_stopping=3", "; is {patience: 3} meant?"),
        ("wandb=mine", "; is {project: mine} meant?"),
        # What the first key of the section would not take is told without a guess.
        ("split=3", ""),
        ("label_noise=0.1", ""),
        ("split=nothing", ""),
        ("preprocess=bbox", ""),
        ("optimizer=3", ""),
        ("optimizer=[SGD]", ""),
        ("dataset={name: folder, train: photos}", ""),
    ],
)
def test_a_value_where_a_section_stands_is_shown_as_one(given, hint):
    base = {"dataset": "digits5k", "model": {"name": "lenet"}}
    with pytest.raises(UserError) as told:
        read_config(merge(base, parse_override(given)))
    assert re.search(r"expected a mapping of keys to values, got \w+ [^;]+$", str(told.value).removesuffix(hint))
    assert str(told.value).endswith(hint or str(told.value)[-1])


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"rotation": 400}, ""),
        ({"scaling": 1}, ""),
        ({"shift": 2}, ""),
        ({"cutmix": -1}, ""),
        ({"colour_jitter": 5}, ""),
        ({"colour_jitter": 0.3}, "; is {brightness: 0.3} meant?"),
    ],
)
def test_a_value_that_its_section_would_not_take_is_not_advised(given, hint):
    with pytest.raises(UserError, match="augment: ") as told:
        read_config({"dataset": "digits5k", "model": {"name": "lenet"}, "augment": given})
    assert "".join(re.findall("; is .*", str(told.value))) == hint


def test_an_override_lies_not_endlessly_deep():
    with pytest.raises(UserError, match="at most 64 sections deep"):
        parse_override("a" + ".a" * 2000 + "=1")
    assert parse_override("a.b=1e-2") == {"a": {"b": 0.01}}


@dataclass(frozen=True)
class Figures:
    rate: float = 0.0
    count: int = 0
    on: bool = False


@pytest.mark.parametrize("digits", [309, 400, 4000, 5000])
def test_a_whole_number_that_no_float_can_be_is_refused(digits):
    for read in (read_mapping, read_stored):
        with pytest.raises(UserError, match="here: rate: expected a number that a float can be"):
            read(Figures, {"rate": 10**digits}, "here")


def test_what_a_program_wrote_has_no_texts_for_numbers():
    for given in ({"rate": "1.5"}, {"count": "3"}, {"on": "off"}):
        read_mapping(Figures, given, "here")
        with pytest.raises(UserError, match=r"here: \w+: expected (float|int|bool), got str"):
            read_stored(Figures, given, "here")
    assert read_stored(Figures, {"rate": 1, "count": 3, "on": True}, "here") == Figures(1.0, 3, True)
