"""Tables are read in one place: the delimiter is found, values are stripped, and what is not clear is an error."""

import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data.readers import read_csv, read_dataset
from engine.errors import EngineWarning, UserError
from engine.inference.truth import read_truth

COLUMNS = ("filename", "label")


def rows_of(folder: Path, text: str, columns=COLUMNS):
    table = folder / "t.csv"
    table.write_text(text, newline="")
    return [{name: row[name] for name in columns} for _, row in read_csv(table, columns)]


def test_values_are_stripped(tmp_path: Path):
    found = rows_of(tmp_path, "filename,label\na0.png, a\na1.png ,a \n")
    assert found == [{"filename": "a0.png", "label": "a"}, {"filename": "a1.png", "label": "a"}]


@pytest.mark.parametrize(("line", "column"), [(",", "filename"), ("a.png, ", "label")])
def test_an_empty_value_is_an_error_with_its_line(tmp_path: Path, line: str, column: str):
    with pytest.raises(UserError, match=f"line 3: the column '{column}' is empty"):
        rows_of(tmp_path, f"filename,label\na0.png,a\n{line}\n")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_delimiter_is_that_of_the_header(tmp_path: Path, delimiter: str, end: str):
    rows = [
        ["\ufefffilename", "note", "label"],
        ["a0.png", "", " cat"],
        ["a1.png", "x", "'dog'"],
        ['"a,2;3.png"', "x", ' "big, cat; or\tdog"'],
    ]
    text = end.join([*(delimiter.join(row) for row in rows), "", ""])
    assert rows_of(tmp_path, text) == [
        {"filename": "a0.png", "label": "cat"},
        {"filename": "a1.png", "label": "'dog'"},
        {"filename": "a,2;3.png", "label": "big, cat; or\tdog"},
    ]


def test_a_column_name_may_hold_another_delimiter(tmp_path: Path):
    found = rows_of(tmp_path, '"file;name","label, true"\na.png,cat\n', ("file;name", "label, true"))
    assert found == [{"file;name": "a.png", "label, true": "cat"}]
    found = rows_of(tmp_path, '"file,name";label\n"a,b.png";cat\n', ("file,name", "label"))
    assert found == [{"file,name": "a,b.png", "label": "cat"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,label,x;filename;label\n", "t.csv: the delimiter is not clear: .* both as ',' and as ';'"),
        ("filename;kind\n", "t.csv: no column 'label'; it has filename, kind"),
        ("filename|label\n", r"t.csv: no column 'filename'; it has filename\|label"),
        ("filename,label,label\na,b,c\n", "t.csv: the column 'label' stands twice in the header"),
        ("filename,label\na.png;cat\n", "t.csv, line 2: too few values"),
        ("filename,label\nb.png,cat\na, b.png,cat\n", "t.csv, line 3: 3 values, but the header names 2 columns"),
        ("filename;label\na.png;cat;dog\n", "t.csv, line 2: 3 values, but the header names 2 columns"),
        ('filename,label\na.png,"cat\nb.png,dog\n', "t.csv, line 3: .*is a quotation mark missing"),
        ('filename,label\na.png,"cat\nb.png,dog"\nc.png,cat\n', "t.csv, line 3: the column 'label' holds a line break"),
        ("", "t.csv: no column 'filename'; it has no header"),
    ],
)
def test_what_is_not_clear_is_an_error(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=message):
        rows_of(tmp_path, text)


def test_values_beyond_the_header_may_be_empty(tmp_path: Path):
    """As spreadsheets leave them."""
    assert rows_of(tmp_path, "filename,label\n\na.png,cat,,\n") == [{"filename": "a.png", "label": "cat"}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_training_tables_and_true_labels_alike(tmp_path: Path, delimiter: str):
    for name in ("a.png", "b.png"):
        assert cv2.imwrite(str(tmp_path / name), np.zeros((4, 4), np.uint8))
    (tmp_path / "t.csv").write_text("filename,label\na.png, dog\nb.png,cat\n".replace(",", delimiter))
    raw = read_dataset("folder", None, {"path": str(tmp_path), "table": "t.csv"})
    assert raw.class_names == ("cat", "dog") and raw.labels.tolist() == [1, 0]
    (tmp_path / "t.csv").write_text("digit,x,image\ndog ,1,a.png\ncat,2,b.png\n".replace(",", delimiter))
    paths = [tmp_path / "b.png", tmp_path / "a.png"]
    assert read_truth(tmp_path / "t.csv", paths, ("cat", "dog")).tolist() == [0, 1]


@pytest.mark.parametrize("label", ["x", "y"])
@pytest.mark.parametrize(
    "name", ["./a/../a/0.png", "b/../a/0.png", "{}/a/0.png", "link/0.png", "link.png", "{}/link/0.png"]
)
def test_a_file_by_two_spellings_is_named_twice(tmp_path: Path, name: str, label: str):
    for each in ("a/0.png", "a/1.png", "b/1.png"):
        (tmp_path / each).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / each), np.zeros((4, 4), np.uint8))
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "link.png").symlink_to("a/0.png")
    (tmp_path / "t.csv").write_text(
        f"filename,label\na/0.png,x\na/1.png,x\n{name.format(tmp_path)},{label}\nb/1.png,y\n"
    )
    with pytest.raises(UserError, match=r"t.csv: names (one file|0.png) more than once"):
        read_dataset("folder", None, {"path": str(tmp_path), "table": "t.csv"})


