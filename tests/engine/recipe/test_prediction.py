"""Prediction from image files does to them what training did, and every bad input is one sentence."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import engine
from engine import predict as command
from engine.cli import run
from engine.data.dataset import Dataset, RawDataset, prepare
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.inference.ensemble import probabilities
from engine.inference.truth import match_rows
from engine.training.trainer import Trainer
from tests.engine.small import CLASSES, small_images, small_layers, small_net

PREPROCESS = Preprocess(steps=("reverse", "bbox"), size=(10, 10), scale="-1..1", mean=(0.1,), std=(0.7,))
COUNT = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures in a folder, their labels in a table, and a network trained on them."""
    place = tmp_path_factory.mktemp("predict")
    pictures = place / "pictures"
    pictures.mkdir()
    images, labels = small_images(COUNT)
    rows = ["filename,digit"]
    for number, (image, label) in enumerate(zip(images, labels)):
        sheet = np.repeat(np.repeat(image, 3 + number % 2, axis=0), 3, axis=1)  # sizes differ
        cv2.imwrite(str(pictures / f"{number:02}.png"), sheet)
        rows.append(f"{number:02}.png,{CLASSES[label]}")
    (place / "gt.csv").write_text("\n".join(rows) + "\n")
    raw = RawDataset("pictures", [cv2.imread(str(path), 0) for path in sorted(pictures.iterdir())], labels, CLASSES)
    net = small_net()
    Trainer(net, engine.Adam(lr=0.01), batch_size=4, progress="none", out=place / "run").fit(
        prepare(raw, PREPROCESS), epochs=8
    )
    return place


