"""How settings of a configuration are joined, and laid over others.

Settings of one layer (those behind a command, the crossed factors of a row, the values of a search) are joined before
they are laid over the layer below, so that their order decides nothing: `optimizer.lr=0.1 optimizer.name=SGD` is
`optimizer.name=SGD optimizer.lr=0.1`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from engine.reading.schema import is_false, merge

FALSE_IS_NONE = "false_is_none"  # in the metadata of a field: a file may say `false` for none

KINDS = ("dataset", "model", "optimizer", "schedule", "loss")
"""Sections whose `name` says what their other keys mean."""


def joined(schema: type, settings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Settings of one layer as one mapping, key by key; `schema` is the class of the configuration.

    Of two that say the same key the later one counts, and of two names with whole sections the later section.
    """
    result: dict[str, Any] = {}
    for given in settings:
        each = spelled_out(schema, given)
        if "dataset" in result and "dataset" in each:
            result, each = with_dataset_section(result), with_dataset_section(each)
        result = merge(result, each, KINDS)
    return result


def laid_over(schema: type, content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a configuration with the changes on top, key by key.

    A section that gets another name is replaced, as are layers by the name of a network; a data set's name alone
    stands for the set with all its defaults.
    """
    content = with_dataset_section(spelled_out(schema, content))
    changes = spelled_out(schema, changes)
    ours, theirs = content.get("model"), changes.get("model")
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping) and ours.get("layers") and theirs.get("name"):
        content["model"] = {}
    return merge(content, changes, KINDS)


def with_dataset_section(content: Mapping[str, Any]) -> dict[str, Any]:
    """With a section for the name of a data set alone."""
    dataset = content.get("dataset")
    return {**content, **({"dataset": {"name": dataset}} if isinstance(dataset, str) else {})}


def spelled_out(schema: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping of a dataclass with a mapping for each section that a value alone stands for, so that keys of it can
    be merged: `shift: 0.1` is `shift: {fraction: 0.1}`. What is null stays so, and `false` where that is none."""
    hints = _hints(schema)
    off = {each.name for each in dataclasses.fields(schema) if each.metadata.get(FALSE_IS_NONE)}
    return {
        key: value if value is None or (key in off and is_false(value)) else _section(hints.get(key), value)
        for key, value in given.items()
    }


def _section(hint: Any, value: Any) -> Any:
    """The value as the mapping that it stands for, if the hint is that of a dataclass, or of one or None."""
    kinds = [each for each in typing.get_args(hint) or (hint,) if each is not type(None)]
    kind = kinds[0] if len(kinds) == 1 else None
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return value
    shorthand = getattr(kind, "SHORTHAND", None)
    if not isinstance(value, Mapping):
        return value if shorthand is None else {shorthand: value}
    return spelled_out(kind, value)


@cache  # evaluating the annotations anew takes most of the time of reading a study
def _hints(schema: type) -> dict[str, Any]:
    return typing.get_type_hints(schema)
