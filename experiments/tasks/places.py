"""Where the files lie that a configuration reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from inspect import signature
from pathlib import Path
from typing import Any

from engine.data import digits
from engine.data.listing import is_leftover
from engine.data.location import data_root
from engine.data.readers import READERS, WITH_MASKS, read_csv
from engine.data.sets.registry import own_folder
from engine.errors import UserError
from engine.files import file_mark
from engine.recipe.config import TrainConfig
from experiments.study.needs import PREFIX

PACKAGED = "digits5k"
PAIRED_FOLDERS = ("images", "masks")  # options of a reader of images and masks


def sources(config: TrainConfig) -> tuple[Path, ...]:
    """Folders and files that the configuration reads: those that it names, and the images that a table of its names
    outside the set's folder."""
    found = [*places(config)]
    if config.dataset.name == "folder":
        for part in _parts(config):
            found += _images_outside(part)
    return tuple(dict.fromkeys(found))


def places(config: TrainConfig) -> tuple[Path, ...]:
    """Folders and files that the configuration names."""
    name = config.dataset.name
    folder = own_folder(name, data_root(None, config.data_root))
    if folder is not None:
        found = [folder]
    elif name == PACKAGED:
        found = [digits.FILE]
    else:
        found = [place for part in _parts(config) for place in _own_places(name, part)]
    named: list[str] = []
    listed = config.select.listed
    if listed is not None and Path(listed.file).is_file():  # otherwise it lies in the set's folder
        named.append(listed.file)
    if config.initialize_from is not None:
        named.append(config.initialize_from.checkpoint)
    if config.pseudo_labels is not None:
        named += [*config.pseudo_labels.checkpoints, *config.pseudo_labels.images]
    found += [Path(name) for name in named if not name.startswith(PREFIX)]  # runs of the study have keys of their own
    return tuple(dict.fromkeys(found))


def is_ignored(folder: str) -> bool:
    """Whether no set has files in a folder of this name. Hidden folders may be classes: only those that tools leave
    behind are passed over."""
    return folder.startswith(".") and is_leftover(folder)


def _parts(config: TrainConfig) -> list[Mapping[str, Any]]:
    return [part for part in (config.dataset.train, config.dataset.test) if part is not None and part.get("path")]


def _own_places(reader: str, options: Mapping[str, Any]) -> list[Path]:
    """Where a set of the user's own lies by its reader's options, and what of it lies elsewhere: its table, or folders
    of images and masks."""
    folder = Path(options["path"])
    found = [folder]
    if options.get("table"):
        found.append(_table(options))
    if reader in WITH_MASKS:
        names = [_option(reader, options, key) for key in PAIRED_FOLDERS]
        found += [folder / name for name in names if _is_outside(folder, Path(name, "a file"))]
    return found


def _option(reader: str, options: Mapping[str, Any], key: str) -> str:
    """An option, or what the reader takes where the configuration does not say."""
    return str(options.get(key, signature(READERS[reader]).parameters[key].default))


def _table(options: Mapping[str, Any]) -> Path:
    inside = Path(options["path"], options["table"])
    return inside if inside.is_file() else Path(options["table"])


def _images_outside(options: Mapping[str, Any]) -> tuple[Path, ...]:
    if not options.get("table"):
        return ()
    table = _table(options)
    columns = tuple(_option("folder", options, key) for key in ("file_column", "label_column"))
    try:
        return _named_outside(Path(options["path"]), table, columns, file_mark(str(table)))
    except (UserError, OSError):
        return ()  # the table itself is a source, and the reader will say what is wrong with it


@lru_cache(maxsize=16)  # every run of a study asks for it
def _named_outside(folder: Path, table: Path, columns: tuple[str, ...], mark: bytes) -> tuple[Path, ...]:
    """Of the images in a table, whose `mark` is that of its file, those outside the folder, in their order."""
    return tuple(_outside(folder, (row[columns[0]] for _, row in read_csv(table, columns))))


def _outside(folder: Path, names: Iterator[str]) -> Iterator[Path]:
    return (folder / name for name in dict.fromkeys(names) if _is_outside(folder, Path(name)))


def _is_outside(folder: Path, name: Path) -> bool:
    """Whether a file that is given relative to the folder is none of those that a listing of the folder has."""
    if name.is_absolute() or ".." in name.parts:
        real, top = os.path.realpath(folder / name), os.path.realpath(folder)
        if not Path(real).is_relative_to(top):
            return True
        name = Path(os.path.relpath(real, top))
    return name.name.startswith(".") or any(map(is_ignored, name.parts[:-1]))
