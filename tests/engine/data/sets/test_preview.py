"""The sheet of augmentations: stages in order, each as training would have it, and mistakes named."""

import dataclasses
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.cli import run as run_command
from engine.data import __main__ as command
from engine.data.augment_config import AugmentConfig, Crop, Cutout, Shift
from engine.data.dataset import Dataset
from engine.data.digits import digits_on_sheets
from engine.data.images import read_image
from engine.data.loader import Loader
from engine.data.preprocess import Preprocess
from engine.data.sets import preview
from engine.data.steps import STEPS, BoundingBox, Dilation, Reverse, apply_steps, resize
from engine.errors import UserError

DOCS = Path(__file__).resolve().parents[4] / "docs"


def call(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["engine.data", "preview", *arguments])
    return run_command(command.main)


def test_stages_are_names_or_names_with_parameters():
    stages = preview.read_stages("bbox,reverse,{dilation: {kernel: 5}},contour_cutout, {shift: 0.2},flip")
    assert stages.steps == (BoundingBox(), Reverse(), Dilation(5))
    assert [name for name, _ in stages.random] == ["contour_cutout", "shift", "flip"]
    assert stages.augment(2).shift == Shift(0.2) and stages.augment(2).flip == 0
    assert preview.read_stages("") == preview.Stages()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dilate", "did you mean 'dilation'"),
        ("flip=0.5", "unknown stage 'flip=0.5'; is .flip: 0.5. meant"),
        ("shift,reverse", "reverse is a step and comes before"),
        ("{bbox: {margin: -1}}", "margin"),
        ("{shift: 7}", "shift fraction"),
        ("shift,crop", "give one of them"),
        ("{bbox", "names with commas"),
        ("3", "unknown stage '3'"),
        ("{}", "unknown stage"),
    ],
)
def test_bad_stages_are_named(text, message):
    with pytest.raises(UserError, match=message):
        preview.read_stages(text)


def test_every_column_shows_the_stages_up_to_its_own():
    images, _ = digits_on_sheets(count=10)
    samples = np.arange(10)
    stages = preview.read_stages("bbox,reverse,{cutout: {size: 0.3, value: 9}}")
    titles, columns = preview.staged(images, samples, stages, size=(28, 28), epochs=2)
    assert titles == ["original", "bbox", "reverse", "28x28", "cutout size 0.3 value 9", "epoch 2"]
    for image, boxed, reversed_, small, cut, next_cut in zip(*columns, strict=True):
        assert np.array_equal(boxed, apply_steps(image, ["bbox"]))
        assert np.array_equal(reversed_, apply_steps(image, ["bbox", "reverse"]))
        assert np.array_equal(small, resize(reversed_, 28, 28))
        assert cut.shape == (28, 28) and (cut[cut != small] == 9).all()
        assert not np.array_equal(cut, next_cut)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_shows_what_the_loader_gives(channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, channels, 12, 14), np.uint8)
    augment = AugmentConfig(crop=Crop(3), flip=0.5, cutout=Cutout(0.4))
    data = Dataset("noise", images, np.zeros(6, np.int64), ("a",), Preprocess(colour=channels == 3, scale="none"))
    wanted = Loader(data, 6, seed=5, augment=augment).batch(np.arange(6), 2, 0)[0]
    plain = [each[0] if channels == 1 else each.transpose(1, 2, 0) for each in images]
    shown = preview.augmented(plain, np.arange(6), augment, 5, 2)
    for picture, values in zip(shown, wanted, strict=True):
        assert np.array_equal(picture.reshape(12, 14, channels).transpose(2, 0, 1), values)


def test_mixup_wants_one_size():
    images = [np.zeros((4, 4), np.uint8), np.full((4, 4), 200, np.uint8)]
    mixed = preview.augmented(images, np.arange(2), AugmentConfig(mixup=1.0), 0, 0)
    assert {int(each.max()) for each in mixed} != set() and sum(int(each[0, 0]) for each in mixed) in (199, 200, 201)
    with pytest.raises(UserError, match="--size"):
        preview.augmented([images[0], images[1][:3]], np.arange(2), AugmentConfig(mixup=1.0), 0, 0)


