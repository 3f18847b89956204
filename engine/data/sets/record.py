"""What is known of a data set: its files, parts, sizes and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.data.dataset import RawDataset
from engine.data.readers import READERS

UNSTATED = "not stated by the publisher"


@dataclass(frozen=True)
class DataFile:
    """A file of a set: its name (without .gz), size in bytes and SHA-256 of its contents; None where not known."""

    name: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Split:
    """A part of a set: the reader's options that give it, its number of images (None: any) and of classes.

    markers   files or folders of the set; the part is absent where none of them exists (empty: it is always expected)
    again     True for images that other parts have too, in another layout
    """

    name: str
    options: Mapping[str, Any]
    images: int | None = None
    classes: int | None = None
    markers: tuple[str, ...] = ()
    again: bool = False


@dataclass(frozen=True)
class Download:
    """A file to download: the same from each of `urls`, in order of preference.

    hash     of the file as downloaded, as pooch takes it (md5:… or sha256:…), None where not known
    size     in bytes, None where not known
    unpack   where an archive's contents go, relative to the set's folder; None: the file is kept as it is
    """

    urls: tuple[str, ...]
    name: str
    hash: str | None = None
    size: int | None = None
    unpack: str | None = None


@dataclass(frozen=True)
class Record:
    """One data set.

    images    what they look like
    folder    where the publisher's archive puts the files; they may also lie directly in the set's folder
    obtain    in words, how to get the set by hand
    in_root   False for a set that does not lie in a folder of its name under the data root
    """

    name: str
    title: str
    classes: tuple[str, ...]
    images: str
    licence: str
    page: str
    obtain: str
    folder: str = ""
    splits: tuple[Split, ...] = ()
    files: tuple[DataFile, ...] = ()
    downloads: tuple[Download, ...] = ()
    in_root: bool = True
    reader: Callable[..., RawDataset] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reader", READERS[self.name])
