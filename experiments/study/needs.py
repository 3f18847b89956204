"""What must have ended before a run begins: the graph of rows and stages.

A configuration names the weights of another run of its study as `run:NAME` (in `initialize_from.checkpoint` and
`pseudo_labels.checkpoints`): those of that row or stage with the same seed, in the epoch that counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from engine.errors import UserError, unknown
from engine.recipe.config import TrainConfig, read_config

PREFIX = "run:"


def references(config: TrainConfig) -> tuple[str, ...]:
    """Names of the rows and stages whose checkpoints the configuration uses, each once."""
    found: dict[str, None] = {}

    def note(name: str) -> str:
        found[name] = None
        return ""

    _replaced(config.to_dict(), note)
    return tuple(found)


def resolved(config: TrainConfig, checkpoint_of: Callable[[str], str]) -> TrainConfig:
    """The configuration with the file that `checkpoint_of` gives in place of every run:NAME."""
    return read_config(_replaced(config.to_dict(), checkpoint_of)) if references(config) else config


def _replaced(value: Any, checkpoint_of: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(each, checkpoint_of) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(each, checkpoint_of) for each in value]
    if isinstance(value, str) and value.startswith(PREFIX):
        return checkpoint_of(value.removeprefix(PREFIX))
    return value


def checked_order(needs: Mapping[str, Sequence[str]], where: str) -> tuple[str, ...]:
    """The names, each behind all that it needs, otherwise in their order. UserError for an unknown one or a cycle."""
    for name, wanted in needs.items():
        for each in wanted:
            if each not in needs:
                raise UserError(f"{where}, {name!r}: {unknown('row or stage in needs:', each, needs)}")
    try:
        return tuple(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise UserError(f"{where}: needs go in a circle: {circle}") from None


def with_all_needed(names: Sequence[str], needs: Mapping[str, Sequence[str]]) -> set[str]:
    """The names and all that they need, directly or through others."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += needs[name]
    return found
