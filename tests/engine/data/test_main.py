"""`python -m engine.data`: what the commands print, and one sentence with status 2 for every mistake."""

import sys

import cv2
import numpy as np
import pytest

from engine.cli import run
from engine.data.__main__ import main


@pytest.fixture
def call(monkeypatch, capsys):
    monkeypatch.delenv("CNN_DATA", raising=False)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["engine.data", *map(str, arguments)])
        status = run(main)
        return status, *capsys.readouterr()

    return call


def test_list_says_what_is_at_hand(call, tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "numtadb").mkdir()
    (tmp_path / "numtadb" / "training-d.csv").touch()
    monkeypatch.setenv("CNN_DATA", str(tmp_path))
    status, out, _ = call("list")
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert status == 0 and "70,000" in rows["mnist"] and "here" in rows["mnist"]
    assert "1 of 5 parts" in rows["numtadb"] and "not here" in rows["cifar10"]
    assert rows.keys() >= {"emnist", "cmaterdb", "scenes", "chars74k", "digits5k", "folder", "npz"}
    assert f"looked for in {tmp_path}" in out


def test_info(call, tmp_path):
    status, out, _ = call("info", "cifar10", "--data-root", tmp_path)
    assert status == 0
    for words in (
        "train: 50,000 images",
        "licence: ",
        "cs.toronto.edu",
        "data_batch_3.bin, 30,730,000 bytes",
        "not here",
    ):
        assert words in out


def test_verify_one_s_own_images(call, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), np.full((3, 4), ord(name[0]), np.uint8))
    status, out, _ = call("verify", "folder", f"path={tmp_path}")
    assert status == 0 and "cat 1  dog 1" in out and "no faults found" in out
    (tmp_path / "dog" / "2.png").write_bytes(b"no image")
    status, out, err = call("verify", "folder", f"path={tmp_path}")
    assert status == 2 and "2.png: not an image" in out
    assert err == "error: folder: 1 fault, the first: all: 1 image cannot be read\n"


def test_verify_digits_of_the_package(call):
    status, out, _ = call("verify", "digits5k")
    assert status == 0 and "all: 5,000 of 5,000 images, 10 classes; per class 500 to 500" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "mnst"], "unknown data set 'mnst'; did you mean 'mnist'?"),
        (["verify", "mnist"], "fetch mnist"),
        (["verify", "folder"], "the option 'path' is missing; write path=PLACE"),
        (["verify", "folder", "pth=x"], "did you mean 'path'"),
        (["verify", "folder", "path"], "key=value"),
        (["verify", "npz", "path=none.npz"], "none.npz: no such file"),
        (["fetch", "numtadb"], "log in there"),
    ],
)
def test_mistakes(call, tmp_path, arguments, message):
    status, out, err = call(*arguments, "--data-root", tmp_path)
    assert status == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err


def test_no_command_and_an_unknown_one(call):
    for arguments in ([], ["verfy"]):
        with pytest.raises(SystemExit) as caught:
            call(*arguments)
        assert caught.value.code == 2
