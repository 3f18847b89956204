"""Which layers training leaves alone, and which learn at a rate of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from engine.arguments import as_float32, is_real
from engine.errors import UserError
from engine.layers.patterns import checked_patterns, layers_with_parameters, matching, select
from engine.layers.topology import Topology
from engine.program.slots import Slot

Factors = tuple[tuple[str, float], ...]
"""(key of a parameter, factor on the learning rate), for those whose factor is not 1."""


def frozen_layers(topology: Topology, patterns: Sequence[str | int] | None) -> tuple[str, ...]:
    """Names of the layers that the patterns freeze (engine.layers.patterns.select); UserError where none can learn."""
    if not patterns:
        return ()
    names = layers_with_parameters(topology)
    frozen = select("freeze", checked_patterns("freeze", patterns), names)
    if len(frozen) == len(names):
        raise UserError("freeze: every layer with parameters is frozen, so that there is nothing to train")
    return frozen


def rate_factors(slots: Mapping[str, Slot], rates: Mapping[Any, float] | None) -> Factors:
    """Factors on the learning rate by pattern of layers ("head", "conv*") or of parameters ("*.bias"), resolved.

    Where several patterns match a parameter, the last one counts.
    """
    if rates is None:
        return ()
    if not isinstance(rates, Mapping):
        raise UserError(f"learning_rates: expected names or patterns of layers with factors, got {rates!r}")
    layers = list(dict.fromkeys(slot.layer for slot in slots.values()))
    factors: dict[str, float] = {}
    for given, factor in rates.items():
        pattern = str(given)
        if not is_real(factor) or not 0.0 <= as_float32(factor) < math.inf or (factor and not as_float32(factor)):
            raise UserError(
                f"learning_rates.{pattern}: a factor is a finite number above 0, or 0 for what stays as it is, not "
                f"{factor!r}"
            )
        matched = matching("learning_rates", pattern, [*layers, *slots])
        factors |= {key: float(factor) for key, slot in slots.items() if key in matched or slot.layer in matched}
    return tuple((key, factor) for key, factor in factors.items() if factor != 1.0)
