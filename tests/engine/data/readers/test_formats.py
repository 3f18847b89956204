"""EMNIST, CMATERdb, the Python batches of CIFAR-10, the user's own folders: small files in every accepted layout."""

import os
import pickle
import struct

import cv2
import numpy as np
import pytest

from engine.data.readers import read_dataset
from engine.errors import UserError

# Two records of a Python 2 pickle, opcode by opcode as NumPy 1 wrote the published batches (protocol 2).
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
BYTES = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def python2_batch(pixels, labels, dtype=BYTES):
    shape = b"K" + bytes([len(pixels)]) + b"M" + struct.pack("<H", pixels.shape[1]) + b"\x86"
    data = b"T" + struct.pack("<i", pixels.size) + pixels.tobytes()
    array = ARRAY + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels](" + b"".join(b"K" + bytes([n]) for n in labels) + b"eu."


@pytest.fixture
def python_batches(tmp_path):
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    (folder / "test_batch").write_bytes(python2_batch(pixels, [7, 2]))
    names = b"".join(b"U\x01" + name.encode() for name in "abcdefghij")
    (folder / "batches.meta").write_bytes(b"\x80\x02}U\x0blabel_names](" + names + b"es.")
    return folder, pixels


def test_python_batches_of_cifar10(python_batches, tmp_path):
    _, pixels = python_batches
    raw = read_dataset("cifar10", tmp_path, {"split": "test"})
    assert raw.labels.tolist() == [7, 2] and raw.class_names == tuple("abcdefghij")
    assert (raw.images == pixels.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1)).all()


class Malicious:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("function", [os.mkdir, eval, np.load])
def test_a_pickle_that_would_run_code_is_refused(python_batches, tmp_path, monkeypatch, protocol, function):
    folder, _ = python_batches
    monkeypatch.chdir(tmp_path)
    argument = "__import__('os').mkdir('proof')" if function is eval else "proof"
    batch = {"data": Malicious(function, argument), "labels": [1]}
    (folder / "test_batch").write_bytes(pickle.dumps(batch, protocol))
    with pytest.raises(UserError, match="test_batch: refused: the pickle asks for .*, which might run code"):
        read_dataset("cifar10", tmp_path, {"split": "test"})
    assert not (tmp_path / "proof").exists()


OBJECTS = BYTES.replace(b"u1", b"O8")
PIXELS = np.zeros((1, 3072), np.uint8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged pickle"),
        (b"\x80\x02}(U\x04data", "damaged pickle"),
        (b"no pickle", "damaged pickle"),
        (b"\x80\x02]q\x00.", "not a batch of CIFAR-10"),
        (python2_batch(PIXELS, [1], OBJECTS), "refused: the pickle holds an array of .*only bytes"),
        (python2_batch(PIXELS, [1, 2]), "labels must be a list of 1"),
        (python2_batch(PIXELS, [10]), "labels run from 10 to 10"),
        (python2_batch(PIXELS[:, :3000], [1]), "data must be a uint8 array"),
        (python2_batch(PIXELS, [1]).replace(b"M\x00\x0c", b"M\x00\x0d"), "shape .1, 3328. with 3072 bytes"),
        # The state of an object is set where none belongs: on the stand-in itself.
        (b"\x80\x02cnumpy\ndtype\n}U\x08__call__K\x01sb.", "damaged pickle"),
        (b"\x80\x02cnumpy\ndtype\nN}U\x08__call__K\x01s\x86b.", "damaged pickle"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.", "refused: the pickle asks for numpy.dtype.__class__"),
    ],
)
def test_bad_python_batches(python_batches, tmp_path, data, message):
    folder, _ = python_batches
    (folder / "test_batch").write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        read_dataset("cifar10", tmp_path, {"split": "test"})
    assert str(folder / "test_batch") in str(caught.value)


def test_half_of_the_batches(python_batches, tmp_path):
    with pytest.raises(UserError, match="data_batch_1: no such file"):
        read_dataset("cifar10", tmp_path, {"split": "train"})


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def write_emnist(folder, part, labels):
    images = np.arange(len(labels) * 6, dtype=np.uint8).reshape(-1, 2, 3)
    write_idx(folder / f"emnist-{part}-train-images-idx3-ubyte", images)
    write_idx(folder / f"emnist-{part}-train-labels-idx1-ubyte", np.array(labels, np.uint8))
    return images


@pytest.mark.parametrize("place", ["emnist", "emnist/gzip", "emnist/raw", "EMNIST/raw", "emnist/EMNIST/raw/gzip"])
@pytest.mark.parametrize(
    ("part", "stored", "labels", "names"),
    [
        ("digits", [0, 9], [0, 9], ["0", "9"]),
        ("letters", [1, 26], [0, 25], ["A", "Z"]),
        ("balanced", [10, 46], [10, 46], ["A", "t"]),
        ("byclass", [36, 61], [36, 61], ["a", "z"]),
        ("bymerge", [10, 46], [10, 46], ["A", "t"]),
        ("mnist", [0, 9], [0, 9], ["0", "9"]),
    ],
)
def test_emnist_is_turned_upright(tmp_path, place, part, stored, labels, names):
    images = write_emnist(tmp_path / place, part, stored)
    raw = read_dataset("emnist", tmp_path, {"part": part})
    assert raw.images.shape == (2, 3, 2) and (raw.images[1] == images[1].T).all()
    assert raw.labels.tolist() == labels and [raw.class_names[label] for label in labels] == names


