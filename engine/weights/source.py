"""What a file of another framework holds, as far as weights go: modules with named arrays, which are read on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.layers.topology import Node

Array = NDArray[Any]


@dataclass(frozen=True)
class Stored:
    """An array in a file: what its header says of it, and how to read it."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Array]

    @property
    def is_real(self) -> bool:
        """Whether it holds floating-point numbers: whole ones are counters, or weights whose scale is elsewhere."""
        return self.dtype.startswith(("float", "bfloat"))


@dataclass(frozen=True)
class Module:
    """What owns arrays there.

    name      as the file has it
    arrays    by the last part of their names, in the order of the file
    kind      its class, where the file tells
    settings  the arguments of that class, where the file tells
    """

    name: str
    arrays: Mapping[str, Stored]
    kind: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def shapes(self) -> str:
        return ", ".join(f"{name} {array.shape}" for name, array in self.arrays.items())


@dataclass(frozen=True)
class Placement:
    """One array on its way: our key, theirs, and what is done to it (`change` in words)."""

    key: str
    theirs: str
    stored: Stored
    change: str = "as it is"
    convert: Callable[[Array], Array] = np.asarray


@dataclass(frozen=True)
class Described:
    """A layer of Keras in a model's description: class and arguments."""

    kind: str
    arguments: Mapping[str, Any]


class Fit(Protocol):
    """How the arrays of a module become those of a layer, or why they cannot."""

    def __call__(self, module: Module, node: Node, /) -> list[Placement] | str: ...


@dataclass(frozen=True)
class Source:
    """An open file.

    ordered   whether the modules stand in the order in which the model has them
    epsilon   that a normalisation has in this framework where nobody sets it
    ignored   arrays that no network of ours needs, such as counters
    """

    path: str
    modules: tuple[Module, ...]
    fit: Fit
    ordered: bool
    epsilon: float
    ignored: tuple[str, ...] = ()


def join(*parts: str) -> str:
    """A name of its parts; an empty one is left out."""
    return ".".join(part for part in parts if part)
