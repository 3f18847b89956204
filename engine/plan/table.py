"""Tables and figures for people."""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence


def quantity(number: float) -> str:
    """12.3 M and the like: three figures and a decimal unit."""
    for unit in ("", " k", " M", " G", " T", " P", " E"):
        if number < 999.5 or unit == " E":
            return f"{number:.0f}{unit}" if unit == "" or number >= 99.95 else f"{number:.3g}{unit}"
        number /= 1000
    raise AssertionError("unreachable")


def byte_size(count: int) -> str:
    text = quantity(count)
    return f"{text}B" if " " in text else f"{text} B"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"


def exact(count: int) -> str:
    return f"{count:,} B"


LINE = 160  # characters of a line in a notebook


def preformatted(*lines: str) -> str:
    """HTML of these lines as they are, as a notebook takes it from `_repr_html_`; long ones are cut."""
    cut = (line if len(line) <= LINE else f"{line[: LINE - 1]}…" for line in lines)
    return f"<pre>{html.escape(chr(10).join(cut))}</pre>"


def table(rows: Sequence[tuple[str, ...]], numeric: Collection[int]) -> list[str]:
    """Lines with the columns under one another; the numeric ones are set to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