def test_emnist_labels_outside_the_part(tmp_path):
    write_emnist(tmp_path / "emnist", "letters", [0, 26])
    with pytest.raises(UserError, match="labels-idx1-ubyte: labels run from 0 to 26, expected 1 to 26"):
        read_dataset("emnist", tmp_path, {"part": "letters"})
    with pytest.raises(UserError, match="did you mean 'byclass'"):
        read_dataset("emnist", tmp_path, {"part": "by_class"})


def write_image(path, value=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((4, 5), value, np.uint8))


def test_cmaterdb_as_arrays_or_folders(tmp_path):
    folder = tmp_path / "cmaterdb"
    folder.mkdir()
    np.savez(folder / "training-images.npz", images=np.zeros((2, 4, 4, 3), np.uint8), labels=np.array([3, 9]))
    raw = read_dataset("cmaterdb", tmp_path, {})
    assert raw.labels.tolist() == [3, 9] and len(raw.class_names) == 10
    np.savez(folder / "testing-images.npz", images=np.zeros((1, 4, 4, 3), np.uint8), labels=np.array([10]))
    with pytest.raises(UserError, match="testing-images.npz: label 10, expected 0 to 9"):
        read_dataset("cmaterdb", tmp_path, {"split": "test"})
    for digit in range(10):
        write_image(folder / str(digit) / "a.bmp")
    raw = read_dataset("cmaterdb", tmp_path, {"split": "all"})
    assert raw.labels.tolist() == list(range(10)) and raw.images[3].shape == (4, 5)


def test_scenes_need_every_class_and_no_other(tmp_path):
    names = ["Opencountry", "coast", "forest", "highway", "inside_city", "mountain", "street", "tallbuilding"]
    for name in names[:7]:
        write_image(tmp_path / "scenes" / "MIT_split" / "train" / name / "a.png")
    with pytest.raises(UserError, match="tallbuilding: the folder is missing"):
        read_dataset("scenes", tmp_path, {})
    for name in (names[7], "beach"):
        write_image(tmp_path / "scenes" / "MIT_split" / "train" / name / "a.png")
    with pytest.raises(UserError, match="beach: the folder is none of the classes"):
        read_dataset("scenes", tmp_path, {})


def test_chars74k_in_the_publishers_folders(tmp_path):
    for number in range(1, 63):
        for image in (1, 2):
            name = f"img{number:03d}-{image:03d}.png"
            write_image(tmp_path / "chars74k/English/Hnd/Img" / f"Sample{number:03d}" / name, number)
    first = tmp_path / "chars74k/English/Hnd/Img/Sample001"
    (first / "._img001-001.png").write_bytes(b"\0\x05\x16\x07")  # macOS leaves it behind
    (first / "img001-003.heic").touch()
    raw = read_dataset("chars74k", tmp_path, {"skip": 1})
    assert [each.path.name for each in raw.unread] == ["img001-003.heic"]
    assert len(raw) == 62 and raw.class_names[10] == "A" and raw.images[61][0, 0] == 62
    for path in (tmp_path / "chars74k/English/Hnd/Img/Sample007").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="Sample007: no images of the class '6'"):
        read_dataset("chars74k", tmp_path, {})


@pytest.fixture
def own_images(tmp_path):
    for name in ("a.png", "b.png", "sub/c.png"):
        write_image(tmp_path / "own" / name)
    return tmp_path / "own"


def own(folder, text, **options):
    (folder / "labels.csv").write_text(text)
    return read_dataset("folder", None, {"path": str(folder), "table": "labels.csv", **options})


def test_a_folder_with_a_table(own_images):
    raw = own(own_images, "filename,label\na.png,dog\nsub/c.png,cat\nb.png,dog\n")
    assert raw.class_names == ("cat", "dog") and raw.labels.tolist() == [1, 0, 1] and raw.images[1].shape == (4, 5)
    raw = own(own_images, "image,kind\na.png,x\n", file_column="image", label_column="kind", classes=["y", "x"])
    assert raw.class_names == ("y", "x") and raw.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,label\na.png,cat\nd.png,cat\n", "d.png: no such file .1 of the 2 images in labels.csv are missing"),
        ("filename,label\na.png,cat\nb.png,dog\na.png,dog\n", "labels.csv: names a.png more than once"),
        ("filename,label\na.png,cat\nb.png,cow\n", "labels.csv, line 3: label 'cow', expected one of cat, dog"),
        ("filename,kind\na.png,cat\n", "labels.csv: no column 'label'; it has filename, kind"),
        ("filename,label\n", "labels.csv: the table names no images"),
    ],
)
def test_bad_tables_of_the_users_own(own_images, text, message):
    with pytest.raises(UserError, match=message):
        own(own_images, text, classes=["cat", "dog"])


def test_half_of_mnist(tmp_path):
    folder = tmp_path / "mnist"
    write_idx(folder / "train-images-idx3-ubyte", np.zeros((4, 2, 2), np.uint8))
    with pytest.raises(UserError, match="train-labels-idx1-ubyte.gz: no such file"):
        read_dataset("mnist", tmp_path, {})
    write_idx(folder / "train-labels-idx1-ubyte", np.zeros(2, np.uint8))
    with pytest.raises(UserError, match="4 images but 2 labels"):
        read_dataset("mnist", tmp_path, {})
