"""Reads what `torch.save` wrote: a zip with a pickle that describes tensors, and their numbers, each in a file.

A pickle is a program. This is an interpreter of our own for the few operations of it that describe tensors, in which a
name can stand for nothing but a dictionary, a type of storage or a tensor: nothing is imported and nothing is called.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engine.errors import UserError, listed, shown
from engine.weights.pickled import STORAGES, Tensor, read_pickle
from engine.weights.source import Array, Stored

Order = Literal["<", ">"]
MAGIC = b"PK\x03\x04"
MOST_PICKLE = 1 << 21  # bytes; the state of 300 tensors takes 45,000


@contextmanager
def opened_zip(path: Path) -> Iterator[dict[str, Stored]]:
    """The tensors of the state_dict in a file, by name, in its order. UserError for a file that holds anything else."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise UserError(
                f"{path}: not a zip archive, as torch.save writes them since PyTorch 1.6; save the state_dict anew"
            )
    try:
        with zipfile.ZipFile(path) as archive:
            folder = _checked_folder(path, archive)
            order = _byte_order(archive, folder)
            tensors = _state(path, read_pickle(archive.read(f"{folder}data.pkl")))
            yield {
                name: Stored(
                    tensor.shape, tensor.storage.dtype, partial(_read, path, archive, folder, order, name, tensor)
                )
                for name, tensor in tensors.items()
            }
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise UserError(f"{path}: not a whole file of torch.save ({error}); truncated or damaged") from None
    except UserError as error:
        raise (error if str(error).startswith(str(path)) else UserError(f"{path}: {error}")) from None


def _checked_folder(path: Path, archive: zipfile.ZipFile) -> str:
    """The folder in which everything lies. UserError for an archive that could unpack to more than it is."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise UserError("a name stands twice in the archive")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise UserError(f"{shown(entry.filename)} is compressed or encrypted, which torch.save does not do")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise UserError("the archive claims to hold more bytes than it has")
    pickles = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise UserError(f"expected one data.pkl, as torch.save writes it, but the archive has {len(pickles)}")
    if pickles[0].file_size > MOST_PICKLE:
        raise UserError(f"data.pkl has {pickles[0].file_size} bytes, more than a state_dict has ({MOST_PICKLE})")
    return pickles[0].filename.removesuffix("data.pkl")


def _byte_order(archive: zipfile.ZipFile, folder: str) -> Order:
    """NumPy's sign; files from before PyTorch 2.1 do not tell, and are little-endian."""
    name = f"{folder}byteorder"
    if name not in archive.namelist():
        return "<"
    word = archive.read(name)[:16]
    if word not in (b"little", b"big"):
        raise UserError(f"byteorder is {shown(word)}, expected little or big")
    return "<" if word == b"little" else ">"


def _state(path: Path, value: Any) -> dict[str, Tensor]:
    """The tensors of a state_dict, or of the only one among the entries of what a training saved."""
    if not isinstance(value, dict):
        raise UserError(f"expected a state_dict, names with tensors, not {type(value).__name__}")
    if not _has_tensors(value):
        inner = [name for name, each in value.items() if isinstance(each, dict) and _has_tensors(each)]
        if len(inner) != 1:
            found = f"several: {listed(list(map(str, inner)))}" if inner else f"keys {listed(list(map(str, value)))}"
            raise UserError(f"expected a state_dict, names with tensors, but found {found}; save one of them alone")
        value = value[inner[0]]
    return {str(name): each for name, each in value.items() if isinstance(each, Tensor)}


def _has_tensors(value: Mapping[Any, Any]) -> bool:
    return any(isinstance(each, Tensor) for each in value.values())


def _read(path: Path, archive: zipfile.ZipFile, folder: str, order: Order, name: str, tensor: Tensor) -> Array:
    """The numbers of a tensor, float16 and bfloat16 as float32."""
    storage = tensor.storage
    code, size = STORAGES[storage.kind].code, STORAGES[storage.kind].size
    try:
        content = archive.read(f"{folder}data/{storage.key}")
    except KeyError:
        raise UserError(f"{path}: the numbers of {shown(name)} are missing (data/{storage.key})") from None
    except zipfile.BadZipFile as error:
        raise UserError(f"{path}: the numbers of {shown(name)} are damaged ({error})") from None
    if len(content) != storage.count * size:
        raise UserError(
            f"{path}: the numbers of {shown(name)} take {len(content)} bytes, expected {storage.count * size}"
        )
    flat = np.frombuffer(content, np.dtype(code).newbyteorder(order))
    if math.prod(tensor.shape) == 0:
        return np.zeros(tensor.shape, np.float32)
    strides = tuple(size * stride for stride in tensor.strides)
    values = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
    if storage.dtype == "bfloat16":  # the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32).reshape(tensor.shape)
    return values.astype(np.float32 if storage.dtype == "float16" else values.dtype.newbyteorder("="))
