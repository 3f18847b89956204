"""CSV tables are stripped in one place."""

from pathlib import Path

import pytest

from engine.data.readers import read_csv
from engine.errors import UserError


def test_values_are_stripped(tmp_path: Path):
    table = tmp_path / "t.csv"
    table.write_text("filename,label\na0.png, a\na1.png ,a \n")
    rows = [row for _, row in read_csv(table, ("filename", "label"))]
    assert rows == [{"filename": "a0.png", "label": "a"}, {"filename": "a1.png", "label": "a"}]


@pytest.mark.parametrize(("line", "column"), [(",", "filename"), ("a.png, ", "label")])
def test_an_empty_value_is_an_error_with_its_line(tmp_path: Path, line: str, column: str):
    table = tmp_path / "t.csv"
    table.write_text(f"filename,label\na0.png,a\n{line}\n")
    with pytest.raises(UserError, match=f"line 3: the column '{column}' is empty"):
        list(read_csv(table, ("filename", "label")))
