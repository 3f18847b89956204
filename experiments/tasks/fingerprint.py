"""What a run depends on beside its configuration, as hashes: the files of its data set, and the code that trains it.

The content of files is hashed once. A listing (path and `file_mark` of every file) is what tells whether it has to be
hashed again: 50,000 files are listed in two seconds, and no image is decoded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, MutableMapping
from functools import cache
from pathlib import Path

import cnncore

import engine
from engine.data.location import data_root
from engine.errors import UserError
from engine.files import file_mark
from engine.recipe.config import TrainConfig
from engine.recipe.libraries import deciders
from engine.recipe.samples import folds_to_draw
from experiments.tasks.places import is_ignored, sources

MOST_LINKS = 10_000  # to folders, in the folder of a set
# Parts of the engine that draw, and train nothing.
NO_PART_OF_A_RUN = ("plots",)


class Fingerprints:
    """Hashes of data. `known` maps listings to content hashes; whoever keeps it spares the next one the hashing."""

    def __init__(self, known: MutableMapping[str, str] | None = None):
        self._known: MutableMapping[str, str] = {} if known is None else known
        self._seen: dict[tuple[Path, ...], str] = {}  # one listing per set is enough for all runs of a study

    def data(self, config: TrainConfig) -> str:
        """SHA-256 over names and contents of all files that the configuration's samples and first weights may come
        from, and over its file of folds. UserError where one is missing, other than that file: it is drawn then, and
        the hash is that of the file to come."""
        content, file = self.files(sources(config)), config.split.file
        if file is None:
            return content
        folds = self.files((Path(file),)) if Path(file).exists() else self._folds_to_come(config, content)
        return hashlib.sha256(f"{content} {folds}".encode()).hexdigest()

    def _folds_to_come(self, config: TrainConfig, content: str) -> str:
        """The hash that `files` will have for the file of folds once a run has drawn it."""
        split = dataclasses.replace(config.split, fold=0)
        settings = [dataclasses.asdict(each) for each in (config.dataset, config.select, split)]
        made = [settings, code_hash(), deciders(config)]
        drawn = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
        key = f"folds of {content} {drawn}"
        if key not in self._known:
            text = folds_to_draw(config, data_root(None, config.data_root))
            name = Path(str(split.file)).name
            self._known[key] = hashlib.sha256(_named(name, hashlib.sha256(text.encode()).digest())).hexdigest()
        return self._known[key]

    def files(self, places: tuple[Path, ...]) -> str:
        if places not in self._seen:
            files = {place: _listed(place) for place in places}
            listing = _listing([path for paths in files.values() for path in paths])
            if listing not in self._known:
                self._known[listing] = _content(files)
            self._seen[places] = self._known[listing]
        return self._seen[places]


def files_of(place: Path) -> list[Path]:
    """The files of a folder, sorted, without hidden ones; a file is its own list."""
    return [Path(path) for path in _listed(place)]


def _listed(place: Path) -> list[str]:
    """The files of a folder, sorted folder by folder, without hidden ones; a file is its own list. Hidden folders may
    be classes: only those that tools leave behind are passed over. Links to folders are followed, but for those that
    lead back up: with them a folder has no end. UserError for more than MOST_LINKS, as of links that go round.

    Strings and not paths: a large set's files are listed whenever a study is planned.
    """
    if place.is_file():
        return [str(place)]
    if not place.is_dir():
        raise UserError(f"{place}: no such file or folder, but the study's data should lie there")
    found: list[str] = []
    links = 0
    for folder, folders, names in os.walk(place, followlinks=True):
        folders[:] = [name for name in folders if not is_ignored(name)]
        linked = [name for name in folders if os.path.islink(f"{folder}{os.sep}{name}")]
        if linked:
            here = Path(os.path.realpath(folder))
            up = {name for name in linked if here.is_relative_to(os.path.realpath(f"{folder}{os.sep}{name}"))}
            folders[:] = [name for name in folders if name not in up]
            links += len(linked) - len(up)
        if links > MOST_LINKS:
            raise UserError(f"{place}: more than {MOST_LINKS:,} links to folders lie in it, or links that go round")
        found += [f"{folder}{os.sep}{name}" for name in names if not name.startswith(".")]
    return sorted(found, key=lambda path: path.split(os.sep))


def _listing(files: Iterable[str]) -> str:
    digest, here = hashlib.sha256(), os.getcwd()
    for path in files:
        try:
            mark = file_mark(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        digest.update(os.fsencode(os.path.join(here, path)) + b"\0%d\0" % len(mark) + mark)
    return digest.hexdigest()


def _content(files: dict[Path, list[str]]) -> str:
    """The same for the same files, wherever the folder lies."""
    digest = hashlib.sha256()
    for place, paths in files.items():
        for path in paths:
            inner = path[len(str(place)) + 1 :] or place.name
            digest.update(_named(inner, _file_digest(path)))
    return digest.hexdigest()


def _named(name: str, digest: bytes) -> bytes:
    return name.encode("utf-8", "surrogateescape") + b"\0" + digest


def _file_digest(path: str) -> bytes:
    digest = hashlib.sha256()
    if not os.path.isfile(path):  # a pipe would wait for who writes into it
        return digest.digest()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


@cache
def code_hash() -> str:
    """SHA-256 over the sources that train: engine's and cnncore's Python, and what the compiled core was built from."""
    digest = hashlib.sha256(cnncore.source_hash().encode())
    for package in (engine, cnncore):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            name = path.relative_to(root)
            if name.parts[0] not in NO_PART_OF_A_RUN and name.name != "_build_info.py":
                digest.update(f"{root.name}/{name.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
