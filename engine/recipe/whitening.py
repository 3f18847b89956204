"""First filters that whiten: patches of the training images come out decorrelated (Coates & Ng 2012, Jordan 2024).

The same bits on every machine. Sums of products are exact: values are first rounded to multiples of a power of two.
The eigenvectors come from Jacobi's rotations in a fixed order, of sums, products, quotients and square roots alone;
what a library gives depends on its version, its threads and the processor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engine.arguments import number, pair
from engine.data.dataset import Dataset
from engine.draws import epoch_order
from engine.errors import UserError, unknown
from engine.layers import Conv2D
from engine.layers.topology import INPUT
from engine.network.network import Network

MOST_VALUES = 512  # of a patch: Jacobi's method takes some seconds then
VALUE_BITS = 19  # of a value: 2^14 products of two add up to no more than 2^52, which a float64 holds exactly
SUMMED = 1 << 14  # patches
SWEEPS = 60  # of rotations; ten do
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WhitenConfig:
    """Filters of a convolution that reads the images: eigenvectors of their patches' second moments, each divided by
    the square root of its eigenvalue, the largest first, then the same negated. The bias is 0. To keep them, set
    `learning_rates: {NAME.weights: 0}` (the bias learns; with `freeze_after: {NAME.bias: 3}` for three epochs) or
    `freeze: [NAME]`.

    layer    name of the convolution; its filters are at most twice as many as a patch has values
    samples  training images that are measured, drawn with the run's seed; all of them where there are fewer
    eps      added to an eigenvalue, so that directions of nearly no variance are not blown up
    """

    SHORTHAND: ClassVar[str] = "layer"
    layer: str | int
    samples: int = 5000
    eps: float = 5e-4

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UserError(f"whiten: samples must be 1 or more, got {self.samples}")
        number("whiten", "eps", self.eps, 0.0, math.inf, above=True)


def check_whitening(net: Network, section: WhitenConfig) -> Conv2D:
    """The convolution that the section names; UserError for one that no whitening filters fit."""
    name = str(section.layer)
    if name not in net.layers:
        raise unknown("layer in whiten:", name, net.layers)
    layer = net.layers[name]
    if not isinstance(layer, Conv2D) or net.topology.node(name).inputs != (INPUT,):
        raise UserError(f"whiten: the layer {name!r} must be a Conv2D that reads the images themselves")
    if layer.groups != 1 or pair(layer.dilation) != (1, 1):
        raise UserError(f"whiten: the layer {name!r} must have groups and dilation 1")
    values = layer.in_channels * math.prod(pair(layer.kernel))
    if values > MOST_VALUES:
        raise UserError(f"whiten: a patch of the layer {name!r} has {values} values, more than {MOST_VALUES}")
    if layer.out_channels % 2 or layer.out_channels > 2 * values:
        raise UserError(
            f"whiten: the layer {name!r} has {layer.out_channels} filters; for patches of {values} values an even "
            f"number up to {2 * values} is expected"
        )
    return layer


def whiten(net: Network, data: Dataset, section: WhitenConfig, seed: int) -> None:
    """Give the convolution that the section names filters that whiten `data`, in place, and the bias 0.

    UserError where the section does not fit the network, or the images do not fit the layer or are not finite.
    """
    layer = check_whitening(net, section)
    if data.sample_shape != net.input_shape:
        raise UserError(f"{data.name}: images have shape {data.sample_shape}, but the network takes {net.input_shape}")
    count = min(section.samples, len(data))
    images: NDArray[np.float32] = data.normalise(data.images[np.sort(epoch_order(len(data), seed, 0)[:count])])
    if not np.isfinite(images).all():
        raise UserError(f"{data.name}: the images hold NaN or infinity, so that no filters whiten them")
    values, vectors = eigenvectors(second_moments(images, pair(layer.kernel)))
    half = layer.out_channels // 2
    scaled = vectors[:half] / np.sqrt(np.maximum(values[:half], 0.0) + section.eps)[:, None]
    filters = np.concatenate([scaled, -scaled]).reshape(layer.out_channels, layer.in_channels, *pair(layer.kernel))
    arrays: dict[str, NDArray[np.float32]] = {f"{section.layer}.weights": filters.astype(np.float32)}
    if layer.bias:
        arrays[f"{section.layer}.bias"] = np.zeros(layer.out_channels, np.float32)
    net.load_parameters(arrays, strict=False)


def second_moments(images: NDArray[np.float32], kernel: tuple[int, int]) -> Floats:
    """Means of the products of any two values of a patch, (D, D), D = C * KH * KW, over all patches of the images.

    The values count rounded to 2^-19 of the power of two above the largest of them.
    """
    if images.shape[2] < kernel[0] or images.shape[3] < kernel[1]:
        raise UserError(f"whiten: images of shape {images.shape[1:]} have no patch of {kernel[0]}x{kernel[1]}")
    exponent = VALUE_BITS - math.frexp(float(np.abs(images).max()))[1]
    size = images.shape[1] * kernel[0] * kernel[1]
    total, count = np.zeros((size, size), object), 0  # whole numbers of any size
    for patches in _patches(images, kernel):
        whole = np.rint(np.ldexp(patches.astype(np.float64), exponent))
        total += (whole.T @ whole).astype(np.int64)
        count += len(patches)
    # A quotient of two whole numbers is rounded once.
    unit = math.ldexp(1.0, -2 * exponent)
    return np.array([[int(each) / count * unit for each in row] for row in total])


def _patches(images: NDArray[np.float32], kernel: tuple[int, int]) -> Iterator[NDArray[np.float32]]:
    """All patches of all images, (n, D) with n at most SUMMED."""
    each = (images.shape[2] - kernel[0] + 1) * (images.shape[3] - kernel[1] + 1)
    step = max(1, SUMMED // each)
    for start in range(0, len(images), step):
        windows = sliding_window_view(images[start : start + step], kernel, axis=(2, 3))
        flat = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1] * kernel[0] * kernel[1])
        for first in range(0, len(flat), SUMMED):
            yield flat[first : first + SUMMED]


def eigenvectors(matrix: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues of a symmetric matrix (D, D), the largest first, and an eigenvector in each row of the second array.

    Of each vector the component of the largest magnitude, the first of equal ones, is positive. Cyclic Jacobi method
    (Golub & Van Loan 2013, section 8.5), rotations in the order of rows; it ends where no rotation changes a bit.
    """
    matrix, size = matrix.copy(), len(matrix)
    vectors: Floats = np.eye(size)  # in rows
    for _ in range(SWEEPS):
        turned = [_rotate(matrix, vectors, p, q) for p in range(size) for q in range(p + 1, size)]
        if not any(turned):
            break
    values = matrix.diagonal().copy()
    order = np.argsort(-values, kind="stable")
    vectors = vectors[order]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return values[order], np.where(largest < 0, -vectors, vectors)


def _rotate(matrix: Floats, vectors: Floats, p: int, q: int) -> bool:
    """Rotate rows and columns p and q so that their common entry becomes 0; whether there was something to do."""
    entry, first, second = (float(matrix[place]) for place in ((p, q), (p, p), (q, q)))
    if abs(first) + abs(entry) == abs(first) and abs(second) + abs(entry) == abs(second):
        matrix[p, q] = matrix[q, p] = 0.0
        return False
    slope = (second - first) / (2.0 * entry)
    tangent = math.copysign(1.0, slope) / (abs(slope) + math.sqrt(1.0 + slope * slope))
    cosine = 1.0 / math.sqrt(1.0 + tangent * tangent)
    sine = tangent * cosine
    for rows in (matrix, matrix.T, vectors):
        rows[p], rows[q] = cosine * rows[p] - sine * rows[q], sine * rows[p] + cosine * rows[q]
    matrix[p, q] = matrix[q, p] = 0.0
    return True
