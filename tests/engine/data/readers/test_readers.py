"""Readers: small files in the publishers' layouts, everything that can be wrong with them, and the real sets."""

import gzip
import struct

import cv2
import numpy as np
import pytest

from engine.data.images import find_images, read_image
from engine.data.readers import read_dataset
from engine.errors import UserError


def write_mnist(folder, count=5):
    folder.mkdir(parents=True)
    pixels = np.arange(count * 6, dtype=np.uint8)
    images = struct.pack(">BBBBiii", 0, 0, 8, 3, count, 2, 3) + pixels.tobytes()
    labels = struct.pack(">BBBBi", 0, 0, 8, 1, count) + bytes(range(count))
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    return images


def test_mnist_gzipped_or_plain(tmp_path):
    write_mnist(tmp_path / "mnist")
    raw = read_dataset("mnist", tmp_path, {})
    assert raw.images.shape == (5, 2, 3) and raw.images[4, 1, 2] == 29
    assert raw.labels.tolist() == [0, 1, 2, 3, 4] and len(raw.class_names) == 10


NAMES = ["train-images-idx3-ubyte", "train-images.idx3-ubyte", "train-images-idx3-ubyte/train-images-idx3-ubyte"]
NAMES += ["train-images.idx3-ubyte/train-images.idx3-ubyte", "train-images-idx3-ubyte.gz", "train-images.idx3-ubyte.gz"]


@pytest.mark.parametrize("folder", ["mnist", "mnist/raw", "MNIST/raw", "mnist/MNIST/raw"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gzipped", [True, False])
def test_mnist_under_its_other_usual_names(tmp_path, folder, name, gzipped):
    place = tmp_path / folder
    data = write_mnist(place)
    (place / "train-images-idx3-ubyte.gz").unlink()
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_bytes(gzip.compress(data) if gzipped else data)  # the first bytes tell, not the name
    raw = read_dataset("mnist", tmp_path, {})
    assert raw.images.shape == (5, 2, 3) and raw.images[4, 1, 2] == 29 and raw.labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged gzip|not an idx"),
        (b"no gzip at all", "not an idx file"),
        (gzip.compress(b"\0\0\x09\x03" + b"\0" * 12), "not an idx file"),
        (gzip.compress(struct.pack(">BBBBiii", 0, 0, 8, 3, 5, 2, 3) + b"\0" * 29), "asks for 46"),
        (gzip.compress(b"\0\0\x08\x03" + b"\0" * 300)[:-12], "damaged gzip"),
    ],
    ids=["empty", "text", "of int16", "too short", "cut off"],
)
def test_damaged_mnist(tmp_path, data, message):
    write_mnist(tmp_path / "mnist")
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        read_dataset("mnist", tmp_path, {})
    assert str(path) in str(caught.value)


def write_cifar10(folder):
    folder = folder / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    record = bytes([7]) + bytes([1]) * 1024 + bytes([2]) * 1024 + bytes([3]) * 1024
    (folder / "test_batch.bin").write_bytes(record * 2)
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    return folder


def test_cifar10_planes_become_red_green_blue(tmp_path):
    write_cifar10(tmp_path / "cifar10")
    raw = read_dataset("cifar10", tmp_path, {"split": "test"})
    assert raw.images.shape == (2, 32, 32, 3) and raw.images[0, 5, 6].tolist() == [1, 2, 3]
    assert raw.labels.tolist() == [7, 7] and raw.class_names[7] == "h"


@pytest.mark.parametrize(("data", "message"), [(b"\1" * 3072, "multiple of 3073"), (b"\x0a" * 3073, "from 10 to 10")])
def test_damaged_cifar10(tmp_path, data, message):
    (write_cifar10(tmp_path / "cifar10") / "test_batch.bin").write_bytes(data)
    with pytest.raises(UserError, match=message):
        read_dataset("cifar10", tmp_path, {"split": "test"})


def write_numtadb(folder, table):
    images = folder / "training-a"
    images.mkdir(parents=True)
    for name in ("a0.png", "a1.png"):
        cv2.imwrite(str(images / name), np.full((4, 5), 200, np.uint8))
    (folder / "training-a.csv").write_text(table)


def test_numtadb(tmp_path):
    write_numtadb(tmp_path / "numtadb", "filename,digit,database name original\na0.png,3,BHDDB\na1.png,9,\n")
    raw = read_dataset("numtadb", tmp_path, {"parts": "a"})
    assert raw.labels.tolist() == [3, 9] and raw.images[0].shape == (4, 5)
    assert raw.columns["database"].tolist() == ["BHDDB", "training-a"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("filename,label\na0.png,3\n", "no column 'digit'"),
        ("", "no header"),
        ("filename,digit\na0.png,x\n", "line 2: digit 'x'"),
        ("filename,digit\na0.png,3\na7.png,3\na8.png,3\n", "a7.png: no such file .2 of the 3"),
        ("filename,digit\na0.png\n", "line 2: too few values"),
        ("filename,digit\na0.png,3\na1.png,3\na0.png,4\n", "names a0.png more than once"),
        ("filename,digit\n", "names no images"),
    ],
)
def test_bad_numtadb_tables(tmp_path, table, message):
    write_numtadb(tmp_path / "numtadb", table)
    with pytest.raises(UserError, match=message):
        read_dataset("numtadb", tmp_path, {"parts": "a"})


