"""CSV tables with a header, read strictly."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.data.readers.files import existing_file
from engine.errors import UserError


def csv_header(path: Path) -> list[str]:
    """The column names of a CSV file, empty for an empty file."""
    try:
        with existing_file(path).open(newline="", encoding="utf-8-sig") as file:
            return [name.strip() for name in next(csv.reader(file), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from None


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header, each with its line number; UserError where a column or a value is missing."""
    try:
        with existing_file(path).open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
            for column in columns:
                if column not in (rows.fieldnames or ()):
                    raise UserError(
                        f"{path}: no column {column!r}; it has {', '.join(rows.fieldnames or ()) or 'no header'}"
                    )
            for row in rows:
                if any(row[column] is None for column in columns):
                    raise UserError(f"{path}, line {rows.line_num}: too few values")
                stripped = {name: value.strip() for name, value in row.items() if isinstance(value, str)}
                for column in columns:
                    if not stripped[column]:
                        raise UserError(f"{path}, line {rows.line_num}: the column {column!r} is empty")
                yield rows.line_num, stripped
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from None
