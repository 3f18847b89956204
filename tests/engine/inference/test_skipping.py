"""One damaged image among many costs its own row alone, and folders of class folders are read with --recursive."""

import csv
import sys

import cv2
import pytest

from engine import predict as command
from engine.cli import run
from engine.data.preprocess import Preprocess
from engine.files import replacing
from tests.engine.small import CLASSES, small_images, small_net

COUNT = 6


@pytest.fixture
def place(tmp_path):
    """A folder of two class folders, the third image cut off, and a network."""
    images, labels = small_images(COUNT)
    rows = ["filename,label"]
    for number, image in enumerate(images):
        path = tmp_path / "pictures" / ("ab"[number % 2]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
        rows.append(f"{number}.png,{CLASSES[labels[number]]}")
    damaged = tmp_path / "pictures" / "a" / "2.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    (tmp_path / "gt.csv").write_text("\n".join(rows) + "\n")
    net = small_net()
    net.preprocess, net.class_names = Preprocess().to_dict(), list(CLASSES)
    net.save(tmp_path / "net.safetensors")
    return tmp_path


def call(monkeypatch, capsys, place, *arguments):
    given = [place / "pictures", "--checkpoint", place / "net.safetensors", *arguments]
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, given)])
    status = run(command.main)
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_a_damaged_image_has_a_row_with_its_error(place, monkeypatch, capsys):
    out = place / "p.csv"
    given = ("--recursive", "--skip-damaged", "--gt", place / "gt.csv", "--out", out)
    status, shown, err = call(monkeypatch, capsys, place, *given)
    assert status == 1 and "1 of 6 images" in err and f"images {COUNT - 1}" in shown
    rows = list(csv.DictReader(out.open()))
    assert [row["file"][-7:] for row in rows] == [f"{'ab'[n % 2]}/{n}.png" for n in (0, 2, 4, 1, 3, 5)]
    assert [bool(row["error"]) for row in rows] == [False, True, False, False, False, False]
    assert "2.png" in rows[1]["error"] and rows[1]["label"] == rows[1]["probability"] == ""
    assert all(row["label"] in CLASSES for row in rows if not row["error"])


def test_without_skipping_nothing_is_left_behind(place, monkeypatch, capsys):
    out = place / "p.csv"
    before = sorted(place.iterdir())
    status, _, err = call(monkeypatch, capsys, place, "--recursive", "--out", out)
    assert status == 2 and "2.png" in err and sorted(place.iterdir()) == before


def test_the_message_on_class_folders_names_the_option(place, monkeypatch, capsys):
    status, _, err = call(monkeypatch, capsys, place)
    assert status == 2 and "holds no images" in err and "--recursive" in err


def test_all_damaged_is_a_table_of_errors(place, monkeypatch, capsys):
    for path in (place / "pictures").rglob("*.png"):
        path.write_bytes(b"")
    given = ("--recursive", "--skip-damaged", "--gt", place / "gt.csv")
    status, out, _ = call(monkeypatch, capsys, place, *given)
    assert status == 1 and out.count("is empty") == COUNT


def test_a_file_takes_its_place_at_the_end(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]
