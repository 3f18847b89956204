"""What a set of the user's own has outside its folder counts among the data of a run."""

from pathlib import Path

import pytest

from engine.recipe.config import DatasetConfig, ModelConfig, TrainConfig
from experiments.cluster.shipping import moved, places_of
from experiments.tasks.fingerprint import Fingerprints
from experiments.tasks.places import sources


def config(name: str, **train) -> TrainConfig:
    return TrainConfig(DatasetConfig(name, train), ModelConfig("lenet"))


def hashed(given: TrainConfig) -> str:
    return Fingerprints().data(given)


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


@pytest.mark.parametrize("part", ["images", "masks"])
@pytest.mark.parametrize("absolute", [False, True])
def test_folders_of_images_and_masks_count_wherever_they_lie(tmp_path, part, absolute):
    for folder in ("set/images", "set/masks", "elsewhere"):
        write(tmp_path / folder / "1.png", "one")
    elsewhere = str(tmp_path / "elsewhere") if absolute else "../elsewhere"
    given = config("segmentation", path=str(tmp_path / "set"), **{part: elsewhere})
    before = hashed(given)
    write(tmp_path / "elsewhere" / "1.png", "two")
    assert hashed(given) != before


@pytest.mark.parametrize("name", ["../pix/1.png", ".hidden.png", ".git/1.png", "link/../../../pix/1.png", "absolute"])
def test_images_that_a_table_names_count_wherever_they_lie(tmp_path, name):
    write(tmp_path / "pix" / "sub" / "2.png", "two")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "pix" / "sub")
    name = str(tmp_path / "pix" / "1.png") if name == "absolute" else name
    place = write(tmp_path / "set" / name, "one")
    write(tmp_path / "set" / "labels.csv", f"name;class\n{name};a\n")
    given = config("folder", path=str(tmp_path / "set"), table="labels.csv", file_column="name", label_column="class")
    before = hashed(given)
    place.write_text("two")
    assert hashed(given) != before


def test_what_lies_in_the_folder_is_no_place_of_its_own(tmp_path):
    """Keys of stored results stay as they are."""
    for name in ("images/1.png", "masks/1.png", "labels.csv"):
        write(tmp_path / "set" / name, "filename,label\nimages/1.png,a\nmasks/../masks/1.png,a\n")
    folder = tmp_path / "set"
    assert sources(config("segmentation", path=str(folder))) == (folder,)
    assert sources(config("segmentation", path=str(folder), masks=str(folder / "masks"))) == (folder,)
    table = config("folder", path=str(folder), table="labels.csv")
    assert sources(table) == (folder, folder / "labels.csv")
    (folder / "labels.csv").write_text("no table")
    assert sources(table) == (folder, folder / "labels.csv")


def test_masks_outside_the_folder_are_found_where_a_worker_has_them(tmp_path):
    for name in ("set/images/1.png", "labels/1.png"):
        write(tmp_path / "here" / name, name)
    given = config("segmentation", path=str(tmp_path / "here" / "set"), masks="../labels")
    first, second = places_of(given)
    where = {first: tmp_path / "there" / "1" / "set", second: tmp_path / "there" / "2" / "labels"}
    for old, new in reversed(where.items()):
        new.parent.mkdir(parents=True)
        old.rename(new)
    found = moved(given, where)
    assert sources(found) == tuple(where.values()) and list((tmp_path / "here").iterdir()) == []
