"""YAML as this project reads and writes it. Every YAML text goes through `parse_yaml`, every file through `read_yaml`.

What stands without quotes is a whole number (`7`), a number (`0.01`, `.5`, `1e-2`), `true` or `false`, nothing (`null`,
`~`), or else text. YAML 1.1 takes more for something: `no` and `off` for false, `010` for 8, `1:30` for 90, `1_000` for
1000 and `2024-01-01` for a date, so that a class or a folder of that name is lost. These are texts here. Where a field
wants a truth value or a whole number, `engine.reading.schema` takes the texts that can mean only one (`off`, `1_000`).

Refused, with file, line and key: a key that stands there twice, a key that is no text or whole number, `.nan`, `.inf`
and numbers that are one in a float, tags that do not fit, and a text that is nested or grows by its aliases without
end. A merge key (`<<`) is taken: what the mapping itself says comes first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.errors import UserError, nearest, shortened

DEEPEST = 64  # mappings and lists within each other
MOST_DIGITS = 40  # of a whole number
MOST_ADDED = 1_000_000  # characters by which aliases may make a text longer

NOTHING = ("", "~", "null", "Null", "NULL")
TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# The words of YAML 1.1 beside true and false, in lower case.
YES, NO = ("yes", "on"), ("no", "off")

_WHOLE = re.compile(r"0|-?[1-9][0-9]*")  # as the number itself prints: 007 and +7 are names
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MERGE = "<<"
_TAG = "tag:yaml.org,2002:"


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; UserError where the file is missing, is not YAML or holds something else."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}){_beside(path)}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None
    given = parse_yaml(text, str(path))
    if not isinstance(given, dict):
        kind = "nothing" if given is None else f"{type(given).__name__} {shortened(repr(given))}"
        raise UserError(f"{path}: expected a mapping of keys to values, got {kind}")
    return given


def _beside(path: Path) -> str:
    """The YAML file that may be meant where there is none of this name, in words: one in the same folder."""
    if path.exists():
        return ""
    found = {each.stem: each for each in path.parent.glob("*") if each.suffix in (".yaml", ".yml")}
    near = nearest(path.stem, found)
    return f"; did you mean {found[near[0]]}?" if near else ""


def parse_yaml(text: str, where: str) -> Any:
    """The value in a YAML text; `where` begins the message of the UserError where there is none."""
    yaml = _yaml()
    try:
        return _Reader(yaml, text, where).document()
    except UserError:
        raise
    # PyYAML lets the errors of chr() and int() out where an escape or a version is none.
    except (yaml.YAMLError, ValueError, OverflowError, IndexError) as error:
        raise UserError(f"{where}: not valid YAML ({shortened(' '.join(str(error).split()), 300)})") from None


def dump_yaml(value: Any, **options: Any) -> str:
    """The value as YAML that `parse_yaml` reads as the same, keys in their order; `options` as yaml.safe_dump has."""
    yaml = _yaml()

    class Dumper(yaml.SafeDumper):  # type: ignore[name-defined]
        """Puts a text such as 1e-2 in quotes, which YAML 1.1 has for text and `parse_yaml` for a number."""

    Dumper.add_implicit_resolver(f"{_TAG}float", re.compile(rf"^(?:{_FLOAT.pattern})$"), list("-+.0123456789"))
    return str(yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, **options))


def finite_number(text: str) -> float | None:
    """The float that a text is written as, None where it is none; UserError for one that a float cannot hold."""
    if not _FLOAT.fullmatch(text):
        return None
    value = float(text)
    vanished = value == 0.0 and any(digit in "123456789" for digit in re.split("[eE]", text)[0])
    if math.isinf(value) or vanished:
        raise UserError(f"{shortened(text)} is {'infinite' if math.isinf(value) else 'zero'} as a float")
    return value


def _yaml() -> ModuleType:
    """PyYAML, imported now: a prediction from a checkpoint does without it."""
    import yaml

    return yaml


class _Reader:
    """Builds values from PyYAML's events, so that nothing is decided about them before."""

    def __init__(self, yaml: ModuleType, text: str, where: str):
        self.yaml, self.where = yaml, where
        self.events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        self.path: list[str] = []  # keys down to where the reader is
        self.anchors: dict[str, tuple[Any, int] | None] = {}  # value and size; None while it is being read
        self.size, self.most = 0, len(text) * 2 + MOST_ADDED

    def document(self) -> Any:
        next(self.events)  # the beginning of the stream
        if isinstance(next(self.events), self.yaml.StreamEndEvent):
            return None
        value = self.value(next(self.events))
        next(self.events)
        after = next(self.events)
        if not isinstance(after, self.yaml.StreamEndEvent):
            raise self.error(after, "expected one document, but another begins here")
        return value

    def error(self, event: Any, message: str) -> UserError:
        key = "".join(self.path).lstrip(".")
        place = f"{self.where}, line {event.start_mark.line + 1}"
        return UserError(f"{place}: {shortened(key)}: {message}" if key else f"{place}: {message}")

    def value(self, event: Any) -> Any:
        if isinstance(event, self.yaml.AliasEvent):
            return self.alias(event)
        if len(self.path) > DEEPEST:
            self.path.clear()
            raise self.error(event, f"lists and mappings lie more than {DEEPEST} deep in each other")
        before = self.size
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, self.yaml.ScalarEvent):
            value = self.scalar(event)
            self.grow(event, len(event.value) + 1)
        else:
            kind = "map" if isinstance(event, self.yaml.MappingStartEvent) else "seq"
            if event.tag not in (None, "!", f"{_TAG}{kind}"):
                raise self.unfit(event)
            self.grow(event, 1)
            value = self.mapping() if kind == "map" else self.sequence()
        if event.anchor is not None:
            self.anchors[event.anchor] = value, self.size - before
        return value

    def grow(self, event: Any, characters: int) -> None:
        self.size += characters
        if self.size > self.most:
            raise self.error(event, "the aliases (*) make more of this text than can be read")

    def alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            raise self.error(event, f"the alias *{shortened(event.anchor)} stands for nothing that was said before")
        found = self.anchors[event.anchor]
        if found is None:
            raise self.error(event, f"the alias *{shortened(event.anchor)} stands within what it stands for")
        value, size = found
        self.grow(event, size)
        return value

    def sequence(self) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self.events), self.yaml.SequenceEndEvent):
            self.path.append(f"[{len(values)}]")
            values.append(self.value(event))
            self.path.pop()
        return values

    def mapping(self) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self.events), self.yaml.MappingEndEvent):
            key = self.key(event)
            self.path.append(f".{key}")
            line = event.start_mark.line + 1
            if str(key) in lines:
                raise self.error(event, f"the key stands there twice, first in line {lines[str(key)]}")
            lines[str(key)] = line
            following = next(self.events)
            value = self.value(following)
            if key == _MERGE and self.plain(event):
                merged = self.merged(following, value)
            else:
                own[key] = value
            self.path.pop()
        return {**merged, **own}

    def key(self, event: Any) -> Any:
        key = self.value(event) if isinstance(event, (self.yaml.ScalarEvent, self.yaml.AliasEvent)) else None
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            written = getattr(event, "value", "")
            advice = f"put {shortened(repr(written))} in quotes if it is a name" if written else "a name is expected"
            raise self.error(event, f"a key is a text or a whole number; {advice}")
        return key

    def merged(self, event: Any, value: Any) -> dict[Any, Any]:
        """What `<<` stands for: one mapping, or several of which the first counts most."""
        given = value if isinstance(value, list) else [value]
        if not all(isinstance(each, Mapping) for each in given):
            raise self.error(event, "a mapping or a list of them is expected")
        found: dict[Any, Any] = {}
        for each in reversed(given):
            found.update(each)
        return found

    def plain(self, event: Any) -> bool:
        """Whether a scalar stands without quotes and without a tag."""
        return isinstance(event, self.yaml.ScalarEvent) and bool(event.implicit[0]) and not event.style

    def scalar(self, event: Any) -> Any:
        text: str = event.value
        if not text.isprintable() and any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
            raise self.error(event, "the text holds a sign that no file can (a zero byte, or half of a pair)")
        if event.tag in (None, "!"):
            return self.without_quotes(event, text) if self.plain(event) else text
        if event.tag == f"{_TAG}str":
            return text
        value = self.without_quotes(event, text)
        if event.tag == f"{_TAG}float" and type(value) is int:
            return float(value)
        kinds = {f"{_TAG}float": float, f"{_TAG}int": int, f"{_TAG}bool": bool, f"{_TAG}null": type(None)}
        if type(value) is not kinds.get(event.tag):
            raise self.unfit(event)
        return value

    def unfit(self, event: Any) -> UserError:
        tag = shortened(str(event.tag).replace(_TAG, "!!"))
        return self.error(event, f"the tag {tag} does not fit what it stands before, or is none that is read")

    def without_quotes(self, event: Any, text: str) -> Any:
        if text in NOTHING:
            return None
        if text in TRUTH:
            return TRUTH[text]
        if _WHOLE.fullmatch(text):
            if len(text) > MOST_DIGITS:
                raise self.error(event, f"a whole number of {len(text)} digits, more than {MOST_DIGITS} are not read")
            return int(text)
        if _NOT_FINITE.fullmatch(text):
            raise self.error(event, f"{text} is no number to go on with; put it in quotes if it is a name")
        try:
            number = finite_number(text)
        except UserError as error:
            raise self.error(event, str(error)) from None
        return text if number is None else number
