"""Strict reading of YAML into dataclasses: every mistake is named with the place where it stands."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from pathlib import Path, PurePath
from typing import Any, TypeVar

from engine.errors import UserError, shortened, shown, unknown
from engine.reading.strict_json import parse_json
from engine.reading.yaml_text import DEEPEST, NO, TRUTH, YES, finite_number, parse_yaml

Schema = TypeVar("Schema")

FilePath = typing.Annotated[str, "path"]
"""The type of a field that names a file or folder: `./photos/` is read as `photos`."""

ClassName = typing.Annotated[str, "name"]
"""The type of a field that holds names of classes, or a mapping by them: a folder may be called 7."""

_GROUPED = re.compile(r"[-+]?[0-9]{1,3}(?:_[0-9]{3})+(?:\.[0-9]*)?")
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39}|0x[0-9a-fA-F]{1,32})")


def read_mapping(schema: type[Schema], given: object, where: str) -> Schema:
    """Build the dataclass `schema` from a mapping.

    UserError for an unknown key (it names the nearest valid one), a missing key or a value of the wrong type; `where`
    begins the message: the file, then the keys down to the place.
    """
    if not isinstance(given, Mapping):
        raise UserError(f"{where}: expected a mapping of keys to values, got {_kind(given)}")
    fields = {each.name: each for each in dataclasses.fields(schema) if each.init}  # type: ignore[arg-type]
    for key in given:
        if key not in fields:
            raise UserError(f"{where}: {_unknown_key(key, fields, schema)}")
    for name, each in fields.items():
        required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if required and name not in given:
            raise UserError(f"{where}: the key {name!r} is missing")
    hints = _hints(schema)  # type: ignore[arg-type]  # any class is hashable
    values = {}
    for key, value in given.items():
        try:
            values[key] = _read_value(hints[key], value, f"{where}: {key}")
        except UserError as error:
            raise UserError(f"{error}{_section_meant(fields[key], hints[key], value)}") from None
    try:
        return schema(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def read_stored(schema: type[Schema], given: object, where: str) -> Schema:
    """As `read_mapping`, for what a program has written: a text stands for no number and no truth value there."""
    read = read_mapping(schema, given, where)
    for name, value in dict(given).items():  # type: ignore[call-overload]  # it is a mapping by now
        if isinstance(value, str) and not isinstance(getattr(read, name), str):
            raise UserError(f"{where}: {name}: expected {type(getattr(read, name)).__name__}, got {_kind(value)}")
    return read


def _section_meant(field: dataclasses.Field[Any], hint: Any, value: object) -> str:
    """What a value that stands where a section should may be meant to be: the first key of that section, if a section
    with that key alone can be read."""
    if not isinstance(value, (str, int, float)):
        return ""
    kinds = [each for each in (hint, *typing.get_args(hint)) if isinstance(each, type)]
    tried: list[tuple[str, Callable[[], object]]] = [
        (first := dataclasses.fields(each)[0].name, partial(read_mapping, each, {first: value}, first))
        for each in kinds
        if dataclasses.is_dataclass(each)
    ]
    if field.default_factory is not dataclasses.MISSING and isinstance(default := field.default_factory(), dict):
        tried += [(key, partial(_read_value, type(usual), value, key)) for key, usual in default.items()][:1]
    for key, read in tried:
        try:
            read()
        except UserError:
            continue
        return f"; is {{{key}: {shortened(str(value))}}} meant?"
    return ""


def _unknown_key(key: object, fields: Mapping[str, Any], schema: type) -> str:
    """What is wrong with a key that the dataclass lacks: it may be one of a section within."""
    within = [
        f"{name}.{key}"
        for name in fields
        for hint in (_hints(schema)[name], *typing.get_args(_hints(schema)[name]))
        if isinstance(hint, type) and dataclasses.is_dataclass(hint)
        if key in {each.name for each in dataclasses.fields(hint)}
    ]
    if len(within) == 1:
        return f"unknown key {key!r}; it is a key of a section: {within[0]}"
    rest = getattr(schema, "REST", None)  # the field that takes keys of any name
    return f"{unknown('key', key, fields)}" + (f"; or is {rest}: {{{key}: …}} meant?" if rest else "")


@cache  # evaluating the annotations anew takes most of the time of reading a study
def _hints(schema: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(schema, include_extras=True)


def read_arguments(function: Callable[..., Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The keyword arguments in `given`, checked against the function's annotations; UserError as in `read_mapping`."""
    parameters = inspect.signature(function).parameters
    hints = _hints(function.func if isinstance(function, partial) else function)
    for name in given:
        if name not in parameters:
            raise UserError(f"{where}: {unknown('option', name, parameters)}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in given:
            raise UserError(f"{where}: the option {name!r} is missing")
    return {name: _read_value(hints[name], value, f"{where}: {name}") for name, value in given.items()}


def _read_value(hint: Any, value: object, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint == ClassName:
        return read_name(value, where)
    if hint == FilePath:
        return plain_path(_read_value(str, value, where))
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _read_any([each for each in arguments if each is not type(None)], value, where)
    if dataclasses.is_dataclass(hint):
        shorthand = getattr(hint, "SHORTHAND", None)  # the field that a value alone stands for
        if shorthand is not None and not isinstance(value, Mapping):
            return read_mapping(typing.cast(type, hint), {shorthand: value}, where)
        return read_mapping(typing.cast(type, hint), value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise UserError(f"{where}: {unknown('value', value, map(str, arguments))}")
        return value
    if hint is Any:
        return value
    if origin is tuple or origin in (list, Sequence):
        return _read_tuple(arguments, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: expected a mapping of keys to values, got {_kind(value)}")
        if arguments and arguments[0] == ClassName:
            value = named(value, where)
        for key in value:
            if arguments and arguments[0] is str and not isinstance(key, str):
                raise UserError(f"{where}: expected names as keys, got {_kind(key)}")
        inner = arguments[1] if arguments else Any
        return {key: _read_value(inner, each, f"{where}.{key}") for key, each in value.items()}
    value = _meant(hint, value, where)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UserError(f"{where}: expected {hint.__name__}, got {_kind(value)}")
    return value


def read_name(value: object, where: str) -> str:
    """The name of a class: a text, or a whole number, which YAML makes of the class 7; UserError for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise UserError(f"{where}: expected the name of a class, got {_kind(value)}; put it in quotes")
    return str(value.__index__())


def named(values: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """A mapping by names of classes; UserError where a key is none, or two are the same."""
    names = {key: read_name(key, where) for key in values}
    if len(set(names.values())) < len(names):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        raise UserError(f"{where}: the class {twice!r} is given twice")
    return {names[key]: value for key, value in values.items()}


def _meant(hint: Any, value: object, where: str) -> object:
    """The value as the type has it, where it can mean only one: `off` where a truth value is wanted, 1 for 1.0."""
    if hint is bool and isinstance(value, str):
        return {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False), **TRUTH}.get(value.lower(), value)
    if hint not in (int, float) or isinstance(value, bool):
        return value
    if isinstance(value, str):
        value = _number(value, where)
    if hint is float and isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            raise UserError(f"{where}: expected a number that a float can be, got {shown(value)}") from None
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}: expected a finite number, got {value}")
    return value


def _number(text: str, where: str) -> object:
    """The number that a text can only be, or the text: 1_000, +7 and 0x1F, but not 010, which is 8 to YAML 1.1."""
    if _GROUPED.fullmatch(text):
        text = text.replace("_", "")
    if _WHOLE.fullmatch(text):
        return int(text, 16 if "x" in text else 10)
    try:
        found = finite_number(text)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return text if found is None else found


def _read_any(hints: Sequence[Any], value: object, where: str) -> Any:
    """`value` as the first of the types that takes it."""
    for hint in hints[:-1]:
        try:
            return _read_value(hint, value, where)
        except UserError:
            continue
    try:
        return _read_value(hints[-1], value, where)
    except UserError:
        # What is wrong inside a list or mapping is told as the last type has it.
        if len(hints) == 1 or (isinstance(value, (Mapping, Sequence)) and not isinstance(value, str)):
            raise
    names = " or ".join(getattr(hint, "__name__", str(hint)).lower() for hint in hints)
    raise UserError(f"{where}: expected {names}, got {_kind(value)}")


def _list_meant(arguments: tuple[Any, ...], value: object) -> str:
    """The list of a fixed length with one value at every place: [28, 28] for 28."""
    if not arguments or arguments[-1] is Ellipsis:
        return ""
    meant = [value] * len(arguments)
    try:
        for hint, each in zip(arguments, meant, strict=True):
            _read_value(hint, each, "")
    except UserError:
        return ""
    return f"; is [{', '.join(shortened(str(each)) for each in meant)}] meant?"


def _read_tuple(arguments: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise UserError(f"{where}: expected a list, got {_kind(value)}{_list_meant(arguments, value)}")
    if len(arguments) == 1 or arguments[-1] is Ellipsis:
        arguments = arguments[:1] * len(value)
    elif len(arguments) != len(value):
        raise UserError(f"{where}: expected {len(arguments)} values, got {len(value)}")
    return tuple(
        _read_value(hint, each, f"{where}[{place}]")
        for place, (hint, each) in enumerate(zip(arguments, value, strict=True))
    )


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {shown(value)}"


def is_false(value: object) -> bool:
    """Whether a key that takes false for none was given it, in whichever of YAML's words."""
    return value is False or (isinstance(value, str) and value.lower() in NO)


def plain_path(text: str) -> str:
    """A path without `./`, a slash at its end and double slashes. What begins like `run:` is another kind of name."""
    return text if not text or ":" in text.split("/")[0] else str(PurePath(text))


def merge(base: Mapping[str, Any], changes: Mapping[str, Any], kinds: Collection[str] | None = None) -> dict[str, Any]:
    """`base` with `changes` on top; mappings within are merged key by key, anything else is replaced.

    A mapping that gets another `name` (sgd is SGD) is replaced too: its other keys were the arguments of the old one.
    `kinds` are the keys whose mapping has such a name (None: all of them, also further in).
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = value
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            another = (kinds is None or key in kinds) and _another_name(old.get("name"), value.get("name"))
            merged[key] = value if another else merge(old, value, None if kinds is None else ())
    return merged


def _another_name(old: object, new: object) -> bool:
    """Whether both are names, and not the same one in another case."""
    return isinstance(old, str) and isinstance(new, str) and old.lower() != new.lower()


def parse_override(text: str) -> dict[str, Any]:
    """`data.count=500` as {"data": {"count": 500}}; the value is read as YAML."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise UserError(f"an override must read key=value, got {text!r}")
    if path.count(".") > DEEPEST:
        raise UserError(f"{shortened(repr(text))}: a key lies at most {DEEPEST} sections deep")
    return nested(path, parse_yaml(value, repr(text)))


def nested(path: str, value: Any) -> dict[str, Any]:
    """`data.count` and 500 as {"data": {"count": 500}}."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return typing.cast(dict[str, Any], value)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; UserError where it cannot be read or holds something else."""
    try:
        given = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({shortened(str(error), 300)})") from None
    if not isinstance(given, dict):
        raise UserError(f"{path}: expected a JSON object, got {type(given).__name__}")
    return given
