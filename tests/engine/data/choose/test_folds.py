"""Folds that are saved and read again, and files that do not belong to the data."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from engine.data.choose.folds import load_folds, save_folds, saved_folds
from engine.data.choose.listed import Listed, read_listed
from engine.data.choose.splits import combine, stratified_folds
from engine.data.dataset import RawDataset
from engine.data.images import ImageFiles
from engine.errors import UserError
from engine.recipe.config import read_config
from engine.recipe.samples import load_data


def pictures(count=60, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 4, 5), np.uint8)
    columns = {"database": np.tile(["x", "y"], count // 2)}
    return RawDataset("pets", images, np.repeat(np.arange(3), count // 3), ("a", "b", "c"), columns)


@pytest.fixture
def saved(tmp_path):
    data = pictures()
    folds = stratified_folds(combine([data.labels, data.columns["database"]]), 5, seed=2)
    save_folds(tmp_path / "folds.json", data, folds)
    return tmp_path / "folds.json", data, folds


def test_what_is_saved_is_read_again(saved):
    path, data, folds = saved
    read = load_folds(path, data)
    assert len(read) == 5
    for (train, held), (train_again, held_again) in zip(folds, read):
        assert np.array_equal(train, train_again) and np.array_equal(held, held_again)
        assert held_again.dtype == train_again.dtype == np.int64
    stored = json.loads(path.read_text())
    assert stored["set"] == "pets" and stored["count"] == 60 and len(stored["content"]) == 64


def test_other_data_are_refused(saved):
    path, data, _ = saved
    with pytest.raises(UserError, match="folds of the set 'pets', not of 'mnist'"):
        load_folds(path, replace(data, name="mnist"))
    with pytest.raises(UserError, match="for 60 samples, but the data now have 48"):
        load_folds(path, pictures(48))
    with pytest.raises(UserError, match="belong to other data"):
        load_folds(path, pictures(seed=1))
    with pytest.raises(UserError, match="belong to other data"):
        load_folds(path, data.subset(np.arange(60)[::-1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a file of folds"),
        ({"validation": [[0, 1]]}, "each index from 0 to 59 exactly once"),
        ({"validation": [list(range(60)), [3]]}, "exactly once"),
        ({"validation": [["0"], [1]]}, "a list of indices per fold"),
        ({"count": None}, "expected the keys"),
    ],
)
def test_damaged_files(saved, change, message):
    path, data, _ = saved
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message) as caught:
        load_folds(path, data)
    assert str(path) in str(caught.value)


def test_files_that_are_no_json(saved, tmp_path):
    path, data, folds = saved
    path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match="not valid JSON"):
        load_folds(path, data)
    path.write_text("[]")
    with pytest.raises(UserError, match="expected a JSON object"):
        load_folds(path, data)
    with pytest.raises(UserError, match="cannot be read"):
        load_folds(tmp_path / "none.json", data)
    with pytest.raises(UserError, match="exactly once"):
        save_folds(tmp_path / "new.json", data, folds[:3])
    assert not (tmp_path / "new.json").exists()


def test_folds_are_drawn_once_and_then_kept(tmp_path):
    path, data = tmp_path / "deep" / "folds.json", pictures()
    first = saved_folds(path, data, data.labels, 5, seed=0)
    again = saved_folds(path, data, data.labels, 5, seed=9)  # another seed: the file decides
    assert all(np.array_equal(one[1], other[1]) for one, other in zip(first, again))
    with pytest.raises(UserError, match="holds 5 folds, but split.folds is 3"):
        saved_folds(path, data, data.labels, 3, seed=0)


def files(folder):
    paths = []
    for name in ("cat/1", "cat/2", "dog/1"):
        path = folder / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((3, 4), 9, np.uint8))
        paths.append(path)
    return RawDataset("pets", ImageFiles(paths), np.array([0, 0, 1]), ("cat", "dog"))


def test_listed_images_are_matched_by_class_and_stem(tmp_path):
    data = files(tmp_path)
    listing = {"small": {"train": ["dog/1.jpg", "cat/2.jpg"], "test": ["cat/1.jpg"]}, "odd": {"train": ["cat/7.jpg"]}}
    listing["twice"] = {"train": ["cat/1.jpg", "cat/1.png"]}
    (tmp_path / "lists.json").write_text(json.dumps(listing))
    assert read_listed(data, Listed("lists.json", "small"), tmp_path).tolist() == [1, 2]
    assert read_listed(data, Listed(str(tmp_path / "lists.json"), "small", "test")).tolist() == [0]
    for listed, message in (
        (Listed("lists.json", "smal"), "did you mean 'small'"),
        (Listed("lists.json", "small", "tests"), "did you mean 'test'"),
        (Listed("lists.json", "odd"), "1 of the 1 images that odd lists are not in the data, the first is cat/7.jpg"),
        (Listed("lists.json", "twice"), "lists an image twice"),
        (Listed("none.json", "small"), "none.json: cannot be read"),
    ):
        with pytest.raises(UserError, match=message):
            read_listed(data, listed, tmp_path)
    with pytest.raises(UserError, match="the images of pets are not files"):
        read_listed(pictures(), Listed("lists.json", "small"), tmp_path)


def test_of_files_of_one_stem_the_listed_one_is_taken(tmp_path):
    names = ("a/1.jpg", "a/1.png", "a/2.png", "b/1.jpg", "b/1.png", "b/2.png")
    data = RawDataset("pets", ImageFiles([tmp_path / name for name in names]), np.zeros(6, np.int64), ("cat",))
    lists = {"own": ["a/1.jpg", "a/2.png", "b/1.jpg"], "both": ["a/1.jpg", "a/1.png"], "open": ["b/2.jpg", "b/1.webp"]}
    (tmp_path / "lists.json").write_text(json.dumps({name: {"train": each} for name, each in lists.items()}))
    assert read_listed(data, Listed("lists.json", "own"), tmp_path).tolist() == [0, 2, 3]
    assert read_listed(data, Listed("lists.json", "both"), tmp_path).tolist() == [0, 1]
    with pytest.raises(UserError, match=r"open lists b/1.webp, which could be .*b/1.jpg or .*b/1.png"):
        read_listed(data, Listed("lists.json", "open"), tmp_path)
    # Folders of one name in two places.
    again = RawDataset("pets", ImageFiles([tmp_path / "x/a/1.png", tmp_path / "y/a/1.png"]), np.zeros(2, int), ("cat",))
    with pytest.raises(UserError, match=r"both lists a/1.jpg, which could be .*x/a/1.png or .*y/a/1.png"):
        read_listed(again, Listed("lists.json", "both"), tmp_path)


def test_a_run_takes_its_fold_from_the_file(tmp_path):
    data, path = pictures(), tmp_path / "folds.json"
    np.savez(tmp_path / "pets.npz", x=data.images, y=data.labels)
    given = {"dataset": {"name": "npz", "train": {"path": str(tmp_path / "pets.npz")}}, "model": {"name": "lenet"}}

    def fold(number, **split):
        section = {"kind": "folds", "folds": 3, "fold": number, "file": str(path), **split}
        return load_data(read_config(given | {"split": section}), None)[1].images

    first = fold(0)
    assert path.is_file() and np.array_equal(first, fold(0, seed=7))  # the file decides, not another seed
    assert not np.array_equal(first, fold(1))
    np.savez(tmp_path / "pets.npz", x=data.images[::-1], y=data.labels)
    with pytest.raises(UserError, match="^pets.yaml: .*folds.json: these folds belong to other data"):
        section = {"kind": "folds", "folds": 3, "file": str(path)}
        load_data(read_config(given | {"split": section}), None, "pets.yaml: ")
    with pytest.raises(UserError, match="file holds folds and belongs to kind folds, not to fraction"):
        read_config(given | {"split": {"file": str(path)}})


def test_folds_of_a_file_leave_out_what_cannot_be_read(tmp_path):
    paths = []
    for index in range(12):
        paths.append(tmp_path / "pets" / ("cat", "dog")[index % 2] / f"{index:02}.png")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(paths[-1]), np.full((4, 4), 20 * index, np.uint8))
    paths[3].write_bytes(b"damaged")
    split = {"kind": "folds", "folds": 3, "file": str(tmp_path / "folds.json")}
    data = {"name": "folder", "train": {"path": str(tmp_path / "pets")}}
    given = {"dataset": data, "model": {"name": "lenet"}, "cache": False}
    held: list[int] = []
    for fold in (0, 1, 2):
        config = read_config(given | {"split": split | {"fold": fold}})
        with pytest.warns(UserWarning, match="1 of 12 images cannot be read"):
            train, validation, _ = load_data(config, None)
        values = validation.images[:, 0, 0, 0].tolist()
        assert len(train) + len(validation) == 11 and not set(values) & set(train.images[:, 0, 0, 0].tolist())
        assert [value // 20 % 2 for value in values] == validation.labels.tolist()
        held += values
    assert sorted(held) == [20 * index for index in range(12) if index != 3]
