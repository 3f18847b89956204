"""Every key that a training can have, read from the dataclasses that read it.

Name, type and default are those of the fields, the text is that of the class's docstring: nothing here has to be kept
in step with the code.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from engine.data.readers import READERS
from engine.data.steps import STEPS
from engine.layers import LAYERS
from engine.losses import LOSSES
from engine.models import MODELS, described_models
from engine.optim import OPTIMIZERS
from engine.reading.docstrings import entries, prose
from engine.recipe.config import TrainConfig
from engine.training.schedules import SCHEDULES

REQUIRED = "required"  # in place of a default
WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Any: "anything",
    type(None): "null",
}


@dataclasses.dataclass(frozen=True)
class Section:
    """A mapping of a file: where it stands, and the dataclass that reads it."""

    place: str
    schema: type

    @property
    def keys(self) -> tuple[dataclasses.Field[Any], ...]:
        return tuple(each for each in dataclasses.fields(self.schema) if each.init)

    @property
    def texts(self) -> dict[str, str]:
        """What each key is for; a key that the class inherits may be told by its base."""
        found: dict[str, str] = {}
        for base in reversed(self.schema.__mro__):
            found |= entries(base.__doc__)
        return found


def sections(place: str, schema: type) -> Iterator[Section]:
    """The section itself and, behind it, all that its keys lead to."""
    yield Section(place, schema)
    hints = typing.get_type_hints(schema)
    for each in dataclasses.fields(schema):
        for inner, suffix in _schemas(hints[each.name]):
            yield from sections(f"{place}.{each.name}{suffix}".lstrip("."), inner)


def named(place: str, classes: Mapping[str, type] | Sequence[type]) -> list[Section]:
    """Sections that their `name` tells apart, such as those of the optimisers."""
    known = classes if isinstance(classes, Mapping) else {each.__name__: each for each in classes}
    return [Section(f"{place}: {name}", each) for name, each in known.items()]


def training() -> list[Section]:
    """A training: its keys, and those of what it names."""
    return [
        *sections("", TrainConfig),
        *named("optimizer", OPTIMIZERS),
        *named("schedule", SCHEDULES),
        *named("loss", LOSSES),
        *named("preprocess.steps", STEPS),
    ]


def _schemas(hint: Any, suffix: str = "") -> Iterator[tuple[type, str]]:
    """The dataclasses in a type, each with what its place adds: [] in a list, .NAME in a mapping."""
    if dataclasses.is_dataclass(hint):
        yield typing.cast(type, hint), suffix
    origin = typing.get_origin(hint)
    inner = {tuple: "[]", list: "[]", dict: ".NAME"}.get(origin, "") if origin else ""
    for each in typing.get_args(hint):
        yield from _schemas(each, suffix + inner)


def type_words(hint: Any) -> str:
    """A type in the words of the YAML file."""
    if hint in WORDS:
        return WORDS[hint]
    if dataclasses.is_dataclass(hint):
        return "section"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(type_words(each) for each in arguments))
    if origin is typing.Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin in (tuple, list, Sequence) or getattr(origin, "__name__", "") == "Sequence":
        of = {type_words(each) for each in arguments if each is not Ellipsis} - {"anything"}
        return f"list of {', '.join(f'{each}s' for each in sorted(of))}" if of else "list"
    return "mapping"


def default_words(each: dataclasses.Field[Any]) -> str:
    """A default as it would stand in the file."""
    value = each.default
    if each.default_factory is not dataclasses.MISSING:
        value = each.default_factory()
    if value is dataclasses.MISSING:
        return REQUIRED
    if dataclasses.is_dataclass(value):
        return "its defaults"
    return f"`{in_yaml(value)}`"


def in_yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {in_yaml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(in_yaml, value)) + "]"
    return value if isinstance(value, str) and value else json.dumps(value)


@dataclasses.dataclass(frozen=True)
class Named:
    """What may stand where a name is wanted, what it is ("" where the name says so), and its arguments."""

    name: str
    text: str
    arguments: str


def names() -> dict[str, list[Named]]:
    """What may stand in dataset.name, model.name and model.layers."""
    return {
        "dataset.name": [Named(name, "", arguments(partial(reader, None))) for name, reader in READERS.items()],
        "model.name": [Named(name, text, _model_arguments(name)) for name, text in described_models().items()],
        "model.layers": [Named(name, "", arguments(layer)) for name, layer in LAYERS.items()],
    }


def _model_arguments(name: str) -> str:
    """A variant of another network says in its line what it sets; it takes the same arguments."""
    factory = MODELS[name]
    return f"those of `{factory.func.__name__}`" if isinstance(factory, partial) else arguments(factory)


def arguments(function: Callable[..., Any]) -> str:
    """The arguments of a function with their defaults, as a file has them."""
    shown = []
    for each in inspect.signature(function).parameters.values():
        default = "" if each.default is each.empty else f"={in_yaml(each.default)}"
        shown.append(f"`{each.name}{default}`")
    return ", ".join(shown) or "none"


def as_text() -> str:
    """Every key of a training's file on a line of its own, for a terminal; a section's place stands above its keys."""
    lines: list[str] = []
    for section in training():
        about = " ".join(prose(section.schema.__doc__).split())
        lines += ["", f"{section.place or 'the file itself'}: {about}"]
        hints = typing.get_type_hints(section.schema)
        for each in section.keys:
            key = each.name if ":" in section.place else f"{section.place}.{each.name}".lstrip(".")
            facts = f"{type_words(hints[each.name])}; {default_words(each)}".replace("`", "")
            lines.append(f"  {key} ({facts})  {section.texts.get(each.name, '')}")
    for place, known in names().items():
        lines += ["", f"{place}: one of these, with its arguments"]
        lines += ["  " + "  ".join(filter(None, (each.name, each.text, f"({each.arguments})"))) for each in known]
    return "\n".join(lines[1:]).replace("`", "")