def test_a_sheet_has_a_cell_for_every_image_of_any_shape():
    shapes = [(1, 1), (300, 2), (2, 300), (28, 28)]
    grey = [np.full(shape, 90, np.uint8) for shape in shapes]
    sheet = preview.draw(["a", "b"], [grey, [np.dstack([each, each // 2, each // 3]) for each in grey]])
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    assert (sheet == 90).all(axis=2).any() and (sheet == (90, 45, 30)).all(axis=2).any()


def test_the_command_writes_a_sheet_without_any_download(tmp_path, monkeypatch, capsys):
    out = tmp_path / "sheet.png"
    arguments = ("digits5k", "seed=3", "--augment", "bbox,reverse,contour_cutout", "--out", str(out), "--count", "3")
    assert call(monkeypatch, *arguments) == 0
    assert "3 images of digits5k" in capsys.readouterr().out
    first = out.read_bytes()
    sheet = read_image(out)
    assert sheet.ndim == 2 and sheet.shape[1] > 4 * preview.CELL and sheet.shape[0] > 3 * preview.CELL
    assert call(monkeypatch, *arguments) == 0 and out.read_bytes() == first


def test_an_image_that_cannot_be_read_is_left_out_and_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "photos" / name), np.full((9, 9), 50, np.uint8))
    (tmp_path / "photos" / "a" / "2.png").write_bytes(b"")
    assert call(monkeypatch, "folder", "path=photos", "--size", "8", "8") == 0
    out, err = capsys.readouterr()
    assert "2 images of folder" in out
    assert "1 of the images drawn cannot be read and are left out; the first: photos/a/2.png: the image file is" in err
    for name in ("a/1.png", "b/3.png"):
        (tmp_path / "photos" / name).write_bytes(b"")
    assert call(monkeypatch, "folder", "path=photos") == 2
    assert "the image file is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digit5k",), "did you mean 'digits5k'"),
        (("digits5k", "--count", "0"), "--count"),
        (("digits5k", "--epochs", "0"), "--epochs"),
        (("digits5k", "--out", "sheet.jpg"), "PNG"),
        (("digits5k", "sheet=false"), "did you mean 'sheets'"),
        (("digits5k", "sheets"), "key=value"),
        (("digits5k", "--size", "0", "28"), "0x28"),
        (("digits5k", "--augment", "bboxx"), "did you mean 'bbox'"),
    ],
)
def test_mistakes_end_with_status_2_and_write_nothing(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "folder", "photos"), "an override must read key=value, got 'photos'; did you mean path=photos?"),
        (("preview", "folder", "photos"), "an override must read key=value, got 'photos'; did you mean path=photos?"),
        (("verify", "npz", "set.npz"), "did you mean path=set.npz?"),
        (("verify", "folder", "nothing"), "an override must read key=value, got 'nothing'\n"),
        (("verify", "digits5k", "photos"), "an override must read key=value, got 'photos'\n"),
        (("verify", "photos"), "unknown data set 'photos'; for images of your own write folder path=photos\n"),
        (("preview", "photos"), "unknown data set 'photos'; for images of your own write folder path=photos\n"),
        (("info", "./photos/"), "unknown data set './photos/'; for images of your own write folder path=photos\n"),
        (("fetch", "photos"), "for images of your own write folder path=photos\n"),
        (("verify", "set.npz"), "unknown data set 'set.npz'; for images of your own write npz path=set.npz\n"),
    ],
)
def test_a_path_where_a_name_or_an_option_stands_is_told_how_to_be_written(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "set.npz").write_bytes(b"")
    monkeypatch.setattr(sys, "argv", ["engine.data", *arguments])
    assert run_command(command.main) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error, error


def test_the_page_has_every_augmentation_with_its_parameters_and_a_small_picture():
    page = (DOCS / "augmentations.md").read_text()
    sections = re.split(r"^### ", page, flags=re.MULTILINE)
    parts = {text.split("\n", 1)[0]: text.split("\n## ")[0] for text in sections[1:]}
    assert set(parts) == {*STEPS, *(each.name for each in dataclasses.fields(AugmentConfig))}
    for name, text in parts.items():
        assert f"(augmentations/{name}.png)" in text
    for name, step in STEPS.items():
        shared = "dilation" if name in ("erosion", "opening") else name  # "Parameters as for dilation"
        for each in dataclasses.fields(step):
            assert re.search(rf"\| `{each.name}` \| {each.default} \|", parts[shared]), (name, each.name)
    for name in re.findall(r"\]\((\S+\.png)\)", page):
        assert 0 < (DOCS / name).stat().st_size < 60_000, name