@pytest.mark.parametrize(
    "rows", ["a/0.png,b\n0.png,a", "0.png,a\na/0.png,b", "{}/a/0.png,a\n0.png,b", "{}/l/0.png,a\na/0.png,b"]
)
def test_rows_of_true_labels_that_fit_one_image_must_agree(tmp_path: Path, rows: str, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").touch()
    (tmp_path / "l").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "gt.csv"
    for place in (Path("a/0.png"), tmp_path / "a" / "0.png", Path("l/../a/0.png")):
        table.write_text(f"filename,label\n{rows.format(tmp_path)}\n")
        with pytest.raises(
            UserError, match="gt.csv: .*a/0.png has a second, different label: rows .*0.png and .*0.png"
        ):
            read_truth(table, [place], ["a", "b"])
        table.write_text(table.read_text().replace(",b", ",a"))
        assert read_truth(table, [place], ["a", "b"]).tolist() == [0]


def test_a_row_that_another_image_takes_is_no_second_label(tmp_path: Path):
    table = tmp_path / "gt.csv"
    table.write_text("filename,label\n0.png,a\nb/0.png,b\nc/../c/1.png,a\n")
    assert read_truth(table, [Path("a/0.png"), Path("b/0.png"), Path("c/1.png")], ["a", "b"]).tolist() == [0, 1, 0]


@pytest.mark.parametrize("second", ["c/../0.png,b", "./0.png,b"])
def test_a_second_label_by_another_spelling_is_refused(tmp_path: Path, second: str):
    table = tmp_path / "gt.csv"
    table.write_text(f"filename,label\n0.png,a\n{second}\n")
    with pytest.raises(UserError, match="line 3: 0.png has a second, different label"):
        read_truth(table, [Path("a/0.png")], ["a", "b"])


ALIKE = [(" a", "a"), ("a", "a\u00a0"), ("\u00fc", "u\u0308"), ("a", "a\u200b"), ("a b", "a  b"), ("\ufeffa", "a")]


@pytest.mark.parametrize(("first", "second"), ALIKE)
@pytest.mark.parametrize("tabled", [False, True])
def test_classes_that_look_the_same_are_refused(tmp_path: Path, first: str, second: str, tabled: bool):
    rows = []
    for number, name in enumerate((first, second, "other")):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "0.png"), np.zeros((4, 4), np.uint8))
        rows.append(f"{number}.png,{name}\n")
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((4, 4), np.uint8))
    (tmp_path / "t.csv").write_text("filename,label\n" + "".join(rows), "utf-8")
    options = {"path": str(tmp_path), **({"table": "t.csv"} if tabled else {})}
    if tabled and first.strip() == second.strip():  # a table has no spaces around values
        assert len(read_dataset("folder", None, options).class_names) == 2
        return
    with pytest.raises(UserError, match="the classes .* and .* look the same; make them one") as caught:
        read_dataset("folder", None, options)
    assert str(caught.value).isascii()


@pytest.mark.parametrize("name", [" a", "a ", "a\u3000"])
def test_a_class_folder_with_a_space_at_an_end_is_told(tmp_path: Path, name: str):
    for each in (name, "b", "B", "क\u094dष", "क\u094d\u200dष"):
        (tmp_path / each).mkdir()
        cv2.imwrite(str(tmp_path / each / "0.png"), np.zeros((4, 4), np.uint8))
    with pytest.warns(EngineWarning, match=re.escape(f"the class {name!r} begins or ends with a space")):
        assert len(read_dataset("folder", None, {"path": str(tmp_path)}).class_names) == 5


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("space", [" ", "  ", "\u00a0"])
def test_spaces_around_quotation_marks_do_not_count(tmp_path: Path, delimiter: str, space: str):
    cells = [["filename", "note", "label"], ['a "1".png', "", "x"], [f"b{delimiter} 2.png", 'say "" \t', " y "]]
    lines = []
    for row in cells:
        quoted = ['"' + cell.replace('"', '""') + '"' for cell in row]
        lines.append(delimiter.join(f"{space}{cell}{space}" for cell in quoted))
    found = rows_of(tmp_path, "\r\n".join([*lines, "", ""]), ("filename", "label"))
    assert found == [{"filename": 'a "1".png', "label": "x"}, {"filename": f"b{delimiter} 2.png", "label": "y"}]


@pytest.mark.parametrize(
    "line", ['"0.png"x,a', '"0.png" x,a', '0.png,"a" b', '"0.png" "x",a', '"0.png,a', '"0.png" ,"a']
)
def test_what_else_stands_behind_a_quotation_mark_is_an_error(tmp_path: Path, line: str):
    with pytest.raises(UserError, match="t.csv, line .*is a quotation mark missing"):
        rows_of(tmp_path, f'filename,label\n{line}\n"1.png" ,"b" \n')


@pytest.mark.parametrize("line", ['"""x', ' """x', '"a', ' "', '"a" ,b', "'" * 3, '""'])
def test_a_long_table_of_marks_takes_no_long_time(tmp_path: Path, line: str):
    begun = time.process_time()
    with pytest.raises(UserError, match="t.csv, line"):
        rows_of(tmp_path, "filename,label\n" + f"{line}\n" * 100_000 + "x\n")
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("name", ["/photos/a\0.png", "a\0.png", "\0"])
def test_a_zero_byte_is_an_error_in_every_table(tmp_path: Path, name: str):
    with pytest.raises(UserError, match="t.csv: not a CSV file in UTF-8 .*zero byte"):
        rows_of(tmp_path, f"filename,label\n{name},a\n")
    with pytest.raises(UserError, match="t.csv: not a CSV file in UTF-8 .*zero byte"):
        read_truth(tmp_path / "t.csv", [Path("a.png")], ["a"])
