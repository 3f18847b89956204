"""The readers of data sets: idx files (plain and gzipped), .npz archives, CIFAR's batches, tables of image files.

An input is the name of a format in a line of its own, and the content of one file; the other files of the set are good.
What is accepted is as many images as labels, all of them of known classes.
"""

from __future__ import annotations

import gzip
import io
import math
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from engine.data.dataset import RawDataset
from engine.data.readers import READERS
from fuzz.promises import promised, scratch
from fuzz.values import Plain, headed, sprinkled

ROOT = scratch()
# What a mutation may put into a pickle: operations that import, call, remember, nest and ask for memory.
OPERATIONS = (
    b"cnumpy\ndtype\n",
    b"cos\nsystem\n",
    b"R",
    b"b",
    b"}",
    b"]",
    b")",
    b"(",
    b"t",
    b"\x85",
    b"0",
    b"2",
    b"q\x05",
)
OPERATIONS += (
    b"r\xff\xff\xff\x7f",
    b"h\x01",
    b"j\x00\x00\x00\x10",
    b"X\xff\xff\xff\x7f",
    b"\x8e" + b"\xff" * 8,
    b"s",
    b"u",
)
OPERATIONS += (b"I99999999999999999999\n", b"\x8a\xff" + b"\xff" * 255, b"p9\n", b"\x94", b"U\x03abc", b"e", b"a", b".")
HEADERS = (
    b"(3, 4, 4)",
    b"(-1, 4)",
    b"(4611686018427387904, 4)",
    b"(0,)",
    b"()",
    b"(3, 4, 4, 1)",
    b"((((((3,),),),),),)",
)
HEADERS += (b"'|O'", b"'<f8'", b"'|V9'", b"'|u1'", b"[('a', '|u1')]", b"True", b"'<M8[ns]'", b"(" * 300, b"1_0", b"1e9")


def _idx(*shape: int, gzipped: bool = False) -> bytes:
    content = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}i", *shape)
    content += bytes(range(math.prod(shape)))
    return gzip.compress(content, mtime=0) if gzipped else content


def _npz(compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, array in (("x", np.arange(48, dtype=np.uint8).reshape(3, 4, 4)), ("y", np.arange(3))):
            written = io.BytesIO()
            np.lib.format.write_array(written, array, (1, 0))
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), written.getvalue(), compression)
    return file.getvalue()


# A batch as Python 2 and NumPy wrote it: an array is made empty, and gets its state.
_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
_BYTES = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
_STATE = b"(K\x01K\x01M\x00\x0c\x86" + _BYTES + b"\x89T" + struct.pack("<i", 3072) + bytes(3072) + b"tb"
BATCH = b"\x80\x02}(U\x04data" + _ARRAY + _STATE + b"U\x06labels](K\x07eu."
META = b"\x80\x02}U\x0blabel_names](" + b"".join(b"U\x01" + bytes([97 + label]) for label in range(10)) + b"es."
RECORD = bytes([3]) + bytes(3072)
NUMTADB = b"filename,digit,database name original\na.png,3,one\nb.png,4,two\n"
CHARS = b'image,label\nImg/a.png,3\n"Img/b.png",Z\n'

# For each format where the file lies, and how its set is read.
_Read = Callable[[Path], RawDataset]
FORMATS: dict[str, tuple[str, _Read]] = {
    "idx images": ("idx/mnist/train-images-idx3-ubyte", READERS["mnist"]),
    "idx labels": ("idx/mnist/train-labels-idx1-ubyte", READERS["mnist"]),
    "idx letters": ("idx/emnist/emnist-letters-train-labels-idx1-ubyte", partial(READERS["emnist"], part="letters")),
    "npz": ("a.npz", lambda root: READERS["npz"](root, path=str(root / "a.npz"))),
    "cifar batch": ("python/cifar10/data_batch_1", READERS["cifar10"]),
    "cifar names": ("python/cifar10/batches.meta", READERS["cifar10"]),
    "cifar binary": ("binary/cifar10/test_batch.bin", partial(READERS["cifar10"], split="test")),
    "cifar words": ("binary/cifar10/batches.meta.txt", partial(READERS["cifar10"], split="test")),
    "numtadb": ("tables/numtadb/training-a.csv", partial(READERS["numtadb"], parts="a")),
    "chars74k": ("tables/chars74k/english.csv", READERS["chars74k"]),
}
KINDS = tuple(FORMATS)
# The good files, of which an input replaces one.
FILES = {
    "idx/mnist/train-images-idx3-ubyte": _idx(3, 4, 4),
    "idx/mnist/train-labels-idx1-ubyte": _idx(3),
    "idx/emnist/emnist-letters-train-images-idx3-ubyte": _idx(3, 4, 4),
    "idx/emnist/emnist-letters-train-labels-idx1-ubyte": _idx(3).replace(b"\0\x01\x02", b"\1\x01\x02"),
    "a.npz": _npz(),
    **{f"python/cifar10/data_batch_{part}": BATCH for part in range(1, 6)},
    "python/cifar10/batches.meta": META,
    "binary/cifar10/test_batch.bin": RECORD,
    "binary/cifar10/batches.meta.txt": b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n",
    "tables/numtadb/training-a.csv": NUMTADB,
    "tables/numtadb/training-a/a.png": b"",
    "tables/numtadb/training-a/b.png": b"",
    "tables/chars74k/english.csv": CHARS,
    "tables/chars74k/Img/a.png": b"",
    "tables/chars74k/Img/b.png": b"",
}


def _write(name: str, content: bytes) -> None:
    (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / name).write_bytes(content)


for _name, _content in FILES.items():
    _write(_name, _content)


