"""Reads the project's docstrings: prose, and aligned lines `name  what it is` (two spaces or more in between)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*) {2,}(?P<text>\S.*)")


def entries(docstring: str | None) -> dict[str, str]:
    """What the aligned lines of a docstring say, by name; a line may give several names, with commas in between."""
    found: dict[str, str] = {}
    for kind, names, text in _parts(docstring):
        if kind == "entry":
            found |= {name.strip(): text for name in names.split(",")}
    return found


def prose(docstring: str | None) -> str:
    """The docstring without its aligned lines."""
    text = "\n".join(text for kind, _, text in _parts(docstring) if kind == "prose").strip()
    return escaped(re.sub(r"\n{3,}", "\n\n", text))


def escaped(text: str) -> str:
    """The text with the stars of its formulas kept from being Markdown's, but for those between backticks."""
    return "".join(part if part.startswith("`") else part.replace("*", r"\*") for part in re.split(r"(`[^`]*`)", text))


def as_markdown(docstring: str) -> str:
    """The docstring with its aligned lines as a list."""
    lines: list[str] = []
    before = "prose"
    for kind, names, text in _parts(docstring):
        if kind != before:
            lines.append("")  # a list stands apart
        shown = ", ".join(f"`{name.strip()}`" for name in names.split(","))
        lines.append(f"- {shown}: {escaped(text)}" if kind == "entry" else escaped(text))
        before = kind
    return "\n".join(lines)


def _parts(docstring: str | None) -> Iterator[tuple[str, str, str]]:
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
