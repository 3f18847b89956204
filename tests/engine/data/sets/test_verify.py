"""What `verify` says of whole, damaged and duplicated sets, small ones and the real ones."""

import gzip
import hashlib
import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest

from engine.data.readers import READERS
from engine.data.sets.known import RECORDS
from engine.data.sets.record import DataFile, Split
from engine.data.sets.registry import data_state, describe, image_count, own_folder, record
from engine.data.sets.verify import render, verify
from engine.errors import UserError


def idx(array):
    return struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def small(tmp_path):
    """A small MNIST on disk, its record, and the content of each file."""
    images = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    images[2] = images[0]
    arrays = {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte": np.array([0, 1, 0, 2], np.uint8),
        "t10k-images-idx3-ubyte": images[1:2],
        "t10k-labels-idx1-ubyte": np.array([3], np.uint8),
    }
    contents = {name: idx(array) for name, array in arrays.items()}
    (tmp_path / "mnist").mkdir()
    for level, (name, content) in enumerate(contents.items()):
        (tmp_path / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content, level))
    own = replace(
        record("mnist"),
        splits=(Split("train", {"split": "train"}, 4, 3), Split("test", {"split": "test"}, 1, 1)),
        files=tuple(DataFile(name, len(each), hashlib.sha256(each).hexdigest()) for name, each in contents.items()),
    )
    return own, tmp_path, contents


def test_a_whole_set(small):
    own, root, _ = small
    found = verify(own, root)
    assert found.faults == [] and [each.images for each in found.splits] == [4, 1]
    assert found.splits[0].per_class == (2, 1, 1, 0, 0, 0, 0, 0, 0, 0)
    assert [[each.file for each in group] for group in found.duplicates] == [
        ["train[0]", "train[2]"],
        ["train[1]", "test[0]"],
    ]
    text = render(found)
    for line in (
        "train-images-idx3-ubyte: 40 bytes, SHA-256 as published",
        "train: 4 of 4 images, 10 classes; per class 0 to 2, some are empty; 0 unreadable",
        "exact duplicates: 2 groups of equal images, 4 images in them",
        "within train: 1 group, 1 image too many",
        "across parts: 1 group",
        "with labels that disagree: 1 group",
        "equal: train[1] (1) = test[0] (3)",
        "no faults found",
    ):
        assert line in text, text


@pytest.mark.parametrize("gzipped", [True, False])
def test_a_changed_file_is_a_fault(small, gzipped):
    own, root, contents = small
    name = "train-labels-idx1-ubyte"
    changed = contents[name][:-1] + b"\x05"
    (root / "mnist" / f"{name}.gz").unlink()
    path = root / "mnist" / (f"{name}.gz" if gzipped else name)
    path.write_bytes(gzip.compress(changed) if gzipped else changed)
    faults = verify(own, root).faults
    assert len(faults) == 1 and faults[0].startswith(f"{name}: SHA-256 {hashlib.sha256(changed).hexdigest()}, expected")


@pytest.mark.parametrize("place", ["raw", "MNIST/raw", ""])
@pytest.mark.parametrize("gzipped", [True, False])
def test_files_under_their_other_names_are_checked_too(small, place, gzipped):
    own, root, contents = small
    for name, content in contents.items():
        (root / "mnist" / f"{name}.gz").unlink()
        path = root / "mnist" / place / (name.replace("-idx", ".idx") + ".gz" * (not gzipped))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if gzipped else content)
    found = verify(own, root)
    assert found.faults == [] and [each.images for each in found.splits] == [4, 1]
    assert all("SHA-256 as published" in each.outcome for each in found.files) and len(found.files) == 4
    assert data_state(own, root) == "here"
    (root / "mnist").rename(root / "MNIST")
    assert verify(own, root).faults == [] and data_state(own, root) == "here"


def test_counts_are_checked_where_hashes_are_not_known(small):
    own, root, _ = small
    files = tuple(replace(each, sha256=None) for each in own.files)
    wanted = (replace(own.splits[0], images=5, classes=10), own.splits[1])
    found = verify(replace(own, files=files, splits=wanted), root)
    assert found.faults == ["train: 4 images, expected 5", "train: 3 classes have images, expected 10"]
    assert "t10k-labels-idx1-ubyte: 9 bytes, the published hash is not known" in render(found)
    assert "FAULT train: 4 images, expected 5" in render(found)


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((4, 5), value, np.uint8))


def test_equal_images_with_labels_that_disagree_are_a_fault_of_ones_own_set(tmp_path):
    for value, name in enumerate(("a/1.png", "a/2.png", "b/1.png")):
        write(tmp_path / name, value)
    write(tmp_path / "a" / "3.png", 1)
    assert verify(record("folder"), None, {"path": str(tmp_path)}).faults == []
    write(tmp_path / "b" / "2.png", 0)
    found = verify(record("folder"), None, {"path": str(tmp_path)})
    assert found.faults == ["1 group of equal images has labels that disagree"]
    write(tmp_path / "b" / "3.png", 1)
    found = verify(record("folder"), None, {"path": str(tmp_path)})
    assert found.faults == ["2 groups of equal images have labels that disagree"]
    assert "FAULT 2 groups of equal images have labels that disagree" in render(found)


