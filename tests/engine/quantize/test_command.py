"""Quantising with files, and what the other commands do with the result."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.inference.classify import Prediction, classify
from engine.inference.ensemble import load_members
from engine.inference.segment import segment, segmenter
from engine.models import make_model
from engine.quantize.__main__ import main
from engine.recipe.prediction import predict
from engine.serving.command import page_of
from engine.serving.pool import Pool
from engine.summary import main as summary
from tests.engine.small import CLASSES, small_images, small_net

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A network, and a folder of twelve images with a table of them."""
    net = small_net()
    net.preprocess, net.class_names = Preprocess().to_dict(), list(CLASSES)
    net.save(tmp_path / "net.safetensors")
    (tmp_path / "images").mkdir()
    for number, image in enumerate(small_images(12)[0]):
        cv2.imwrite(str(tmp_path / "images" / f"{number:02}.png"), image)
    rows = [["filename", "note"], *([f"images/{number:02}.png", "x"] for number in (1, 3, 5))]
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr("sys.argv", ["quantize", *map(str, words)])
    main()


def test_the_command_writes_what_the_function_gives(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, files / "net.safetensors", files / "images", files / "int8.safetensors")
    said = capsys.readouterr().out
    assert "bytes of weights in place of" in said and "12 images" in said
    net, found = engine.load(files / "net.safetensors"), engine.quantize.load(files / "int8.safetensors")
    pixels = np.stack([cv2.imread(str(files / f"images/{n:02}.png"), 0) for n in range(12)])[:, None]
    samples = Preprocess().normalise(pixels)
    assert found.body.encodings == engine.quantize(net, samples).body.encodings
    assert list(found.class_names) == list(CLASSES) and found.preprocess == net.preprocess


def test_every_option_reaches_the_network(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--scales", "free", "--calibrate", "99.5", "--first", "float", "--weight-bits", "7", "--most", "5"]
    run(monkeypatch, files / "net.safetensors", files / "images", files / "a.safetensors", *words)
    notes = engine.quantize.load(files / "a.safetensors").notes
    assert (notes.scales, notes.calibrate, notes.first, notes.last) == ("free", 99.5, "float", "int8")
    assert (notes.weight_bits, notes.samples) == (7, 5)
    run(monkeypatch, files / "net.safetensors", files / "list.csv", files / "b.safetensors")
    assert engine.quantize.load(files / "b.safetensors").notes.samples == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["net.safetensors", "images", "out.onnx"], r"must end in \.safetensors"),
        (["net.safetensors", "images", "net.safetensors"], "would be written over"),
        (["net.safetensors", "none", "out.safetensors"], "none"),
        (["net.safetensors", "empty.csv", "out.safetensors"], "names no images"),
        (["net.safetensors", "images", "out.safetensors", "--most", "0"], "--most"),
        (["net.safetensors", "images", "out.safetensors", "--calibrate", "entropy"], "calibrate"),
        (["bare.safetensors", "images", "out.safetensors"], "without its preprocessing"),
        (["int8.safetensors", "images", "out.safetensors"], "holds a quantised network"),
        (["net.safetensors", "large", "out.safetensors"], "gives an input of shape"),
    ],
)
def test_what_the_command_refuses(files: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    (files / "empty.csv").write_text("filename\n")
    small_net().save(files / "bare.safetensors")
    (files / "large").mkdir()
    cv2.imwrite(str(files / "large" / "a.png"), np.zeros((20, 20), np.uint8))
    run(monkeypatch, files / "net.safetensors", files / "images", files / "int8.safetensors")
    with pytest.raises(UserError, match=message):
        run(
            monkeypatch,
            *(files / word if "." in word or word in ("images", "none", "large") else word for word in words),
        )
    assert not (files / "out.safetensors").exists()


def test_the_other_commands_take_the_file(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files / "int8.safetensors"
    run(monkeypatch, files / "net.safetensors", files / "images", path)
    capsys.readouterr()
    from engine.predict import parse_arguments

    assert predict(parse_arguments([str(files / "images"), "--checkpoint", str(path)])) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13 and all(line.split(",")[1] in CLASSES for line in lines[1:])
    monkeypatch.setattr("sys.argv", ["summary", str(path)])
    summary()
    assert "int8" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["summary", str(path), "--json"])
    summary()
    assert json.loads(capsys.readouterr().out)["quantized"]["samples"] == 12
    monkeypatch.setattr("sys.argv", ["summary", str(path), "--device"])
    summary()
    assert "as C: " in capsys.readouterr().out


def test_it_predicts_beside_the_network_that_it_was_made_of(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, files / "net.safetensors", files / "images", files / "int8.safetensors")
    members = load_members([files / "net.safetensors", files / "int8.safetensors"])
    paths = sorted((files / "images").glob("*.png"))
    said = [each for each in classify(members, paths) if isinstance(each, Prediction)]
    alone = [each for each in classify(members[1:], paths) if isinstance(each, Prediction)]
    assert len(said) == len(alone) == 12
    np.testing.assert_allclose([each.scores for each in said], [each.scores for each in alone], atol=0.1)


def test_the_server_answers_with_it_and_shows_its_page(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, files / "net.safetensors", files / "images", files / "int8.safetensors")
    pool = Pool([files / "int8.safetensors"], 2)
    try:
        (said,) = pool.submit([(files / "images" / "00.png").read_bytes()], 1).result()
    finally:
        pool.close()
    assert said.label in CLASSES
    page = page_of(pool.members)
    assert isinstance(page, str) and "bytes of integers" in page


def test_a_class_for_each_pixel(tmp_path: Path) -> None:
    net = make_model("unet", width=4, input_size=16)
    net.preprocess, net.class_names = Preprocess(size=(16, 16)).to_dict(), ["paper", "ink"]
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8))
    values = np.random.default_rng(1).random((8, 1, 16, 16), np.float32)
    quantized = engine.quantize(net, values)
    quantized.save(tmp_path / "int8.safetensors")
    again = engine.quantize.load(tmp_path / "int8.safetensors")
    (found,) = segment(segmenter(tmp_path / "int8.safetensors", again), [image])
    assert getattr(found, "numbers").shape == (16, 16)  # noqa: B009 (it may be a Damaged)


def test_networks_for_other_things_are_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, files / "net.safetensors", files / "images", files / "int8.safetensors")
    from engine.plots.__main__ import main as plots

    words = ["gradcam", str(files / "int8.safetensors"), str(files / "images/00.png"), "--out", str(files / "a.png")]
    monkeypatch.setattr("sys.argv", ["plots", *words])
    with pytest.raises(UserError, match="quantised network"):
        plots()