def corpus() -> dict[str, bytes]:
    """The good file of each format, and the forms that it may have as well."""
    more = {
        "idx images": _idx(3, 4, 4, gzipped=True),
        "npz": _npz(zipfile.ZIP_DEFLATED),
        "numtadb": NUMTADB.replace(b",", b";"),
        "chars74k": b"\xef\xbb\xbf" + CHARS.replace(b",", b"\t").replace(b"\n", b"\r\n"),
    }
    found = {name: name.encode() + b"\n" + FILES[place] for name, (place, _) in FORMATS.items()}
    return found | {f"{name} too": name.encode() + b"\n" + content for name, content in more.items()}


def run(data: bytes) -> None:
    kind, content = headed(data, KINDS)
    place, read = FORMATS[kind]
    _write(place, content)
    top = place.split("/")[0] if "/" in place else ""
    try:
        with promised(data):
            made = read(ROOT / top)
            assert len(made.images) == len(made.labels) > 0
            assert 0 <= made.labels.min() <= made.labels.max() < len(made.class_names)
            if isinstance(made.images, np.ndarray):
                assert made.images.dtype == np.uint8 and made.images.ndim in (3, 4)
    finally:
        _write(place, FILES[place])


def mutate(data: bytes, most: int, seed: int, plain: Plain) -> bytes:
    rng = random.Random(seed)
    kind, content = headed(data, KINDS)
    if rng.randrange(20) == 0:
        kind = rng.choice(KINDS)
    if kind.startswith("idx") and rng.randrange(3) == 0:
        content = _gzip_changed(content, rng, plain, most)
    elif kind == "npz" and rng.randrange(8):
        content = _zip_changed(content, rng, plain, most)
    elif kind in ("cifar batch", "cifar names") and rng.randrange(2):
        place = rng.randrange(len(content) + 1) if rng.randrange(2) else min(len(content), rng.randrange(200))
        content = content[:place] + rng.choice(OPERATIONS) + content[place + rng.choice((0, 0, 1, 4)) :]
    elif kind in ("numtadb", "chars74k") and rng.randrange(3):
        content = table_changed(content, rng)
    else:
        content = sprinkled(content, rng, plain, most)
    return kind.encode() + b"\n" + content


def _gzip_changed(content: bytes, rng: random.Random, plain: Plain, most: int) -> bytes:
    """What is packed is changed and packed again, or packed for the first time, or the packing is changed."""
    try:
        unpacked = zlib.decompressobj(31).decompress(content, most)
    except zlib.error:
        return gzip.compress(content, mtime=0)
    if rng.randrange(4) == 0:
        return sprinkled(content, rng, plain, most)
    return gzip.compress(sprinkled(unpacked, rng, plain, most), mtime=0) * rng.choice((1, 1, 2))


def _zip_changed(content: bytes, rng: random.Random, plain: Plain, most: int) -> bytes:
    """An archive whose members are changed, whose checksums are right."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(each.filename, archive.open(each).read(most)) for each in archive.infolist()[:8]]
    except Exception:  # whatever zipfile makes of a damaged archive: it is changed as bytes
        return sprinkled(content, rng, plain, most)
    file = io.BytesIO()
    packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", packing) as archive:
        warnings.simplefilter("ignore")  # a name may stand there twice
        chosen = rng.randrange(len(members)) if members else -1
        for number, (name, member) in enumerate(members):
            if number == chosen:
                member = _npy_changed(member, rng) if rng.randrange(2) else sprinkled(member, rng, plain, most)
                name = rng.choice((name, name, name, "x.npy", "y", "z"))
            archive.writestr(zipfile.ZipInfo(name[:100] or "x"), member)
    return file.getvalue()


def _npy_changed(member: bytes, rng: random.Random) -> bytes:
    """An array whose header says something else, with its length right."""
    length = int.from_bytes(member[8:10], "little")
    header, rest = member[10 : 10 + length], member[10 + length :]
    words = header.replace(b"{", b" ").replace(b"}", b" ").split(b": ")
    old = rng.choice(words).split(b", '")[0].strip() or b" "
    header = header.replace(old, rng.choice(HEADERS), 1)
    return member[:8] + (len(header) % 65536).to_bytes(2, "little") + header + rest


FIELDS = (
    b"",
    b'"',
    b'""',
    b" ",
    b"0",
    b"99",
    b"-1",
    b"\xff",
    b"\0",
    b'"a\nb"',
    b"a.png",
    b"../a.png",
    b"/a.png",
    b"./a.png",
)
FIELDS += (
    b"filename",
    b"digit",
    b"image",
    b"label",
    b"file",
    b'"a,b"',
    "é".encode(),
    b"x" * 300,
    b"=1+1",
    b"\x1a",
    b"//",
    b".",
)


def table_changed(content: bytes, rng: random.Random) -> bytes:
    """A table with a field, a row, its delimiter or its line ends changed."""
    delimiter = next((each for each in (b"\t", b";", b",") if each in content), b",")
    rows = [line.split(delimiter) for line in content.split(b"\n")]
    row = rng.choice(rows)
    place = rng.randrange(len(row))
    what = rng.randrange(8)
    if what < 3:
        row[place] = rng.choice(FIELDS)
    elif what == 3:
        row.insert(place, rng.choice(FIELDS))
    elif what == 4:
        rows.insert(rng.randrange(len(rows) + 1), list(rng.choice(rows)))
    elif what == 5:
        del row[place]
    elif what == 6:
        row[place] = rng.choice((b'"' + row[place] + b'"', b" " + row[place], row[place] * 2, row[place][:-1]))
    else:
        delimiter = rng.choice((b",", b";", b"\t", b", "))
    return rng.choice((b"\n", b"\n", b"\n", b"\r\n", b"\r")).join(delimiter.join(each) for each in rows)
