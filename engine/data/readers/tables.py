"""Tables with a header, read strictly; commas, semicolons or tabs divide them, whichever gives the wanted columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.data.readers.files import existing_file
from engine.errors import UserError

DELIMITERS = (",", ";", "\t")


def read_csv(path: Path, columns: Sequence[str] | Mapping[str, Sequence[str]]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a table in UTF-8 with a header, each with its line number; values are stripped of spaces around them.

    columns: those that must be there; a mapping gives for each the names of which the header must have one for it. A
    value that holds the delimiter stands in double quotes. UserError where a column or a value is missing, two columns
    could be one of those, a row has more values than the header, or two delimiters would give the columns.
    """
    wanted = columns if isinstance(columns, Mapping) else {name: (name,) for name in columns}
    try:
        text = existing_file(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    if "\0" in text:  # as UTF-16 has them; no file has one in its name
        raise UserError(f"{path}: not a CSV file in UTF-8 (it holds a zero byte)")
    delimiter, header = _header(path, text, wanted)
    places = {name: _place(path, header, names) for name, names in wanted.items()}
    rows = _reader(text, delimiter)
    try:
        filled = _filled(rows)
        next(filled)
        for row in filled:
            where, values = f"{path}, line {rows.line_num}", [value.strip() for value in row]
            if any(values[len(header) :]):
                raise UserError(
                    f"{where}: {len(row)} values, but the header names {len(header)} columns; a value with "
                    f"{delimiter!r} in it stands in double quotes"
                )
            for place in places.values():
                if place >= len(values):
                    raise UserError(f"{where}: too few values")
                if not values[place]:
                    raise UserError(f"{where}: the column {header[place]!r} is empty")
                if len(values[place].splitlines()) > 1:
                    raise UserError(
                        f"{where}: the column {header[place]!r} holds a line break; is a quotation mark missing?"
                    )
            yield rows.line_num, {**dict(zip(header, values)), **{name: values[at] for name, at in places.items()}}
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: {error}; is a quotation mark missing?") from None


def _reader(text: str, delimiter: str) -> Any:
    unspaced = _without_spaces(text, delimiter) if '"' in text else text
    return csv.reader(io.StringIO(unspaced, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)


def _without_spaces(text: str, delimiter: str) -> str:
    """The table without the spaces around values in quotation marks, which the reader does not take.

    From the first value on whose marks do not close before the delimiter or the end of the line, all stays as it is:
    there the reader stops.
    """
    space, end = rf"[^\S\r\n{delimiter}]*", rf"([{delimiter}\r\n]|\Z)"
    field = re.compile(rf'(?:{space}("[^"]*(?:""[^"]*)*"){space}|(?!{space}")[^{delimiter}\r\n]*){end}')
    parts, place = [], 0
    while place < len(text) and (found := field.match(text, place)):
        parts.append(found[0] if found[1] is None else f"{found[1]}{found[2]}")
        place = found.end()
    return "".join([*parts, text[place:]])


def _filled(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """The rows without blank lines."""
    return (row for row in rows if any(row) or len(row) > 1)


def _header(path: Path, text: str, wanted: Mapping[str, Sequence[str]]) -> tuple[str, list[str]]:
    """The delimiter with which the header has the wanted columns, and its names."""
    headers: dict[str, list[str]] = {}
    for delimiter in DELIMITERS:
        try:
            names: list[str] = next(_filled(_reader(text, delimiter)), [])
        except csv.Error:
            continue
        headers[delimiter] = [name.strip() for name in names]
    fitting = {
        delimiter: header
        for delimiter, header in headers.items()
        if all(any(name in header for name in names) for names in wanted.values())
    }
    if len(set(map(tuple, fitting.values()))) > 1:
        first, second = list(fitting)[:2]
        raise UserError(
            f"{path}: the delimiter is not clear: the header has the columns {', '.join(wanted)} both as {first!r} and "
            f"as {second!r} divide it"
        )
    if not headers:
        raise UserError(f"{path}: the header cannot be read; is a quotation mark missing?")
    chosen = next(iter(fitting), max(headers, key=lambda delimiter: len(headers[delimiter])))
    return chosen, headers[chosen]


def _place(path: Path, header: Sequence[str], names: Sequence[str]) -> int:
    """Where in the header the one of these names that it has stands."""
    found = [name for name in header if name in names]
    if not found:
        raise UserError(f"{path}: no column {' or '.join(map(repr, names))}; it has {', '.join(header) or 'no header'}")
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise UserError(f"{path}: the column {twice!r} stands twice in the header")
    if len(found) > 1:
        raise UserError(
            f"{path}: it is not clear which column is meant, {' or '.join(map(repr, found))}; rename the others"
        )
    return header.index(found[0])
