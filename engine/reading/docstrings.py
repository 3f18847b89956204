"""Reads the project's docstrings: prose, and aligned lines `name  what it is` (two spaces or more in between)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*) {2,}(?P<text>\S.*)")


def entries(docstring: str | None) -> dict[str, str]:
    """What the aligned lines of a docstring say, by name; a line may give several names, with commas in between."""
    found: dict[str, str] = {}
    for kind, names, text in parts(docstring):
        if kind == "entry":
            found |= {name.strip(): text for name in names.split(",")}
    return found


def prose(docstring: str | None) -> str:
    """The docstring without its aligned lines."""
    text = "\n".join(text for kind, _, text in parts(docstring) if kind == "prose").strip()
    return re.sub(r"\n{3,}", "\n\n", text)


def parts(docstring: str | None) -> Iterator[tuple[str, str, str]]:
    """("prose", "", line) and ("entry", names, text), in their order; lines that are indented go on with an entry."""
    pending: tuple[str, str] | None = None
    for line in inspect.cleandoc(docstring or "").splitlines():
        if pending and line.startswith("  "):
            pending = (pending[0], f"{pending[1]} {line.strip()}")
            continue
        if pending:
            yield ("entry", *pending)
            pending = None
        match = ENTRY.fullmatch(line)
        if match:
            pending = (match["names"], match["text"])
        else:
            yield "prose", "", line
    if pending:
        yield ("entry", *pending)
