"""Quantising a trained network: from float32 and samples to integers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arguments import is_real, pair
from engine.data.dataset import Dataset
from engine.errors import UserError, shown, unknown, warn
from engine.layers import Add, AvgPool2D, ConvTranspose2D
from engine.layers.topology import INPUT
from engine.network.inputs import checked_input
from engine.network.network import Network
from engine.quantize.arithmetic import (
    MOST_SHIFT_ALONE,
    MOST_WEIGHT,
    SUM_BITS,
    Encoding,
    Factor,
    check_sums,
    factor_of,
    table_of,
)
from engine.quantize.body import AVERAGING, CLAMPED, WEIGHTED, Arrays, Body, Clamp, check_body, is_tabled, node_sums
from engine.quantize.calibration import counted, encodings, groups_of, observe
from engine.quantize.network import QuantizedNetwork
from engine.quantize.rewrite import Rewritten, Wanted, rewritten
from engine.quantize.stored import Notes

SCALES = ("power_of_two", "free")
ENDS = ("int8", "float")
CALIBRATIONS = ("error", "percentile", "minmax")
PERCENTILE = 99.99
FEWEST = 10  # samples that differ, without a warning

LEAST_SHARE = 2.0**-20  # of the largest weight of a layer: a channel of smaller ones has no finer scale


def quantize(
    net: Network,
    calibration: NDArray[np.float32] | Dataset,
    *,
    scales: str = "power_of_two",
    calibrate: str | float = "error",
    first: str = "int8",
    last: str = "int8",
    weight_bits: int = 8,
) -> QuantizedNetwork:
    """The network with int8 weights and uint8 values, which predicts with integer arithmetic alone.

    net          trained; it stays as it is. Batch normalisation is folded, activations become part of the layer before
    calibration  float32 (N, *input_shape), or a Dataset: samples as they come later, a few hundred of them. They tell
                 how large every value becomes
    scales       "power_of_two": every runtime that knows int8 gives the same bits; "free": float32 scales, a little
    finer calibrate    how a range is chosen. "error": what loses the least, by squares; "percentile": of the values,
                 99.99 %, or the number itself, above 50 up to 100; "minmax": what was seen
    first, last  "float" leaves the first or last layer with weights as it is, in float32
    weight_bits  8, or 7 for runtimes whose sums of products saturate

    UserError for samples of another shape, NaN, or none at all, and, before anything is computed, for layers that
    have no arithmetic of integers: all of them are named.
    """
    _one_of("scales", scales, SCALES)
    _one_of("first", first, ENDS)
    _one_of("last", last, ENDS)
    method = _method(calibrate)
    if type(weight_bits) is not int or weight_bits not in MOST_WEIGHT:
        raise UserError(f"quantize: weight_bits must be 8 or 7, not {shown(weight_bits)}")
    if not isinstance(net, Network):
        raise UserError(f"quantize: expected a trained network, got {shown(net)}")
    parts = rewritten(net, first, last)
    samples = calibration_samples(net, calibration)
    _check_weights(net)
    values = {INPUT: (parts.input_seen,)} | {name: each.seen for name, each in parts.wanted.items()}
    groups = groups_of(parts.topology)
    wanted = {group[0]: [values[name] for name in counted(parts.topology, group)] for group in groups}
    seen = observe(net, samples, list(dict.fromkeys(key for keys in wanted.values() for key in keys)))
    found = encodings(
        groups, {name: [seen[key] for key in dict.fromkeys(keys)] for name, keys in wanted.items()}, scales, method
    )
    body = _body(parts, found, scales, MOST_WEIGHT[weight_bits])
    check_body(body)
    notes = Notes(scales, method, first, last, weight_bits, len(samples))
    made = QuantizedNetwork(body, parts.head, parts.tail, notes)
    made.preprocess, made.trained_by = net.preprocess, net.trained_by
    made.name_classes(net.class_names)
    return made


def calibration_samples(net: Network, calibration: Any) -> NDArray[np.float32]:
    """What the network is calibrated with, float32 (N, *input_shape), N at least 1; UserError for anything else."""
    if isinstance(calibration, Dataset):
        images: Any = calibration.images
        if images.dtype == np.uint8:
            if calibration.preprocess is None:
                raise UserError(
                    f"{calibration.name}: holds uint8 images, but does not say what is done to them (preprocess)"
                )
            images = calibration.preprocess.normalise(images)
        calibration = images
    samples = checked_input(calibration, net.input_shape)
    if not len(samples):
        raise UserError("quantize: there is no calibration sample; expected a few hundred, as they come later")
    _warn_of_few(samples)
    return samples


def _warn_of_few(samples: NDArray[np.float32]) -> None:
    """Warn of samples that tell little of how large values become: what they agree on says nothing of others."""
    advice = "expected a few hundred samples, as they come later"
    first = samples.flat[0]
    if (samples == first).all():
        warn(f"quantize: every number of the calibration samples is {first:g}, which tells nothing of others; {advice}")
        return
    different: set[bytes] = set()
    for sample in samples:
        different.add(hashlib.sha256(np.ascontiguousarray(sample).data).digest())
        if len(different) == FEWEST:
            return
    warn(
        f"quantize: {len(different)} of {len(samples)} calibration samples differ from each other, which says little "
        f"of the ranges of others; {advice}"
    )


def _check_weights(net: Network) -> None:
    damaged = net.store.first_nonfinite()
    if damaged:
        raise UserError(f"quantize: {damaged} holds NaN or infinite values")


def _one_of(name: str, value: Any, known: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise unknown(f"quantize: {name}:", value, known)


def _method(calibrate: Any) -> str | float:
    if isinstance(calibrate, str):
        _one_of("calibrate", calibrate, CALIBRATIONS)
        return PERCENTILE if calibrate == "percentile" else calibrate
    if not is_real(calibrate) or not 50.0 < float(calibrate) <= 100.0:
        raise UserError(
            f"quantize: calibrate must be {', '.join(CALIBRATIONS)}, or a percentile above 50 up to 100, not "
            f"{shown(calibrate)}"
        )
    return float(calibrate)


# ---- integers ----


def _body(parts: Rewritten, found: dict[str, Encoding], scales: str, most: int) -> Body:
    arrays: Arrays = {}
    clamps: dict[str, Clamp] = {}
    for name, wanted in parts.wanted.items():
        node, target = wanted.node, found[name]
        sources = [found[each] for each in node.inputs]
        try:
            arrays |= {
                f"{name}.{part}": array for part, array in _arrays(wanted, sources, target, scales, most, parts).items()
            }
        except OverflowError as error:
            raise UserError(
                f"layer {name!r}: the scales of what it reads and gives are too far apart, by a factor of {error}"
            ) from None
        if isinstance(node.layer, CLAMPED):
            clamp = Clamp(target.code_of(wanted.low), target.code_of(wanted.high))
            if clamp != Clamp():
                clamps[name] = clamp
    return Body(parts.topology, found, clamps, arrays)


def _arrays(
    wanted: Wanted, sources: Sequence[Encoding], target: Encoding, scales: str, most: int, parts: Rewritten
) -> dict[str, NDArray[Any]]:
    node, layer = wanted.node, wanted.node.layer
    if isinstance(layer, WEIGHTED):
        return _weighted(wanted, sources[0], target, scales, most)
    if isinstance(layer, Add):
        return _vectors(_sum_factors(sources, target))
    if isinstance(layer, AVERAGING):
        shape = parts.topology.shape_of(node.inputs[0])
        window = pair(layer.kernel) if isinstance(layer, AvgPool2D) else shape[1:]
        factor = factor_of(sources[0].scale / target.scale)
        # m * sum stays exact in 64 bits; a mean of many elements has no use for 31 bits of a factor
        spare = max(0, math.prod(window).bit_length() + factor.shift - 61)
        return _vectors([Factor(max(factor.multiplier >> spare, 1), factor.shift - spare)])
    return {"table": table_of(layer, sources[0], target)} if is_tabled(layer) else {}


def _vectors(factors: Sequence[Factor]) -> dict[str, NDArray[Any]]:
    """Factors of one shift."""
    return {
        "multipliers": np.array([each.multiplier for each in factors], np.int32),
        "shifts": np.array([factors[0].shift], np.int32),
    }


def _sum_factors(sources: Sequence[Encoding], target: Encoding) -> list[Factor]:
    """Factors of one shift for the terms of a sum, with the most bits that leave the sum an int32."""
    ratios = [each.scale / target.scale for each in sources]
    exact = all(math.frexp(ratio)[0] == 0.5 for ratio in ratios)
    if exact:
        shift = max(0, *(1 - math.frexp(ratio)[1] for ratio in ratios))
    else:
        # 255 * (ma + mb) + 2^(r-1) < 2^31: 255 * 2^22 * 2 would just not fit
        shift = 21 - max(math.frexp(max(ratios))[1], 0)
    factors = [round(ratio * 2.0**shift) for ratio in ratios]
    if (
        not 0 <= shift <= MOST_SHIFT_ALONE
        or min(factors) < 1
        or 255 * sum(factors) + (1 << max(shift - 1, 0)) >= 1 << SUM_BITS
    ):
        raise OverflowError(f"{max(ratios) / min(ratios):.3g}")
    return [Factor(each, shift) for each in factors]


def _weighted(wanted: Wanted, source: Encoding, target: Encoding, scales: str, most: int) -> dict[str, NDArray[Any]]:
    """The arrays of a layer with weights: a scale for each output channel, the finest with which its largest weight and
    its sums fit."""
    node, weights, bias = wanted.node, wanted.weights, wanted.bias
    assert weights is not None and bias is not None
    axis = 1 if isinstance(node.layer, ConvTranspose2D) else 0
    rows = np.moveaxis(weights, axis, 0).reshape(len(bias), -1)
    codes = np.zeros(rows.shape, np.int8)
    added, multipliers, shifts = (np.zeros(len(bias), np.int32) for _ in range(3))
    least = LEAST_SHARE * float(np.abs(rows).max()) or 1.0
    for channel, (row, shift) in enumerate(zip(rows, bias, strict=True)):
        found = _channel(row, float(shift), source.scale, target.scale, scales, most, least)
        codes[channel], added[channel], factor = found
        multipliers[channel], shifts[channel] = factor.multiplier, factor.shift
    shape = np.moveaxis(weights, axis, 0).shape
    arrays: dict[str, NDArray[Any]] = {
        "weights": np.ascontiguousarray(np.moveaxis(codes.reshape(shape), 0, axis)),
        "bias": added,
        "multipliers": multipliers,
        "shifts": shifts,
    }
    check_sums(node.name, node_sums(node, {f"{node.name}.{part}": array for part, array in arrays.items()}))
    return arrays


def _channel(
    row: NDArray[np.float64], bias: float, source: float, target: float, scales: str, most: int, least: float
) -> tuple[NDArray[np.int8], int, Factor]:
    """Codes, bias and factor of one output channel. Where the bias, or the shift, would not fit with the finest scale,
    a coarser one is taken: the weights are then so small that they hardly matter beside the bias."""
    largest = max(float(np.abs(row).max()), least)
    scale = (
        2.0 ** math.ceil(math.log2(largest / most)) if scales == "power_of_two" else float(np.float32(largest / most))
    )
    if scales == "power_of_two":
        finer = scale / 2
        if _lost(row, finer, most) < _lost(row, scale, most):
            scale = finer
    while True:
        codes = np.clip(np.rint(row / scale), -most, most).astype(np.int8)
        added = bias / (source * scale)
        ratio = source * scale / target
        magnitude = 255 * int(np.abs(codes.astype(np.int64)).sum()) + abs(added) + 1
        factor = factor_of(ratio) if ratio < 2.0**SUM_BITS else None
        alone = factor is not None and factor.multiplier == 1
        half = 2.0 ** (factor.shift - 1) if factor is not None and alone else 0.0
        if magnitude + half < 2.0**SUM_BITS and factor is not None and (not alone or factor.shift <= MOST_SHIFT_ALONE):
            return codes, round(added), factor
        if ratio >= 2.0**SUM_BITS or not np.isfinite(added):
            raise OverflowError(f"{ratio:.3g}")
        scale *= 2


def _lost(row: NDArray[np.float64], scale: float, most: int) -> float:
    """The sum of squares of what rounding and clamping take from the weights."""
    return float(((np.clip(np.rint(row / scale), -most, most) * scale - row) ** 2).sum())
