"""Networks of integers: `engine.quantize(net, images)` makes one, `python -m engine.quantize` does so with files.

quantized = engine.quantize(net, images)
quantized.save("int8.safetensors")
quantized = engine.quantize.load("int8.safetensors")
"""

from __future__ import annotations

import sys
from types import ModuleType

from engine.quantize.build import quantize
from engine.quantize.load import load
from engine.quantize.network import QuantizedNetwork

__all__ = ["QuantizedNetwork", "load", "quantize"]


class _Callable(ModuleType):
    """A package that is also the function of its name: whoever imports a part of it puts it where `engine` has that."""

    __call__ = staticmethod(quantize)


sys.modules[__name__].__class__ = _Callable