def test_unreadable_images_are_counted_and_named(tmp_path):
    for number, name in enumerate(("a/1.png", "a/2.png", "a/3.png", "b/1.png")):
        write(tmp_path / name, number // 2)
    (tmp_path / "a" / "2.png").write_bytes((tmp_path / "a" / "2.png").read_bytes()[:-20])
    (tmp_path / "a" / "3.png").write_bytes(b"")
    found = verify(record("folder"), None, {"path": str(tmp_path)})
    assert found.faults == ["all: 2 images cannot be read"] and found.duplicates == ()
    text = render(found)
    assert "2.png: the image file is truncated" in text and "3.png: the image file is empty" in text
    assert "all: 4 images, 2 classes; per class 1 to 3, 3.00 times the smallest; 2 unreadable" in text


def test_a_class_of_one_image_is_named(tmp_path):
    for name in ("a/1.png", "b/1.png", "b/2.png"):
        write(tmp_path / name, int(name[2]))
    found = verify(record("folder"), None, {"path": str(tmp_path)})
    assert found.faults == [] or "labels that disagree" in found.faults[0]
    assert "  few: 'a' with 1 image: a part for validation needs another of the class" in render(found)
    write(tmp_path / "a" / "3.png", 9)
    assert "few:" not in render(verify(record("folder"), None, {"path": str(tmp_path)}))


def test_equal_files_of_different_classes_come_first(tmp_path):
    for name, value in (("a/1.png", 1), ("a/2.png", 1), ("b/x.png", 7), ("a/y.png", 7)):
        write(tmp_path / name, value)
    text = render(verify(record("folder"), None, {"path": str(tmp_path)}))
    lines = [line.split("equal: ")[1] for line in text.splitlines() if "  equal: " in line]
    assert len(lines) == 2 and "y.png (a)" in lines[0] and "x.png (b)" in lines[0]


def test_parts_that_are_absent(tmp_path):
    folder = tmp_path / "numtadb"
    for number in range(10):
        write(folder / "training-b" / f"b{number}.png", number)
    rows = "".join(f"b{number}.png,{number}\n" for number in range(10))
    (folder / "training-b.csv").write_text(f"filename,digit\n{rows}")
    found = verify(record("numtadb"), tmp_path)
    assert found.absent == ("training-a", "training-c", "training-d", "training-e")
    assert found.faults == ["training-b: 10 images, expected 359"]
    (folder / "training-b" / "b4.png").unlink()
    with pytest.raises(UserError, match="b4.png: no such file .1 of the 10 images in training-b.csv are missing"):
        verify(record("numtadb"), tmp_path)
    (folder / "training-b.csv").unlink()
    with pytest.raises(UserError, match="training-b.csv: no such file"):
        verify(record("numtadb"), tmp_path)


def test_a_set_has_a_folder_of_its_own_or_lies_elsewhere(tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "folder").mkdir()
    assert own_folder("mnist", tmp_path) == tmp_path / "mnist"
    assert own_folder("folder", tmp_path) is own_folder("npz", None) is own_folder("digits5k", tmp_path) is None
    with pytest.raises(UserError, match="cifar10: no such folder.*fetch cifar10"):
        own_folder("cifar10", tmp_path)
    with pytest.raises(UserError, match="where is the data set 'mnist'"):
        own_folder("mnist", None)
    with pytest.raises(UserError, match="did you mean 'mnist'"):
        own_folder("mnits", tmp_path)


def test_files_of_absent_parts_are_not_asked_for(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        images, labels = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2), np.arange(count, dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = tmp_path / "emnist" / "gzip" / f"emnist-balanced-{split}-{kind}-ubyte.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(idx(array)))
    found = verify(record("emnist"), tmp_path)
    assert [split.name for split in found.splits] == ["balanced train", "balanced test"] and len(found.absent) == 10
    assert len(found.files) == 4 and all("balanced" in each.name for each in found.files)
    assert "emnist-balanced-test-labels-idx1-ubyte: 10 bytes, expected 18,808" in found.faults


def test_nothing_is_there(tmp_path):
    with pytest.raises(UserError, match="numtadb: no such folder .*fetch numtadb"):
        verify(record("numtadb"), tmp_path)
    (tmp_path / "numtadb").mkdir()
    with pytest.raises(UserError, match="holds no part of the data set 'numtadb': log in"):
        verify(record("numtadb"), tmp_path)
    with pytest.raises(UserError, match="takes no options, got parts"):
        verify(record("numtadb"), tmp_path, {"parts": "a"})


def test_every_reader_has_a_record():
    assert RECORDS.keys() == READERS.keys()
    for name, each in RECORDS.items():
        assert each.name == name and each.reader is READERS[name]
        assert each.title and each.licence and each.obtain and name in describe(each)
        assert not each.in_root or each.page
        known = [file for file in each.files if file.sha256 is not None]
        assert all(len(file.sha256) == 64 and file.size for file in known)
    assert image_count(record("numtadb")) == 72_045 and image_count(record("cmaterdb")) == 6_000
    assert image_count(record("folder")) is None
    with pytest.raises(UserError, match="did you mean 'emnist'"):
        record("eminst")


@pytest.mark.parametrize(
    ("name", "groups", "hashed"),
    [("mnist", 0, 4), ("cifar10", 0, 6), ("numtadb", 3, 0), ("scenes", 2, 0), ("chars74k", 0, 0)],
)
def test_the_real_sets_pass(data_root, name, groups, hashed):
    found = verify(record(name), data_root)
    assert found.faults == [] and len(found.duplicates) == groups
    assert sum("SHA-256 as published" in each.outcome for each in found.files) == hashed
    if name == "scenes":
        files = {each.file for group in found.duplicates for each in group}
        assert {"MIT_split/train/mountain/sclos4.png", "MIT_split/train/mountain/sharp59.png"} < files
