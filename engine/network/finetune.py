"""Which layers training leaves alone, or from some epoch on, and which learn at a rate of their own."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from engine.arguments import as_float32, integer, is_real
from engine.errors import UserError
from engine.layers.patterns import checked_patterns, layers_with_parameters, matching, select
from engine.layers.topology import Topology
from engine.program.slots import Slot

Factors = tuple[tuple[str, float], ...]
"""(key of a parameter, factor on the learning rate), for those whose factor is not 1."""


def frozen_layers(topology: Topology, patterns: Sequence[str | int] | None) -> tuple[str, ...]:
    """Names of the layers that the patterns freeze (engine.layers.patterns.select); UserError where none can learn."""
    return frozen_of(layers_with_parameters(topology), patterns) if patterns else ()


def frozen_of(names: Sequence[str], patterns: Sequence[str | int] | None) -> tuple[str, ...]:
    """As `frozen_layers`, of the layers with these names."""
    frozen = select("freeze", checked_patterns("freeze", patterns or ()), names)
    if frozen and len(frozen) == len(names):
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


def idle_patterns(slots: Mapping[str, Slot], frozen: Collection[str], given: Mapping[Any, object] | None) -> list[str]:
    """Those of the patterns (of `rate_factors`, `ends_of_learning`) that name parameters of frozen layers alone."""
    layers = list(dict.fromkeys(slot.layer for slot in slots.values()))
    owner = {**{layer: layer for layer in layers}, **{key: slot.layer for key, slot in slots.items()}}
    matched = {str(each): matching("patterns", str(each), [*layers, *slots]) for each in given or ()}
    return [pattern for pattern, names in matched.items() if all(owner[name] in frozen for name in names)]


def ends_of_learning(
    slots: Mapping[str, Slot],
    ends: Mapping[Any, int] | None,
    frozen: Collection[str] = (),
    rates: Mapping[Any, float] | None = None,
    buffers: Mapping[str, Slot] = MappingProxyType({}),
) -> tuple[tuple[str, int], ...]:
    """(key of a parameter, epochs after which it stays as it is), by pattern as `rate_factors`.

    UserError for what is no whole number of epochs, and where nothing would be left to train: every parameter ends, or
    has a factor of 0 (`rates`), or is one of the `frozen` layers. Running statistics (`buffers`) go on with a factor
    of 0, so that a network may be trained for them alone.
    """
    factors = dict(rate_factors(slots, rates))
    found: dict[str, int] = {}
    if ends is not None:
        if not isinstance(ends, Mapping):
            raise UserError(f"freeze_after: expected names or patterns of layers with numbers of epochs, got {ends!r}")
        layers = list(dict.fromkeys(slot.layer for slot in slots.values()))
        for given, epochs in ends.items():
            pattern = str(given)
            epochs = integer(f"freeze_after.{pattern}", "epochs", epochs, 1)
            matched = matching("freeze_after", pattern, [*layers, *slots])
            found |= {key: epochs for key, slot in slots.items() if key in matched or slot.layer in matched}
    _check_learns(slots, found, frozen, factors, statistics=any(each.layer not in frozen for each in buffers.values()))
    return tuple(found.items())


def _check_learns(
    slots: Mapping[str, Slot],
    ends: Mapping[str, int],
    frozen: Collection[str],
    factors: Mapping[str, float],
    *,
    statistics: bool,
) -> None:
    """UserError where from the first epoch, or from a later one on, nothing would learn."""
    learns = [key for key, slot in slots.items() if slot.layer not in frozen and factors.get(key) != 0]
    if ends and all(key in ends for key in learns):
        every = "every parameter" if len(learns) == len(slots) else "every parameter that learns"
        raise UserError(f"freeze_after: {every} is named, so that nothing would be left to train; give fewer epochs")
    if slots and not learns and not statistics:
        others = "of those that freeze leaves " if frozen else ""
        raise UserError(f"learning_rates: every parameter {others}has a factor of 0, so that there is nothing to train")


def factors_at(
    rates: Mapping[Any, float] | None, ends: tuple[tuple[str, int], ...], epoch: int
) -> Mapping[Any, float] | None:
    """The factors on the learning rate in an epoch, counted from 0: 0 for what has learned long enough."""
    ended = {key: 0.0 for key, epochs in ends if epoch >= epochs}
    if not ended:
        return rates
    return {**{given: factor for given, factor in (rates or {}).items() if str(given) not in ended}, **ended}
