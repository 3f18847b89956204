"""The constants of an ONNX file, also those that lie in a file beside it. An array is made when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError, shown
from engine.program.limits import MOST_ELEMENTS

DTYPES: dict[str, Any] = {
    "FLOAT": np.float32,
    "DOUBLE": np.float64,
    "FLOAT16": np.float16,
    "INT64": np.int64,
    "INT32": np.int32,
}
DTYPES |= {"BOOL": np.bool_, "UINT8": np.uint8, "INT8": np.int8}
DATA = {"FLOAT": "float_data", "DOUBLE": "double_data", "INT64": "int64_data"}  # the others lie in int32_data


class Constants:
    """Arrays by name. UserError, which names the array, for one whose numbers are not those of its shape."""

    def __init__(self, onnx: Any, folder: Path | None):
        self._onnx, self._folder = onnx, folder
        self._tensors: dict[str, Any] = {}
        self._arrays: dict[str, NDArray[Any]] = {}
        self.beside = 0  # bytes that were read from other files

    def __contains__(self, name: object) -> bool:
        return name in self._arrays or name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter([*self._tensors, *self._arrays])

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            self._arrays[name] = self._read(self._tensors[name])
        return self._arrays[name]

    def add_tensor(self, name: str, tensor: Any) -> None:
        """An onnx.TensorProto, which is read when it is asked for."""
        if name in self:
            raise UserError(f"has two constants of the name {shown(name)}")
        self._tensors[name] = tensor

    def add(self, name: str, array: NDArray[Any]) -> None:
        self._arrays[name] = array

    def _read(self, tensor: Any) -> NDArray[Any]:
        where = f"constant {shown(tensor.name)}"
        kinds = self._onnx.TensorProto.DataType
        kind = kinds.Name(tensor.data_type) if tensor.data_type in kinds.values() else ""
        if kind not in DTYPES:
            raise UserError(f"{where} is of type {kind.lower() or 'unknown'}, which the engine does not read")
        shape, dtype = tuple(tensor.dims), np.dtype(DTYPES[kind])
        if any(extent < 0 for extent in shape) or math.prod(shape) > MOST_ELEMENTS:
            raise UserError(f"{where} has shape {shown(shape)}, which no array has")
        if tensor.data_location == self._onnx.TensorProto.EXTERNAL:
            values = np.frombuffer(self._beside(tensor, where), dtype.newbyteorder("<"))
        elif tensor.HasField("raw_data"):
            if len(tensor.raw_data) % dtype.itemsize:
                raise UserError(f"{where} has {len(tensor.raw_data)} bytes, which are no whole {kind.lower()} numbers")
            values = np.frombuffer(tensor.raw_data, dtype.newbyteorder("<"))
        else:
            values = self._numbers(tensor, kind, dtype)
        if values.size != math.prod(shape):
            raise UserError(f"{where} has shape {shown(shape)}, but {values.size} numbers")
        return values.reshape(shape).astype(dtype)

    @staticmethod
    def _numbers(tensor: Any, kind: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Of a field that holds the numbers one by one; halves lie there by their bits."""
        numbers = getattr(tensor, DATA.get(kind, "int32_data"))
        if kind == "FLOAT16":
            return np.array([number & 0xFFFF for number in numbers], np.uint16).view(np.float16)
        return np.array(numbers, np.int64 if dtype.kind in "iub" else dtype).astype(dtype)

    def _beside(self, tensor: Any, where: str) -> bytes:
        """The bytes of a constant that lies in another file: only one in the model's own folder is opened."""
        entries = {each.key: each.value for each in tensor.external_data}
        if not all(isinstance(text, str) for pair in entries.items() for text in pair):
            raise UserError(f"{where} lies in a file whose name is no UTF-8")
        location = entries.get("location", "")
        parts = PurePosixPath(location).parts
        if self._folder is None or not location or "\0" in location:
            raise UserError(f"{where} lies in another file, {shown(location)}, which cannot be read")
        path = self._folder / location
        inside = path.resolve().is_relative_to(self._folder.resolve())
        if PurePosixPath(location).is_absolute() or ".." in parts or "\\" in location or not inside:
            raise UserError(f"{where} lies in {shown(location)}, outside of the model's folder: it is not read")
        if not path.is_file():
            raise UserError(f"{where} lies in {shown(location)}, which is not beside the model")
        size = path.stat().st_size
        try:
            offset = int(entries.get("offset", 0))
            length = int(entries.get("length", size - offset))
        except ValueError:
            raise UserError(f"{where}: its place in {shown(location)} is no number") from None
        if offset < 0 or length < 0 or offset + length > size:
            raise UserError(f"{where}: {shown(location)} has {size} bytes, but {offset} + {length} are stated")
        itemsize = np.dtype(DTYPES[self._onnx.TensorProto.DataType.Name(tensor.data_type)]).itemsize
        if length != math.prod(tensor.dims) * itemsize:
            raise UserError(f"{where} has shape {shown(tuple(tensor.dims))}, but {length} bytes")
        self.beside += length
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)
