"""Choosing layers by name: what transfer, freezing and learning rates have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from engine.errors import UserError, unknown
from engine.layers.topology import Topology


def layers_with_parameters(topology: Topology) -> tuple[str, ...]:
    """Names of the layers that own arrays, in the order in which they run."""
    return tuple(node.name for node in topology.nodes if node.layer.parameters() or node.layer.buffers())


def checked_patterns(what: str, patterns: object) -> tuple[str, ...]:
    """The patterns as text (YAML reads the layer name 0 as a number); UserError for anything but a list of names."""
    if isinstance(patterns, (str, bytes)) or not isinstance(patterns, Iterable):
        raise UserError(f"{what}: expected a list of names or patterns of layers, got {patterns!r}")
    checked = []
    for pattern in patterns:
        if isinstance(pattern, bool) or not isinstance(pattern, (str, int)) or pattern == "":
            raise UserError(f"{what}: expected a name or pattern of layers, got {pattern!r}")
        checked.append(str(pattern))
    return tuple(checked)


def select(what: str, patterns: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The names that the patterns choose, in the order of `names`.

    A pattern is a name, whatever signs are in it, or else one with `*`, `?` and `[…]` as in the shell (`[[]` is the
    sign itself). A later pattern overrules an earlier one, and `!pattern` takes away what it matches; where the first
    pattern does so, it takes away from all names. UserError for a pattern that matches nothing.
    """
    chosen = set(names) if patterns and patterns[0].startswith("!") else set()
    for pattern in patterns:
        matched = matching(what, pattern.removeprefix("!"), names)
        if pattern.startswith("!"):
            chosen -= matched
        else:
            chosen |= matched
    return tuple(name for name in names if name in chosen)


def matching(what: str, pattern: str, names: Sequence[str]) -> set[str]:
    """The names that one pattern matches, or the name that it is; UserError where there are none."""
    matched = {pattern} if pattern in names else {name for name in names if fnmatchcase(name, pattern)}
    if not matched:
        raise unknown(f"layer with parameters in {what}:", pattern, names)
    return matched
