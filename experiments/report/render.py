"""Renderers: one table as terminal text, Markdown, LaTeX or CSV. Data comes from `table`; nothing is computed here."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import textwrap
from collections.abc import Iterable

from experiments.report.table import Cell, Column, Marked, Table
from experiments.stats import Bounds, Estimate

NOTHING = "-"
NOTE_WIDTH = 100


def cell_text(cell: Cell, column: Column) -> str:
    """One cell for a reader: an estimate as "mean ± std", a count with thousands separators, nothing as "-"."""
    if cell is None:
        return NOTHING
    if isinstance(cell, Marked):
        return f"{cell_text(cell.value, column)} {cell.mark}"
    if isinstance(cell, Estimate):
        spread = "" if cell.std is None else f" ± {cell.std:.{column.digits}f}"
        return f"{_number(cell.mean, column)}{spread}"
    if isinstance(cell, Bounds):
        return f"[{_number(cell.low, column)}, {_number(cell.high, column)}]"
    if isinstance(cell, float):
        return _number(cell, column)
    return f"{cell:,}" if isinstance(cell, int) else cell


def _number(value: float, column: Column) -> str:
    if column.form == "general":
        return f"{value:g}"
    if column.form == "p" and value < 10**-column.digits:
        return f"<{10**-column.digits:.{column.digits}f}"
    sign = "+" if column.form == "signed" else ""
    return f"{value:{sign}.{column.digits}f}"


def _texts(table: Table) -> list[list[str]]:
    return [[one_line(cell_text(cell, column)) for cell, column in zip(row, table.columns)] for row in table.rows]


def one_line(text: str) -> str:
    """The text with a space in the place of tabs and breaks of lines, and of the spaces beside them."""
    return re.sub(r"\s*[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*", " ", text).strip()


def terminal(table: Table) -> str:
    """Plain text in aligned columns, without those of detail; notes below."""
    table, left_out = _without_detail(table)
    lines = [[column.title for column in table.columns], *_texts(table)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.columns))]
    padded = [
        "  ".join(_pad(text, width, column) for text, width, column in zip(line, widths, table.columns))
        for line in lines
    ]
    rule = "-" * max(map(len, padded))
    more = [_elsewhere(left_out)] if left_out else []
    notes = [textwrap.fill(one_line(note), NOTE_WIDTH, subsequent_indent="  ") for note in [*table.notes, *more]]
    body = [one_line(table.title), "", padded[0], rule, *padded[1:], *([""] if notes else []), *notes]
    return "\n".join(line.rstrip() for line in body) + "\n"


def _without_detail(table: Table) -> tuple[Table, list[str]]:
    """The table without columns of detail, and their titles, each once."""
    kept = [place for place, column in enumerate(table.columns) if not column.detail]
    titles = dict.fromkeys(column.title for column in table.columns if column.detail)
    columns = tuple(table.columns[place] for place in kept)
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    return dataclasses.replace(table, columns=columns, rows=rows), list(titles)


def _elsewhere(titles: list[str]) -> str:
    return f"More columns in Markdown and CSV: {', '.join(titles)}"


def _pad(text: str, width: int, column: Column) -> str:
    return text.ljust(width) if column.kind == "text" else text.rjust(width)


def markdown_text(text: str) -> str:
    """Plain text as Markdown, on one line: what HTML would take for a tag or a character's name stays what it is."""
    plain = re.sub(r"&(?=#?\w+;)", "&amp;", one_line(text))
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", plain)


def markdown_line(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(markdown_text(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def markdown(table: Table) -> str:
    """A Markdown table with its title above and its notes below."""
    header = markdown_line([column.title for column in table.columns])
    rule = f"|{'|'.join('---' if column.kind == 'text' else '---:' for column in table.columns)}|"
    notes = [f"- {one_line(note)}" for note in table.notes]
    rows = map(markdown_line, _texts(table))
    body = [f"# {markdown_text(table.title)}", "", header, rule, *rows, *([""] if notes else []), *notes]
    return "\n".join(body) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after the end of a row, a bracket would be taken for a length
    "*": "{*}",  # and so would a star
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "÷": r"$\div$",
    "…": r"\dots{}",
    "−": r"$-$",
    "λ": r"$\lambda$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex_text(text: str) -> str:
    """Plain text with everything escaped that LaTeX reads as more than itself."""
    return "".join(_LATEX.get(character, character) for character in text)


def latex(table: Table) -> str:
    """A LaTeX table for the packages booktabs and graphicx (with UTF-8 input), shrunk to the width of the text.

    Columns of detail are left out: thirty would be too small to read.
    """
    table, left_out = _without_detail(table)

    def line(cells: list[str]) -> str:
        escaped = [re.sub(r"^-(?=\d)", "$-$", cell) for cell in map(latex_text, cells)]
        return f"    {' & '.join(escaped)} \\\\"

    places = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    more = [_elsewhere(left_out)] if left_out else []
    notes = [rf"  \par\smallskip\noindent {latex_text(one_line(note))}" for note in [*table.notes, *more]]
    body = [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{latex_text(one_line(table.title))}}}",
        rf"  \label{{tab:{re.sub('[^A-Za-z0-9]+', '-', table.name)}}}",
        r"  \resizebox{\textwidth}{!}{%",
        rf"  \begin{{tabular}}{{{places}}}",
        r"    \toprule",
        line([column.title for column in table.columns]),
        r"    \midrule",
        *map(line, _texts(table)),
        r"    \bottomrule",
        r"  \end{tabular}}",
        *([r"  \footnotesize\raggedright"] if notes else []),
        *notes,
        r"\end{table}",
    ]
    return "\n".join(body) + "\n"


def csv_text(table: Table) -> str:
    """CSV at full precision, without the notes: an estimate takes three columns (mean, std, n), an interval two."""
    parts = [_parts([row[place] for row in table.rows]) for place in range(len(table.columns))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        f"{column.key}_{part}" if part else column.key for column, names in zip(table.columns, parts) for part in names
    )
    for row in table.rows:
        writer.writerow(value for cell, names in zip(row, parts) for value in _values(cell, names))
    return out.getvalue()


def _parts(cells: list[Cell]) -> tuple[str, ...]:
    """What the columns of these cells are called after the column's own key."""
    if any(isinstance(cell, Estimate) for cell in cells):
        return ("mean", "std", "n")
    return ("low", "high") if any(isinstance(cell, Bounds) for cell in cells) else ("",)


def _values(cell: Cell, names: tuple[str, ...]) -> list[object]:
    """One value for each name; floats are written as short as they can be read back exactly."""
    if isinstance(cell, Estimate):
        return [repr(cell.mean), "" if cell.std is None else repr(cell.std), cell.count]
    if isinstance(cell, Bounds):
        return [repr(cell.low), repr(cell.high)]
    if "n" in names:
        return ["", "", 0]
    plain = "" if cell is None else cell.value if isinstance(cell, Marked) else cell
    return [plain, *[""] * (len(names) - 1)]
