"""File names and class names of any signs reach table and terminal, whatever their encoding."""

import os
import subprocess
import sys
from pathlib import Path

import cnncore
import cv2
import pytest

import engine
from engine.data.preprocess import Preprocess
from tests.engine.small import CLASSES, small_images, small_net

LATIN = b"caf\xe9.png"  # no UTF-8


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), small_images(1)[0][0])
    os.rename(folder / "a.png", os.path.join(os.fsencode(folder), LATIN))
    net = small_net()
    net.preprocess, net.class_names = Preprocess().to_dict(), [f"é{name}猫" for name in CLASSES]
    net.save(tmp_path / "net.safetensors")
    return tmp_path


def command(place, encoding, *arguments):
    paths = [Path(cnncore.__file__).parents[1], Path(engine.__file__).parents[1]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONIOENCODING": encoding}
    line = [sys.executable, "-m", "engine.predict", "pictures", "--checkpoint", "net.safetensors", *arguments]
    return subprocess.run(line, cwd=place, env=environment, capture_output=True, timeout=60)


def test_a_file_name_that_is_no_utf8_keeps_its_bytes_in_the_table(place):
    done = command(place, "utf-8", "--out", "p.csv")
    assert (done.returncode, done.stderr) == (0, b"")
    row = (place / "p.csv").read_bytes().splitlines()[1]
    assert row.startswith(b"pictures/" + LATIN + b",") and "é".encode() in row


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_signs_that_a_terminal_lacks_are_printed_as_numbers(place, encoding):
    done = command(place, encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"caf\udce9.png" in done.stdout
    cat = "猫".encode() if encoding == "utf-8" else rb"\u732b"
    assert cat in done.stdout