def call(monkeypatch, capsys, *arguments):
    """Run the command in this process: exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    status = run(command.main)
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def checkpoint(place):
    return place / "run" / "last.safetensors"


def test_prediction_from_files_is_the_networks_own(place, monkeypatch, capsys, tmp_path):
    out = tmp_path / "p.csv"
    arguments = [place / "pictures", "--checkpoint", checkpoint(place), "--out", out]
    assert call(monkeypatch, capsys, *arguments) == (0, "", "")
    net = engine.load(checkpoint(place))
    rows = list(csv.DictReader(out.open()))
    assert [row["file"] for row in rows] == [str(path) for path in sorted((place / "pictures").iterdir())]
    for row in rows:
        scores = net.predict(PREPROCESS(cv2.imread(row["file"], 0))[None])[0]
        assert row["label"] == CLASSES[scores.argmax()]
        assert float(row["probability"]) == pytest.approx(scores.max(), abs=1e-6)


def test_a_photograph_that_is_not_a_file_of_its_own_size_or_kind(place, monkeypatch, capsys, tmp_path):
    """The same picture stored in colour gives the same probability, to the digit."""
    original = place / "pictures" / "03.png"
    copy = tmp_path / "copy.png"
    cv2.imwrite(str(copy), cv2.imread(str(original), cv2.IMREAD_COLOR))
    _, text, _ = call(monkeypatch, capsys, original, copy, "--checkpoint", checkpoint(place))
    first, second = list(csv.DictReader(text.splitlines()))
    assert first["label"] == second["label"] and first["probability"] == second["probability"]


def test_true_labels_give_a_report(place, monkeypatch, capsys, tmp_path):
    arguments = [place / "pictures", "--checkpoint", checkpoint(place), "--gt", place / "gt.csv"]
    status, out, err = call(monkeypatch, capsys, *arguments)
    assert status == 0 and out.startswith("file,label,probability\n") and "accuracy" in err
    status, out, err = call(monkeypatch, capsys, *arguments, "--out", tmp_path / "p.csv")
    assert status == 0 and err == "" and "macro-F1" in out and f"images {COUNT}" in out
    assert [line.split()[0] for line in out.splitlines()[-3:]] == list(CLASSES)


def test_keys_of_a_configuration(place, monkeypatch, capsys, tmp_path):
    settings = {"dataset": "mnist", "model": {"name": "lenet"}, "gt_csv": str(place / "gt.csv")}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(settings | {"checkpoint_path": str(checkpoint(place))}))
    status, _, err = call(monkeypatch, capsys, place / "pictures", "--config", config)
    assert status == 0 and "accuracy" in err
    config.write_text(yaml.safe_dump(settings | {"checkpoint_path": False}))
    status, _, err = call(monkeypatch, capsys, place / "pictures", "--config", config)
    assert status == 2 and "checkpoint_path" in err
    status, _, err = call(
        monkeypatch, capsys, place / "pictures", "--config", config, "--checkpoint", checkpoint(place)
    )
    assert status == 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,digit\n00.png,top\n", "no column 'filename' or 'file' or 'image'; it has name, digit"),
        ("filename,class\n00.png,top\n", "no column 'label' or 'digit'"),
        ("", "no header"),
        ("filename,digit,label\n00.png,top,left\n", "not clear which column is meant, 'digit' or 'label'"),
        ("file,image,label\n00.png,00.png,left\n", "not clear which column is meant, 'file' or 'image'"),
        ("filename,digit\n00.png,middle\n", "line 2: label 'middle' is none of the classes"),
        ("filename,digit\n00.png,top\n", "no label for 01.png .11 of 12"),
        ("filename,digit\n00.png,top\n00.png,left\n", "second, different label"),
    ],
)
def test_bad_tables(place, monkeypatch, capsys, tmp_path, table, message):
    path, out = tmp_path / "gt.csv", tmp_path / "p.csv"
    path.write_text(table)
    status, _, err = call(
        monkeypatch, capsys, place / "pictures", "--checkpoint", checkpoint(place), "--gt", path, "--out", out
    )
    assert status == 2 and not out.exists()
    assert err.startswith(f"error: {path}") and err.count("\n") == 1
    assert re.search(message, err), err


def test_rows_of_a_table_are_found_by_path():
    table = Path("gt.csv")
    images = [Path("a/1.png"), Path("b/1.png"), Path("2.png")]
    rows = [Path("1.png"), Path("b/1.png"), Path("2.png")]
    assert match_rows(table, images, rows) == rows
    moved = [Path("x/7.png"), Path("y/8.png")]  # a table of another place
    assert match_rows(table, [Path("a/7.png"), Path("8.png")], moved) == moved
    for paths, rows in (
        ([Path("c/1.png")], [Path("a/1.png"), Path("b/1.png")]),
        ([Path("a/1.png"), Path("b/1.png")], [Path("1.png")]),
    ):
        with pytest.raises(UserError, match="ambiguous"):
            match_rows(table, paths, rows)


def test_a_row_of_another_folder_is_not_taken_by_its_name_alone():
    """Where the table knows the folder, it would have had the image there."""
    for paths, rows in (
        (["gtd/x/1.png"], ["y/1.png", "x/3.png"]),
        (["a/1.png", "x/9.png"], ["a/1.png", "y/9.png"]),
        ([Path("x/1.png").resolve()], [Path("x/2.png").resolve(), "y/1.png"]),
    ):
        with pytest.raises(
            UserError, match=r"gt.csv: no label for .*x/.*: its row y/.*png is of another folder, as .*"
        ):
            match_rows(Path("gt.csv"), list(map(Path, paths)), list(map(Path, rows)))


def test_a_folder_is_no_output(place, monkeypatch, capsys, tmp_path):
    arguments = [place / "pictures", "--checkpoint", checkpoint(place), "--out", tmp_path]
    status, _, err = call(monkeypatch, capsys, *arguments)
    assert status == 2 and "is a folder" in err


def test_bad_images_name_the_file_and_write_nothing(place, monkeypatch, capsys, tmp_path):
    folder, out = tmp_path / "pictures", tmp_path / "p.csv"
    folder.mkdir()
    arguments = [folder, "--checkpoint", checkpoint(place), "--out", out]
    status, _, err = call(monkeypatch, capsys, *arguments)
    assert status == 2 and "holds no images" in err
    whole = (place / "pictures" / "00.png").read_bytes()
    (folder / "a.png").write_bytes(whole)
    for content, word in ((b"", "empty"), (b"text", "not an image"), (whole[:-20], "truncated")):
        (folder / "b.png").write_bytes(content)
        status, _, err = call(monkeypatch, capsys, *arguments)
        assert status == 2 and f"{folder / 'b.png'}" in err and word in err and err.count("\n") == 1
    status, _, err = call(monkeypatch, capsys, tmp_path / "none.png", "--checkpoint", checkpoint(place))
    assert status == 2 and "no such file" in err
    assert not out.exists()


def test_a_damaged_image_names_the_option_that_goes_on_and_leaves_no_header(place, monkeypatch, capsys, tmp_path):
    (tmp_path / "a.png").write_bytes((place / "pictures" / "00.png").read_bytes())
    (tmp_path / "b.png").write_bytes(b"")
    for given, ending in (
        (tmp_path, "is empty; --skip-damaged goes on behind it\n"),
        (tmp_path / "b.png", "is empty\n"),
    ):
        status, out, err = call(monkeypatch, capsys, given, "--checkpoint", checkpoint(place))
        assert status == 2 and out == "" and err.endswith(ending), (out, err)


def test_names_that_the_shell_has_cut_or_left_are_told(place, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("tall houses").mkdir()
    Path("tall houses/1 2.png").write_bytes((place / "pictures" / "00.png").read_bytes())
    cases = (
        (
            ("tall", "houses/1", "2.png"),
            "tall: no such file or folder; a name with spaces stands in quotes: 'tall houses/1 2.png'\n",
        ),
        (
            ("tall houses/*.png",),
            "*.png: no such file or folder; it is a pattern: without quotes the shell puts the names in its place\n",
        ),
        (("tall houses/*.jpg",), "*.jpg: no such file or folder\n"),
        (("tall", "men"), "tall: no such file or folder\n"),
    )
    for given, ending in cases:
        status, out, err = call(monkeypatch, capsys, *given, "--checkpoint", checkpoint(place))
        assert status == 2 and out == "" and err.endswith(ending), err


def test_a_network_without_preprocessing_is_refused(place, monkeypatch, capsys, tmp_path):
    small_net().save(tmp_path / "bare.safetensors")
    status, _, err = call(monkeypatch, capsys, place / "pictures", "--checkpoint", tmp_path / "bare.safetensors")
    assert status == 2 and "without its preprocessing" in err


def test_logits_become_probabilities():
    logits = engine.Sequential(small_layers()[:-1], input_shape=(1, 10, 10))
    whole = small_net()
    x = np.random.default_rng(0).random((5, 1, 10, 10), np.float32)
    assert np.allclose(probabilities(logits, x), whole.predict(x), atol=1e-6)
    assert np.array_equal(probabilities(whole, x), whole.predict(x))


def test_class_numbers_where_there_are_no_names(tmp_path, monkeypatch, capsys, place):
    images, labels = small_images(COUNT)
    net = small_net()
    dataset = Dataset("unnamed", images[:, None], labels, (), Preprocess(size=(10, 10)))
    Trainer(net, engine.Adam(), batch_size=4, progress="none").fit(dataset, epochs=1)
    net.save(tmp_path / "net.safetensors")
    status, out, _ = call(monkeypatch, capsys, place / "pictures", "--checkpoint", tmp_path / "net.safetensors")
    assert status == 0 and {row["label"] for row in csv.DictReader(out.splitlines())} <= {"0", "1", "2"}


def test_missing_system_library_for_opencv_is_explained(monkeypatch, tmp_path):
    code = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'cv2':\n"
        "            raise ImportError('libGL.so.1: cannot open shared object file')\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from engine.data.images import load_cv2\n"
        "from engine.cli import run\n"
        "sys.exit(run(load_cv2))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "libGL.so.1" in done.stderr and "apt-get install libgl1 libglib2.0-0" in done.stderr
    assert "opencv-python-headless" in done.stderr and "Traceback" not in done.stderr
