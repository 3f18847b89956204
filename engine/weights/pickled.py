"""The interpreter for the pickle in a file of `torch.save`: plain values, dictionaries and descriptions of tensors."""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.errors import UserError, shortened, shown

MOST_EXTENTS = 8
_MARK = object()


@dataclass(frozen=True)
class Kind:
    """A type of storage: NumPy's code, bytes of a number, and its name."""

    code: str
    size: int
    name: str


STORAGES = {
    "FloatStorage": Kind("f4", 4, "float32"),
    "DoubleStorage": Kind("f8", 8, "float64"),
    "HalfStorage": Kind("f2", 2, "float16"),
    "BFloat16Storage": Kind("u2", 2, "bfloat16"),
    "LongStorage": Kind("i8", 8, "int64"),
    "IntStorage": Kind("i4", 4, "int32"),
    "ShortStorage": Kind("i2", 2, "int16"),
    "CharStorage": Kind("i1", 1, "int8"),
    "ByteStorage": Kind("u1", 1, "uint8"),
    "BoolStorage": Kind("u1", 1, "bool"),
}


@dataclass(frozen=True)
class Storage:
    """A run of `count` numbers in the file data/KEY."""

    kind: str
    key: str
    count: int

    @property
    def dtype(self) -> str:
        return STORAGES[self.kind].name


@dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Name:
    """What a name of the pickle stands for here."""

    text: str
    make: Callable[..., Any] | None = None


def read_pickle(data: bytes) -> Any:
    """The value of a pickle. UserError for a name or an operation that describes no tensors, and for damage."""
    try:
        return _run(data)
    except (ValueError, IndexError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"damaged pickle ({type(error).__name__}: {shortened(str(error))})") from None


def _run(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for operation, argument, place in pickletools.genops(data):
        name = operation.name
        if name in _VALUES:
            stack.append(_VALUES[name]() if argument is None else argument)
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[_whole(argument)])
        elif name == "GLOBAL":
            stack.append(_named(*str(argument).split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_named(module, attribute))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            stack.append(_made(called, arguments))
        elif name == "BUILD":
            stack.pop()  # attributes of a dictionary: versions of modules
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[len(stack) - count :])]
        elif name == "TUPLE":
            stack.append(tuple(_since_mark(stack)))
        elif name in ("SETITEM", "SETITEMS"):
            pairs = _since_mark(stack) if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _fill(stack[-1], pairs)
        elif name in ("APPEND", "APPENDS"):
            items = _since_mark(stack) if name == "APPENDS" else [stack.pop()]
            _checked(list, stack[-1]).extend(items)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise UserError(f"refused: the pickle has the operation {name} (byte {place}), which no state_dict needs")
    raise UserError("damaged pickle (it has no end)")


_VALUES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), int),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE"), str),
}


def _since_mark(stack: list[Any]) -> list[Any]:
    """What was put there since the last mark, which is taken away with it."""
    place = len(stack) - 1
    while stack[place] is not _MARK:
        place -= 1
        if place < 0:
            raise UserError("damaged pickle (a mark is missing)")
    items = stack[place + 1 :]
    del stack[place:]
    return items


def _fill(mapping: Any, pairs: list[Any]) -> None:
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        if type(key) not in (str, int):
            raise UserError(f"refused: the pickle has a key of type {type(key).__name__}, expected names")
        _checked(dict, mapping)[key] = value


def _checked(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise UserError(f"damaged pickle (a {type(value).__name__} in place of a {kind.__name__})")
    return value


def _named(module: Any, name: Any) -> _Name:
    text = f"{module}.{name}"
    if text == "collections.OrderedDict":
        return _Name(text, _dictionary)
    if text == "torch._utils._rebuild_tensor_v2":
        return _Name(text, _tensor)
    if text == "torch._utils._rebuild_parameter":
        return _Name(text, _parameter)
    if module == "torch" and name in STORAGES:
        return _Name(str(name))
    raise UserError(
        f"refused: the pickle asks for {shortened(text)}, which might run code; save the model's state_dict alone"
    )


def _made(called: Any, arguments: Any) -> Any:
    if type(called) is not _Name or called.make is None:
        raise UserError(f"refused: the pickle calls {shown(called)}")
    return called.make(*_checked(tuple, arguments))


def _dictionary() -> dict[Any, Any]:
    return {}


def _storage(given: Any) -> Storage:
    """Of ("storage", type, key, device, count)."""
    word, kind, key, _, count = _checked(tuple, given)
    if word != "storage" or type(kind) is not _Name or kind.text not in STORAGES or type(key) is not str:
        raise UserError(f"damaged pickle (a storage is described by {shown(given)})")
    return Storage(kind.text, key, _whole(count))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
    """A view that lies within its storage, and has no more numbers than that."""
    extents = tuple(map(_whole, _checked(tuple, shape)))
    steps = tuple(map(_whole, _checked(tuple, strides)))
    if type(storage) is not Storage or len(extents) != len(steps) or len(extents) > MOST_EXTENTS:
        raise UserError(f"damaged pickle (a tensor of shape {shown(shape)} and strides {shown(strides)})")
    last = _whole(offset) + sum((extent - 1) * step for extent, step in zip(extents, steps, strict=True))
    count = _product(extents)
    if count and last >= storage.count:
        raise UserError(f"a tensor of shape {extents} does not lie within its storage of {storage.count} numbers")
    if count > storage.count:
        raise UserError(
            f"a tensor of shape {extents} repeats numbers of its storage, which has {storage.count}, as `expand` makes "
            "it; save its `contiguous()`"
        )
    return Tensor(storage, offset, extents, steps)


def _product(extents: tuple[int, ...]) -> int:
    return math.prod(extents)


def _parameter(tensor: Any, *rest: Any) -> Tensor:
    if type(tensor) is not Tensor:
        raise UserError(f"damaged pickle (a parameter of {shown(tensor)})")
    return tensor


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise UserError(f"damaged pickle (a size of {shown(value)})")
    return value
