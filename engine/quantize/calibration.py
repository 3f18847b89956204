"""How large the values of a network become on the samples that it is calibrated with, and what encodings follow: one
scale and zero point for every group of values that must share them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.inspection.activations import Probe
from engine.layers import Flatten, MaxPool2D
from engine.layers.topology import INPUT, Topology
from engine.network.inputs import nonfinite_error
from engine.network.network import Network
from engine.quantize.arithmetic import HIGHEST, LOWEST, Encoding
from engine.quantize.body import PASSING

BINS = 4096
CHUNK = 16  # samples whose values are all held at a time
FINER = 5  # scales that "error" tries below the one that holds all: each is half of the one before
FREE_STEPS = 40  # and with free scales, each a twentieth of an octave below the one before
SMALLEST_SHARE = 2.0**-12  # of the largest range: values that hardly ever are anything get no finer scale than that


@dataclass
class Histogram:
    """How often numbers between `low` and `high` came, in BINS bins of one width; both are what was seen. Zeros are not
    counted: they have a code of their own whatever the scale, and behind a ReLU they would outweigh all else."""

    low: float
    high: float
    counts: NDArray[np.int64]

    @property
    def centres(self) -> NDArray[np.float64]:
        """The number that each bin stands for: the middle; where all were equal, that."""
        edges = np.linspace(self.low, self.high, BINS + 1)
        return (edges[1:] + edges[:-1]) / 2

    def add(self, values: NDArray[Any]) -> None:
        """Count numbers, none outside of low … high."""
        width = (self.high - self.low) / BINS
        flat = values[values != 0].astype(np.float64)
        places = ((flat - self.low) / width).astype(np.int64) if width > 0 else np.zeros(flat.size, np.int64)
        self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)


def observe(
    net: Network, samples: NDArray[np.float32], wanted: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], Histogram]:
    """A histogram for each wanted value: a layer's output, or the sum of several layers', or the input.

    samples: float32 (N, *input_shape), checked. The network runs twice: the first time tells the limits. UserError for
    samples, or outputs of a layer, that are not finite.
    """
    bad = ~np.isfinite(samples).reshape(len(samples), -1).all(axis=1)
    if bad.any():
        raise nonfinite_error(samples, samples[:0], 0)
    names = list(dict.fromkeys(name for key in wanted for name in key if name != INPUT))
    probe = Probe(net, names) if names else None
    found: dict[tuple[str, ...], Histogram] = {}
    for key, values in _values(probe, samples, wanted):
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise UserError(
                f"layer {key[-1]!r} gives NaN or infinity for the calibration samples: nothing can be quantised"
            )
        known = found.setdefault(key, Histogram(low, high, np.zeros(BINS, np.int64)))
        known.low, known.high = min(known.low, low), max(known.high, high)
    for key, values in _values(probe, samples, wanted):
        found[key].add(values)
    return found


def _values(
    probe: Probe | None, samples: NDArray[np.float32], wanted: Sequence[tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], NDArray[np.float32]]]:
    """Every wanted value, of some samples at a time."""
    for start in range(0, len(samples), CHUNK):
        part = samples[start : start + CHUNK]
        given = {} if probe is None else probe(part, "direct")
        for key in dict.fromkeys(wanted):
            yield key, part if key == (INPUT,) else np.sum([given[name] for name in key], axis=0)


# ---- encodings ----


def groups_of(topology: Topology) -> list[list[str]]:
    """The values, INPUT among them, in groups that share one encoding: what a layer that passes codes on reads and
    gives. In the order of the layers."""
    parent = {name: name for name in (INPUT, *(node.name for node in topology.nodes))}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in topology.nodes:
        if isinstance(node.layer, PASSING):
            for name in node.inputs:
                parent[root(node.name)] = root(name)
    groups: dict[str, list[str]] = {}
    for name in parent:
        groups.setdefault(root(name), []).append(name)
    return list(groups.values())


def counted(topology: Topology, group: Sequence[str]) -> list[str]:
    """The values of a group whose numbers count for its range: not those that only a max-pool or a Flatten reads, as
    what these give is in the group too, and clamping is the same before a maximum and behind it."""
    found = []
    for name in group:
        readers = topology.consumers(name) if name != topology.output else []
        if not readers or not all(isinstance(node.layer, (MaxPool2D, Flatten)) for node in readers):
            found.append(name)
    return found


def encodings(
    groups: Iterable[Sequence[str]], histograms: Mapping[str, Sequence[Histogram]], scales: str, method: str | float
) -> dict[str, Encoding]:
    """An encoding for every value. `histograms` has, by the first name of a group, those that count for it; `method` is
    "minmax", "error", or the percentile as a number."""
    groups = list(groups)
    spans = {group[0]: _span(histograms[group[0]], method) for group in groups}
    least = SMALLEST_SHARE * max(high - low for low, high in spans.values()) or 1.0
    found: dict[str, Encoding] = {}
    for group in groups:
        low, high = spans[group[0]]
        if high - low < least:
            low, high = (low, low + least) if low == 0 or high > 0 else (high - least, high)
        candidates = _candidates(low, high, scales, FINER if method == "error" else 0)
        best = candidates[0]
        if len(candidates) > 1:
            best = min(candidates, key=lambda each: sum(_squared_error(each, known) for known in histograms[group[0]]))
        found.update(dict.fromkeys(group, best))
    return found


def _span(histograms: Sequence[Histogram], method: str | float) -> tuple[float, float]:
    """The smallest and the largest number that are to have a code; 0 always has one."""
    if isinstance(method, str):
        low, high = min(each.low for each in histograms), max(each.high for each in histograms)
    else:
        outside = (100.0 - method) / 100.0
        low = min(_quantile(each, outside) for each in histograms)
        high = max(_quantile(each, 1.0 - outside) for each in histograms)
    return min(low, 0.0), max(high, 0.0)


def _quantile(histogram: Histogram, share: float) -> float:
    total = np.cumsum(histogram.counts)
    if share <= 0.0 or share >= 1.0:
        return histogram.low if share <= 0.0 else histogram.high
    place = int(np.searchsorted(total, share * total[-1]))
    return float(np.linspace(histogram.low, histogram.high, len(total) + 1)[place + (share > 0.5)])


def _candidates(low: float, high: float, scales: str, finer: int) -> list[Encoding]:
    """The encoding that holds the whole span, then finer ones that cut it."""
    if scales == "free":
        steps = range(FREE_STEPS + 1) if finer else range(1)
        return [_free(low * 2 ** (-step / 20), high * 2 ** (-step / 20)) for step in steps]
    return [each for step in range(finer + 1) for each in _powers(low, high, step)]


def _free(low: float, high: float) -> Encoding:
    scale = float(np.float32((high - low) / _room(low, high)))
    return Encoding(scale, _zero(low, scale))


def _powers(low: float, high: float, step: int) -> list[Encoding]:
    """With a power of two: the finest scale that holds the span, halved `step` times, and where the span is cut, the
    zero points that keep one end, the other, or the middle."""
    room = _room(low, high)
    scale = 2.0 ** (math.ceil(math.log2((high - low) / room)) - step)
    excess = (high - low) / scale - room
    if low == 0.0 or high == 0.0 or excess <= 0:
        return [Encoding(scale, _zero(low, scale))]
    return [Encoding(scale, _zero(low + share * excess * scale, scale)) for share in (0.0, 0.5, 1.0)]


def _room(low: float, high: float) -> int:
    """The steps between codes that a span may take: a zero point that is even costs up to two of them."""
    if low == 0.0:
        return HIGHEST
    return HIGHEST - 1 if high == 0.0 else HIGHEST - 2


def _zero(low: float, scale: float) -> int:
    """The even code of 0 with which `low` has the lowest code, or the next above."""
    return min(max(2 * math.ceil(-low / scale / 2), LOWEST), HIGHEST - 1)


def _squared_error(encoding: Encoding, histogram: Histogram) -> float:
    """The sum of squares of what is lost by rounding and clamping."""
    low, high = encoding.reach
    centres = histogram.centres
    cut: NDArray[np.float64] = np.maximum(np.maximum(low - centres, centres - high), 0.0)
    lost = np.where(cut > 0, cut**2, encoding.scale**2 / 12)
    return float((lost * histogram.counts).sum())
