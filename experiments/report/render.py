"""Renderers: one table as terminal text, Markdown or CSV. The data comes from `table`; nothing is computed here."""

from __future__ import annotations

import csv
import io
import textwrap

from experiments.report.table import Cell, Column, Marked, Table
from experiments.stats import Estimate

NOTHING = "-"
NOTE_WIDTH = 100


def cell_text(cell: Cell, column: Column) -> str:
    """One cell for a reader: an estimate as "mean ± std", a count with thousands separators, nothing as "-"."""
    if cell is None:
        return NOTHING
    if isinstance(cell, Estimate):
        spread = "" if cell.std is None else f" ± {cell.std:.{column.digits}f}"
        return f"{cell.mean:.{column.digits}f}{spread}"
    if isinstance(cell, Marked):
        return f"{cell.value:.{column.digits}f} {cell.mark}"
    if isinstance(cell, float):
        # A learning rate reads better as 0.01 than as 0.0100.
        return f"{cell:g}" if column.key == "learning_rate" else f"{cell:.{column.digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _texts(table: Table) -> list[list[str]]:
    return [[cell_text(cell, column) for cell, column in zip(row, table.columns)] for row in table.rows]


def terminal(table: Table) -> str:
    """Plain text in aligned columns, notes below."""
    lines = [[column.title for column in table.columns], *_texts(table)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.columns))]
    padded = [
        "  ".join(_pad(text, width, column) for text, width, column in zip(line, widths, table.columns))
        for line in lines
    ]
    rule = "-" * max(map(len, padded))
    notes = [textwrap.fill(note, NOTE_WIDTH, subsequent_indent="  ") for note in table.notes]
    body = [table.title, "", padded[0], rule, *padded[1:], *([""] if notes else []), *notes]
    return "\n".join(line.rstrip() for line in body) + "\n"


def _pad(text: str, width: int, column: Column) -> str:
    return text.ljust(width) if column.kind == "text" else text.rjust(width)


def markdown(table: Table) -> str:
    """A Markdown table with its title above and its notes below."""

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    header = line([column.title for column in table.columns])
    rule = f"|{'|'.join('---' if column.kind == 'text' else '---:' for column in table.columns)}|"
    notes = [f"- {note}" for note in table.notes]
    body = [f"# {table.title}", "", header, rule, *map(line, _texts(table)), *([""] if notes else []), *notes]
    return "\n".join(body) + "\n"


def csv_text(table: Table) -> str:
    """CSV at full precision, without the notes: an estimate takes three columns (mean, std, n)."""
    estimated = [any(isinstance(row[place], Estimate) for row in table.rows) for place in range(len(table.columns))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header: list[str] = []
    for column, wide in zip(table.columns, estimated):
        header += [f"{column.key}_mean", f"{column.key}_std", f"{column.key}_n"] if wide else [column.key]
    writer.writerow(header)
    for row in table.rows:
        values: list[object] = []
        for cell, wide in zip(row, estimated):
            values += _estimate_values(cell) if wide else [_plain_value(cell)]
        writer.writerow(values)
    return out.getvalue()


def _plain_value(cell: Cell) -> object:
    if cell is None:
        return ""
    return cell.value if isinstance(cell, Marked) else cell


def _estimate_values(cell: Cell) -> list[object]:
    if not isinstance(cell, Estimate):
        return ["", "", 0]
    return [repr(cell.mean), "" if cell.std is None else repr(cell.std), cell.count]
