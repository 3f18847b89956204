"""Reads pickles of plain values and byte arrays, as Python 2 and NumPy wrote them, without ever running their code.

A pickle is a program: it may import any function and call it. Here an import gives one of three harmless stand-ins for
the names that a NumPy array needs, or an error; nothing of NumPy's own unpickling is reached either.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError

LARGEST = 1 << 28  # bytes; a batch of CIFAR-10 has 31 million
MOST_TUPLES = 1000  # a batch has six; many within each other, as a key, would overflow the stack
MOST_EXTENTS = 8
_ERRORS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


def load_plain(path: Path) -> Any:
    """The value in the pickle `path`: Python 2's str comes as bytes, arrays of bytes as uint8 arrays.

    UserError for a pickle that asks for anything else, or that is damaged.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise UserError(f"{path}: {size} bytes, more than a batch has ({LARGEST} are read at most)")
    try:
        data = path.read_bytes()
        _check_operations(data)
        return _plain(_PlainUnpickler(io.BytesIO(data), encoding="bytes").load())
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except _ERRORS as error:
        raise UserError(f"{path}: damaged pickle ({type(error).__name__}: {error})") from None


def _check_operations(data: bytes) -> None:
    """UserError for a pickle that makes Python's own reader take memory, or stack, which its bytes do not account for:
    it makes room for as many values as it is told to remember, and for a length before it looks for the content.
    """
    tuples = 0
    for operation, argument, place in pickletools.genops(data):
        tuples += operation.name.startswith("TUPLE")
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT", "FRAME") and not 0 <= (argument or 0) <= len(data):
            raise UserError(f"damaged pickle (byte {place} asks for {argument})")
        if tuples > MOST_TUPLES:
            raise UserError(f"refused: the pickle holds more than {MOST_TUPLES} tuples")


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        package, _, rest = module.partition(".")
        if package == "numpy":
            if not rest and name == "ndarray":
                return _ARRAY_TYPE
            if not rest and name == "dtype":
                return _DTYPE
            if rest in ("core.multiarray", "_core.multiarray") and name == "_reconstruct":
                return _RECONSTRUCT
        raise UserError(f"refused: the pickle asks for {module}.{name}, which might run code")


# The stand-ins have no slots: a pickle cannot change their attributes either.
class _ArrayType:
    __slots__ = ()


class _Reconstruct:
    """In place of NumPy's _reconstruct(ndarray, (0,), b"b"): an empty array, whose state follows."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> _Array:
        return _Array()


class _DType:
    """In place of numpy.dtype("u1", False, True): only bytes are known."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> _ByteType:
        if not arguments or arguments[0] not in ("u1", b"u1"):
            raise UserError(f"refused: the pickle holds an array of {arguments[:1]}, only bytes (u1) are read")
        return _ByteType()


class _ByteType:
    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Byte order and alignment do not matter for bytes."""


class _Array:
    __slots__ = ("values",)

    values: NDArray[np.uint8]

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        plain = isinstance(dtype, _ByteType) and isinstance(data, bytes) and isinstance(shape, tuple)
        fitting = plain and len(shape) <= MOST_EXTENTS
        if not fitting or not all(type(extent) is int and 0 <= extent <= LARGEST for extent in shape):
            raise UserError("refused: the pickle holds an array that is not one of plain bytes")
        if math.prod(shape) != len(data):
            raise UserError(f"damaged pickle (an array of shape {shape} with {len(data)} bytes)")
        self.values = np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


_ARRAY_TYPE, _RECONSTRUCT, _DTYPE = _ArrayType(), _Reconstruct(), _DType()


def _plain(value: Any) -> Any:
    """The value with the stand-ins' arrays taken out, at the top and in a dictionary."""
    if isinstance(value, dict):
        return {key: each.values if isinstance(each, _Array) else each for key, each in value.items()}
    return value.values if isinstance(value, _Array) else value
