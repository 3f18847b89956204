"""Networks of integers: `engine.quantize(net, images)` makes one, `python -m engine.quantize` does so with files.

quantized = engine.quantize(net, images)
quantized.save("int8.safetensors")
quantized = engine.quantize.load("int8.safetensors")
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.quantize.build import quantize
    from engine.quantize.network import QuantizedNetwork
    from engine.quantize.reading import load

__all__ = ["QuantizedNetwork", "load", "quantize"]

_HOMES = {"QuantizedNetwork": "network", "load": "reading", "quantize": "build"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


class _Callable(ModuleType):
    """A package that is also the function of its name: whoever imports a part of it puts it where `engine` has that."""

    def __call__(self, *arguments: Any, **settings: Any) -> QuantizedNetwork:
        made: QuantizedNetwork = __getattr__("quantize")(*arguments, **settings)
        return made


sys.modules[__name__].__class__ = _Callable
