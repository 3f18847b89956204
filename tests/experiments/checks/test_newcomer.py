"""The walk of a newcomer, in small, and that it walks the page as it stands."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data.images import read_image
from engine.data.sets.known import RECORDS
from engine.errors import UserError
from experiments.checks.newcomer.__main__ import main
from experiments.checks.newcomer.laptop import ON_ITS_SIDE, with_orientation, write_photo
from experiments.checks.newcomer.walk import CONFIGURATION, SHOWN, WALK, Done, report, shortened_lines
from tests.docs.blocks import read_blocks

PAGE = Path(__file__).resolve().parents[3] / "docs" / "photos.md"


def test_the_walk_is_that_of_the_page():
    blocks = read_blocks(PAGE)
    (written,) = [block.text for block in blocks if block.detail == "photos.yaml"]
    assert CONFIGURATION.format(classes=4) == written
    typed = "\n".join(re.sub(r"\\\n\s*", "", block.text) for block in blocks if block.language == "sh").splitlines()
    for command in WALK[:-2]:  # the last one is shortened: the page asks for all of its outputs
        assert command in typed or command.startswith("head"), command
    assert any(
        line.startswith("python -m engine.predict new --checkpoint runs/photos --gt truth.csv") for line in typed
    )


def noise(folder, names):
    """Small colour pictures of those names."""
    draw = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), draw.integers(0, 256, (20, 30, 3)).astype(np.uint8))


def test_own_photos_are_walked_to_the_end(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    noise(tmp_path / "mine", [f"{name}/{number}.png" for name in ("left side", "right") for number in range(5)])
    noise(tmp_path / "asked", ["1.jpg", "2.webp"])
    words = ["--photos", str(tmp_path / "mine"), "--new", str(tmp_path / "asked"), "epochs=1"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "all: 10 images, 2 classes" in said and "p(left side)" in said and said.endswith("walked to its end\n")
    (tmp_path / "mine" / "right" / "0.png").write_bytes(b"")  # a fault, which is told and walked past
    assert main([*words, "epochs=one"]) == 1
    said = capsys.readouterr().out
    assert "FAULT all: 1 image cannot be read" in said and said.endswith("verdict: FAILED\n")
    assert "epochs: expected int" in said and "engine.plots" not in said


def test_folders_are_given_together_and_are_there(tmp_path):
    with pytest.raises(UserError, match="--photos and --new belong together"):
        main(["--photos", str(tmp_path)])
    with pytest.raises(UserError, match="nowhere: no such folder"):
        main(["--photos", str(tmp_path), "--new", str(tmp_path / "nowhere")])


def test_photos_have_the_kinds_that_people_have_and_show_the_same(tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    image[:8, :, 0] = 255  # red above
    found = [write_photo(tmp_path / f"{number}", image, (48, 64), number) for number in range(6)]
    assert [each.suffix for each in found] == [".jpg", ".JPG", ".png", ".webp", ".jpeg", ".jpg"]
    assert cv2.imread(str(found[5]), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION).shape == (64, 48, 3)
    for each in found:
        photo = read_image(each)
        assert photo.shape == (48, 64, 3)
        assert photo[5, 30, 0] > 200 and photo[5, 30, 2] < 60 and photo[44, 30].max() < 60


def test_an_orientation_is_set_behind_the_first_marker():
    whole = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    turned = with_orientation(whole, ON_ITS_SIDE)
    assert turned[:4] == b"\xff\xd8\xff\xe1" and turned.endswith(whole[2:])


def test_the_report_has_every_command_and_the_end_of_what_it_said():
    lines = tuple(map(str, range(SHOWN + 2)))
    assert shortened_lines(lines)[:2] == ["… (2 lines before)", "2"] and shortened_lines(("a",)) == ["a"]
    text = report([Done("a", 1.25, 0, lines), Done("bc", 2.0, 2, ())])
    assert text.startswith("command  seconds  status\na       1.2       0\nbc      2.0       2\nall      3.2\n")
    assert not Done("bc", 2.0, 2, ()).expected and Done(WALK[0], 1.0, 2, ()).expected


def test_the_names_are_those_of_scenes():
    from experiments.checks.newcomer.laptop import NAMES

    assert "scenes" in RECORDS and len(NAMES) == 4
