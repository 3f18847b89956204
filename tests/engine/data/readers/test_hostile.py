"""Files of data sets that lie about their contents: one error for each, before memory is taken for what they claim."""

import gzip
import io
import pickle
import struct
import zipfile
from itertools import chain

import numpy as np
import pytest

from engine.data.dataset import Dataset
from engine.data.labels.checks import MOST_CLASSES
from engine.data.readers import read_dataset
from engine.data.readers.safe_pickle import MOST_TUPLES, load_plain
from engine.errors import UserError
from tests.engine.costs import check_costs

HUGE = 10**12


def npy(header, data=b"", version=1):
    """An array file whose header is this text."""
    text = header.encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes((version, 0)) + length + text + data


def array(shape, dtype="|u1", fortran="False", data=b""):
    return npy(f"{{'descr': {dtype!r}, 'fortran_order': {fortran}, 'shape': {shape}}}", data)


def whole(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


LABELS = whole(np.array([0, 1, 1, 0], np.uint8))
IMAGES = whole(np.zeros((4, 2, 2), np.uint8))


def npz(images=IMAGES, labels=LABELS, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.npy", images)
        archive.writestr("y.npy", labels)
    return buffer.getvalue()


def altered(content, offset, kind, value):
    """The archive with another value in the directory's entry of its first member."""
    place = content.index(b"PK\1\2") + offset
    return content[:place] + struct.pack(kind, value) + content[place + struct.calcsize(kind) :]


ARCHIVES = {
    "huge": (npz(array(f"({HUGE}, 2, 2)")), "has 0 bytes for an array"),
    "endless": (npz(array("(" + "9" * 5000 + ", 2, 2)")), ""),
    "negative": (npz(array("(-1, 2, -4)", data=bytes(8))), "bytes for an array"),
    "objects": (npz(whole(np.zeros(4)), array("(4,)", "|O", data=bytes(32))), "'y.npy' holds objects of Python"),
    "text": (npz(labels=whole(np.array(["a"] * 4))), "must be whole numbers from 0, one per image"),
    "structure": (npz(labels=whole(np.zeros(4, "i4,i4"))), "must be whole numbers from 0, one per image"),
    "order": (npz(array("(4, 2, 2)", fortran="'C'", data=bytes(16))), "not a NumPy archive of plain arrays"),
    "cut": (npz(IMAGES[:40]), "not a NumPy archive of plain arrays"),
    "short": (npz(IMAGES[:-1]), "has 15 bytes for an array uint8 of shape (4, 2, 2)"),
    "brackets": (npz(npy("(" * 5000)), "not a NumPy archive of plain arrays"),
    "nothing": (npz(b""), "not a NumPy archive of plain arrays"),
    "third": (npz(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4, 2, 2)}", bytes(16), 3)), "format (3, 0)"),
    "empty": (npz(whole(np.zeros((0, 2, 2), np.uint8)), whole(np.zeros(0, int))), "must be uint8 (N, H, W)"),
    "bzip2": (npz(method=zipfile.ZIP_BZIP2), "in a way that NumPy does not write (method 12)"),
    "unknown": (altered(npz(), 10, "<H", 99), "in a way that NumPy does not write (method 99)"),
    "encrypted": (altered(npz(), 8, "<H", 1), "'x.npy' is encrypted"),
    "claims": (altered(npz(), 24, "<I", 2**32 - 2), "says it has 4294967294 bytes"),
    "classes": (npz(labels=whole(np.array([0, 1, 2, 30_000_000]))), "but run from 0 to 30000000"),
    "unsigned": (
        npz(labels=whole(np.array([0, 1, 2, 2**64 - 1], np.uint64))),
        "to 18446744073709551615",
    ),
    "below": (npz(labels=whole(np.array([0, 1, 2, -1]))), "but run from -1 to 2"),
    "fewer": (npz(labels=whole(np.zeros(3, int))), "one per image: (4,), got int64 (3,)"),
}


def test_archives_that_lie_are_refused(tmp_path):
    files = {}
    for name, (data, said) in ARCHIVES.items():
        (tmp_path / f"{name}.npz").write_bytes(data)
        files[tmp_path / f"{name}.npz"] = said
    sheets, points = np.zeros((90, 1000, 1000), np.uint8), np.zeros((25_000_000, 1, 1), np.uint8)
    (tmp_path / "white.npz").write_bytes(npz(whole(sheets), whole(np.zeros(90, np.uint8))))
    files[tmp_path / "white.npz"] = None
    (tmp_path / "points.npz").write_bytes(npz(whole(points), whole(points[:, 0, 0])))
    files[tmp_path / "points.npz"] = "is more than an archive of its size may hold"
    assert all(path.stat().st_size < 100_000 for path in files)
    check_costs(
        "from engine.data.readers import read_dataset\ndef read(path): read_dataset('npz', None, {'path': str(path)})",
        files,
    )


def test_labels_in_any_order_of_bytes_and_images_in_fortran_order_are_read(tmp_path):
    images = np.arange(16, dtype=np.uint8).reshape(4, 2, 2)
    np.savez_compressed(tmp_path / "a.npz", x=np.asfortranarray(images), y=np.array([0, 1, 2, 1], ">i2"))
    raw = read_dataset("npz", None, {"path": str(tmp_path / "a.npz")})
    assert np.array_equal(raw.images, images) and raw.labels.tolist() == [0, 1, 2, 1]
    assert raw.class_names == ("0", "1", "2")


def test_a_data_set_has_no_more_classes_than_any_has():
    images = np.zeros((2, 1, 4, 4), np.uint8)
    assert len(Dataset("mine", images, np.array([0, MOST_CLASSES - 1]))) == 2
    with pytest.raises(UserError, match="mine: labels run to 100000, expected numbers of classes below 100000"):
        Dataset("mine", images, np.array([0, MOST_CLASSES]))


def idx(*extents, data=b""):
    return bytes((0, 0, 8, len(extents))) + struct.pack(f">{len(extents)}i", *extents) + data


def squeezed(extents, count):
    return gzip.compress(idx(*extents, data=bytes(count)), 9)


LARGEST = 2**31 - 1
INDEXED = {
    "negative": (idx(-1, 2, 2), "extents (-1, 2, 2), expected 1 or more of each"),
    "twice-negative": (idx(-1, -4, 2, data=bytes(8)), "expected 1 or more of each"),
    "none": (idx(0, 28, 28), "expected 1 or more of each"),
    "huge": (idx(LARGEST, LARGEST, LARGEST), "asks for more than such a file may hold"),
    "huge-gz": (squeezed((LARGEST, LARGEST, LARGEST), 0), "asks for more than such a file may hold"),
    "more-gz": (squeezed((100, 1000, 1000), 1000), "1016 bytes, but its header (100, 1000, 1000) asks for 100000016"),
    "fewer-gz": (squeezed((1, 1, 1), 90_000_000), "more bytes, but its header (1, 1, 1) asks for 17"),
    "cut": (idx(1, 2, 2)[:-3], "not an idx file"),
    "labels": (idx(100_000_000), "not an idx file of unsigned bytes with 3 dimensions"),
}


def test_idx_files_that_lie_are_refused(tmp_path):
    files = {}
    for name, (data, said) in INDEXED.items():
        (tmp_path / name).write_bytes(data)
        files[tmp_path / name] = said
    (tmp_path / "white").write_bytes(squeezed((90, 1000, 1000), 90_000_000))
    files[tmp_path / "white"] = None
    check_costs("from engine.data.readers.idx import read_idx\ndef read(path): read_idx(path, 3)", files)


def test_labels_of_idx_files_that_lie_are_refused(tmp_path):
    (tmp_path / "many").write_bytes(squeezed((90_000_000,), 90_000_000))
    (tmp_path / "huge").write_bytes(idx(LARGEST))
    said = "asks for more than such a file may hold"
    check_costs(
        "from engine.data.readers.idx import read_idx\ndef read(path): read_idx(path, 1)",
        {tmp_path / "many": said, tmp_path / "huge": said},
    )


def nested(count):
    """A pickle of a tuple in a tuple in a tuple."""
    return b"\x80\x02)" + b"\x85" * count + b"."


PICKLES = {
    # Python's reader makes room for twice as many values as the number of the one that it is to remember.
    "remembers": (b"\x80\x02]r" + struct.pack("<I", 2000) + b".", "damaged pickle (byte 3 asks for 2000)"),
    "remembers-as-text": (b"]p2000\n.", "asks for 2000"),
    "frame": (b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.", "asks for 1099511627776"),
    "length": (b"\x80\x02T" + struct.pack("<i", 2**30) + b"ab.", "damaged pickle"),
    "eight-byte-length": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"ab.", "damaged pickle"),
    "digits": (b"I" + b"9" * 50_000 + b"\n.", "damaged pickle"),
    "tuples": (nested(MOST_TUPLES + 1), "holds more than 1000 tuples"),
    "empty": (b"", "damaged pickle"),
    "cut": (pickle.dumps({"a": 1}, 2)[:-1], "damaged pickle"),
}


def test_pickles_that_ask_for_more_than_they_hold_are_refused(tmp_path):
    files = {}
    for name, (data, said) in PICKLES.items():
        (tmp_path / name).write_bytes(data)
        files[tmp_path / name] = said
    check_costs("from engine.data.readers.safe_pickle import load_plain as read", files)


def test_pickles_with_few_tuples_are_read(tmp_path):
    (tmp_path / "a").write_bytes(nested(3))
    assert load_plain(tmp_path / "a") == ((((),),),)
    names = {"names": [f"image {number}" for number in range(5000)]}
    (tmp_path / "b").write_bytes(pickle.dumps(names, 2))
    assert len(load_plain(tmp_path / "b")["names"]) == 5000


def test_class_names_of_cifar10_that_are_no_text(tmp_path):
    folder = tmp_path / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "test_batch.bin").write_bytes(bytes(3073))
    (folder / "batches.meta.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match="batches.meta.txt: not a list of class names in UTF-8"):
        read_dataset("cifar10", tmp_path, {"split": "test"})


def test_no_damage_to_an_archive_ends_in_a_traceback(tmp_path):
    path, content = tmp_path / "a.npz", npz()
    for place in chain(range(0, len(content), 3), range(content.index(b"PK\1\2"), len(content))):
        for value in (0, 1, 127, 255):
            path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            try:
                read_dataset("npz", None, {"path": str(path)})
            except UserError as error:
                assert str(path) in str(error)
