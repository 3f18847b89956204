"""The project's docstrings as Markdown."""

from __future__ import annotations

import re

from engine.reading.docstrings import parts


def escaped(text: str) -> str:
    """The text with the stars of its formulas kept from being Markdown's, but for those between backticks."""
    return "".join(part if part.startswith("`") else part.replace("*", r"\*") for part in re.split(r"(`[^`]*`)", text))


def as_markdown(docstring: str) -> str:
    """The docstring with its aligned lines as a list."""
    lines: list[str] = []
    before = "prose"
    for kind, names, text in parts(docstring):
        if kind != before:
            lines.append("")  # a list stands apart
        shown = ", ".join(f"`{name.strip()}`" for name in names.split(","))
        lines.append(f"- {shown}: {escaped(text)}" if kind == "entry" else escaped(text))
        before = kind
    return "\n".join(lines)