def test_folder_of_classes(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), np.full((3, 4, 3), (1, 2, 3), np.uint8))
    raw = read_dataset("folder", None, {"path": str(tmp_path)})
    assert raw.class_names == ("cat", "dog") and raw.labels.tolist() == [0, 1]
    assert raw.images[0][0, 0].tolist() == [3, 2, 1]  # OpenCV writes blue first, we read red first
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        UserError, match="empty: the class folder holds no images .* is a class: move this one elsewhere"
    ):
        read_dataset("folder", None, {"path": str(tmp_path)})
    with pytest.raises(UserError, match="no such folder"):
        read_dataset("folder", None, {"path": str(tmp_path / "nowhere")})
    with pytest.raises(UserError, match="nowhere: no such folder .*; it is looked for in .*, the current folder"):
        read_dataset("folder", None, {"path": "nowhere"})


def test_npz(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, x=np.zeros((3, 4, 5), np.uint8), y=np.array([0, 1, 1]))
    assert read_dataset("npz", None, {"path": str(path)}).class_names == ("0", "1")
    with pytest.raises(UserError, match="did you mean 'x'"):
        read_dataset("npz", None, {"path": str(path), "images": "X"})


def test_npz_never_unpickles(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, x=np.array([{"code": "runs"}], dtype=object), y=np.array([0]))
    with pytest.raises(UserError, match="cannot be loaded|can be read"):
        read_dataset("npz", None, {"path": str(path)})
    path.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match="set.npz"):
        read_dataset("npz", None, {"path": str(path)})
    np.savez(path, x=np.zeros((3, 4, 5), np.float32), y=np.array([0, 1, 1]))
    with pytest.raises(UserError, match="must be uint8"):
        read_dataset("npz", None, {"path": str(path)})


def test_unknown_names_and_options():
    with pytest.raises(UserError, match="did you mean 'cifar10'"):
        read_dataset("cifar", None, {})
    with pytest.raises(UserError, match="did you mean 'split'"):
        read_dataset("mnist", None, {"splitt": "test"})
    with pytest.raises(UserError, match="CNN_DATA"):
        read_dataset("mnist", None, {})
    with pytest.raises(UserError, match="path"):
        read_dataset("npz", None, {})


def test_no_such_split(tmp_path):
    (tmp_path / "mnist").mkdir()
    with pytest.raises(UserError, match="did you mean 'train'"):
        read_dataset("mnist", tmp_path, {"split": "training"})


def picture(path):
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8))
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_unreadable_images_are_named(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    data = picture(path)
    assert read_image(path).shape == (40, 40)
    for damaged, message in ((b"", "empty"), (data[: len(data) // 2], "truncated"), (b"text", "not an image")):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=message) as caught:
            read_image(path)
        assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read_image(path)


def test_find_images(tmp_path):
    for name in ("b.png", "a.JPG"):
        (tmp_path / name).touch()
    assert [path.name for path in find_images([tmp_path])] == ["a.JPG", "b.png"]
    with pytest.raises(UserError, match="given twice"):
        find_images([tmp_path, tmp_path / "b.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        find_images([tmp_path / "empty"])
    with pytest.raises(UserError, match="no such file"):
        find_images([tmp_path / "none.png"])


@pytest.mark.parametrize(
    ("name", "options", "count", "classes"),
    [
        ("mnist", {}, 60_000, 10),
        ("mnist", {"split": "test"}, 10_000, 10),
        ("cifar10", {"split": "test"}, 10_000, 10),
        ("numtadb", {}, 44_359, 10),
        ("numtadb", {"parts": "d"}, 10_908, 10),
        ("scenes", {}, 1881, 8),
        ("scenes", {"split": "test"}, 807, 8),
        ("chars74k", {}, 62 * 55, 62),
        ("chars74k", {"per_class": 40}, 62 * 40, 62),
        ("chars74k", {"skip": 40, "classes": "digits"}, 150, 10),
    ],
)
def test_the_real_sets(data_root, name, options, count, classes):
    raw = read_dataset(name, data_root, options)
    assert len(raw) == count and len(raw.class_names) == classes
    assert sorted(set(raw.labels)) == list(range(classes))
    assert raw.images[count - 1].dtype == np.uint8


def test_a_transparent_png_is_laid_on_white(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (10, 20, 30, 255)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    image = read_image(tmp_path / "a.png")
    assert image[0, 0].tolist() == [30, 20, 10] and (image[1:] == 255).all()
