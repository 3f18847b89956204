"""What every op should compute, in float64 NumPy and by the definition: the second opinion beside the C twins.

Public layouts: images (N, C, H, W), filters (OC, IC / groups, KH, KW), linear weights (N, K). Gradients are exact
derivatives, and `test_oracle.py` checks them by finite differences.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from csrc.winograd import generate as winograd

Array = NDArray[np.float64]


# ---- convolution and linear ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Convolution:
    """How the kernel moves; pad is (top, left, bottom, right)."""

    stride: tuple[int, int]
    pad: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int

    def output(self, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
        padded = (size[0] + self.pad[0] + self.pad[2], size[1] + self.pad[1] + self.pad[3])
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, kernel)]
        return tuple((p - r) // s + 1 for p, r, s in zip(padded, reach, self.stride))  # type: ignore[return-value]

    def framed(self, src: Array) -> Array:
        top, left, bottom, right = self.pad
        return np.pad(src, ((0, 0), (0, 0), (top, bottom), (left, right)))

    def tap(self, framed: Array, i: int, j: int, out: tuple[int, int]) -> Array:
        """The view of a padded image that kernel element (i, j) meets, one pixel for each output."""
        h, w = i * self.dilation[0], j * self.dilation[1]
        sh, sw = self.stride
        return framed[:, :, h : h + (out[0] - 1) * sh + 1 : sh, w : w + (out[1] - 1) * sw + 1 : sw]

    def groups_of(self, ic: int, oc: int) -> Iterator[tuple[slice, slice]]:
        """The input and output channels of each group."""
        for g in range(self.groups):
            yield (
                slice(g * ic // self.groups, (g + 1) * ic // self.groups),
                slice(g * oc // self.groups, (g + 1) * oc // self.groups),
            )


def conv2d(how: Convolution, src: Array, weights: Array, bias: Array | None) -> Array:
    oc, _, kh, kw = weights.shape
    out = how.output(src.shape[2:], (kh, kw))
    framed = how.framed(src)
    dst = np.zeros((len(src), oc, *out))
    for channels, columns in how.groups_of(src.shape[1], oc):
        for i, j in np.ndindex(kh, kw):
            dst[:, columns] += np.einsum(
                "nchw,oc->nohw", how.tap(framed, i, j, out)[:, channels], weights[columns, :, i, j]
            )
    return dst if bias is None else dst + bias[:, None, None]


def conv2d_gradients(how: Convolution, diff_dst: Array, src: Array, weights: Array) -> tuple[Array, Array, Array]:
    """(diff_src, diff_weights, diff_bias)"""
    oc, _, kh, kw = weights.shape
    out = diff_dst.shape[2:]
    framed = how.framed(src)
    diff_framed, diff_weights = np.zeros_like(framed), np.zeros_like(weights)
    for channels, columns in how.groups_of(src.shape[1], oc):
        for i, j in np.ndindex(kh, kw):
            diff_weights[columns, :, i, j] = np.einsum(
                "nohw,nchw->oc", diff_dst[:, columns], how.tap(framed, i, j, out)[:, channels]
            )
            how.tap(diff_framed, i, j, out)[:, channels] += np.einsum(
                "nohw,oc->nchw", diff_dst[:, columns], weights[columns, :, i, j]
            )
    top, left, _, _ = how.pad
    diff_src = diff_framed[:, :, top : top + src.shape[2], left : left + src.shape[3]]
    return diff_src, diff_weights, diff_dst.sum(axis=(0, 2, 3))


def winograd_filter(weights: Array, tile: int) -> Array:
    """G g G^T of every (OC, IC): Lavin & Gray 2016, with the points of the core."""
    pairs = winograd.PAIRS[tile + weights.shape[-1] - 1]
    matrix = np.array(winograd.filter_matrix(pairs, weights.shape[-1]), np.float64)
    return matrix @ weights @ matrix.T


def linear(src: Array, weights: Array, bias: Array | None) -> Array:
    dst = src @ weights.T
    return dst if bias is None else dst + bias


def linear_gradients(diff_dst: Array, src: Array, weights: Array) -> tuple[Array, Array, Array]:
    return diff_dst @ weights, diff_dst.T @ src, diff_dst.sum(axis=0)


# ---- pooling ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pooling:
    """Windows of a pooling layer; pad is (top, left, bottom, right). With ceil, a last window may hang over."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    ceil: bool = False
    count_include_pad: bool = True

    def output(self, size: tuple[int, int]) -> tuple[int, int]:
        return self._extent(size[0], 0), self._extent(size[1], 1)

    def _extent(self, size: int, axis: int) -> int:
        before, after = self.pad[axis], self.pad[axis + 2]
        room = size + before + after - self.kernel[axis]
        if not self.ceil:
            return room // self.stride[axis] + 1
        count = -(-room // self.stride[axis]) + 1
        starts_inside = (count - 1) * self.stride[axis] < size + before
        return count if starts_inside else count - 1

    def windows(self, size: tuple[int, int]) -> Iterator[tuple[tuple[int, int], slice, slice, int, int]]:
        """(output position, rows, columns, first tap inside: row, column) of every window, cut to the image."""
        for oh, ow in np.ndindex(*self.output(size)):
            top, left = oh * self.stride[0] - self.pad[0], ow * self.stride[1] - self.pad[1]
            rows = slice(max(top, 0), min(top + self.kernel[0], size[0]))
            columns = slice(max(left, 0), min(left + self.kernel[1], size[1]))
            yield (oh, ow), rows, columns, rows.start - top, columns.start - left


def maxpool2d(how: Pooling, src: Array) -> tuple[Array, NDArray[np.uint8]]:
    """(dst, argmax): the position of the maximum in the whole window, row-major, the first of equals; NaN wins."""
    dst = np.zeros((*src.shape[:2], *how.output(src.shape[2:])))
    argmax = np.zeros(dst.shape, np.uint8)
    for at, rows, columns, first_h, first_w in how.windows(src.shape[2:]):
        window = src[:, :, rows, columns]
        flat = window.reshape(*window.shape[:2], -1)
        where = np.argmax(flat, axis=-1)  # NumPy too lets NaN win, and takes the first of equals
        dst[(..., *at)] = np.take_along_axis(flat, where[..., None], -1)[..., 0]
        i, j = np.divmod(where, window.shape[3])
        argmax[(..., *at)] = (first_h + i) * how.kernel[1] + first_w + j
    return dst, argmax


def maxpool2d_gradient(how: Pooling, diff_dst: Array, argmax: NDArray[np.uint8], size: tuple[int, int]) -> Array:
    """diff_src; 255 in argmax sends nothing back."""
    diff_src = np.zeros((*diff_dst.shape[:2], *size))
    for n, c, oh, ow in np.argwhere(argmax != 255):
        i, j = divmod(int(argmax[n, c, oh, ow]), how.kernel[1])
        h, w = oh * how.stride[0] - how.pad[0] + i, ow * how.stride[1] - how.pad[1] + j
        diff_src[n, c, h, w] += diff_dst[n, c, oh, ow]
    return diff_src


def _divisor(how: Pooling, size: tuple[int, int], at: tuple[int, int], rows: slice, columns: slice) -> int:
    """Elements of the window; those in the padding count, those that ceil mode reaches behind it do not."""
    if not how.count_include_pad:
        return int((rows.stop - rows.start) * (columns.stop - columns.start))
    starts = (at[i] * how.stride[i] - how.pad[i] for i in range(2))
    return math.prod(min(how.kernel[i], size[i] + how.pad[i] - start) for i, start in enumerate(starts))


def avgpool2d(how: Pooling, src: Array) -> Array:
    dst = np.zeros((*src.shape[:2], *how.output(src.shape[2:])))
    for at, rows, columns, _, _ in how.windows(src.shape[2:]):
        dst[(..., *at)] = src[:, :, rows, columns].sum(axis=(2, 3)) / _divisor(how, src.shape[2:], at, rows, columns)
    return dst


def avgpool2d_gradient(how: Pooling, diff_dst: Array, size: tuple[int, int]) -> Array:
    diff_src = np.zeros((*diff_dst.shape[:2], *size))
    for (oh, ow), rows, columns, _, _ in how.windows(size):
        share = diff_dst[:, :, oh, ow] / _divisor(how, size, (oh, ow), rows, columns)
        diff_src[:, :, rows, columns] += share[:, :, None, None]
    return diff_src


# ---- padding and upsampling ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Padded:
    """What stands round a map: pad is (top, left, bottom, right), mode one of numpy.pad's, channels before, behind."""

    pad: tuple[int, int, int, int]
    mode: str
    channels: tuple[int, int]


def pad2d(how: Padded, src: Array) -> Array:
    top, left, bottom, right = how.pad
    framed = np.pad(src, ((0, 0), (0, 0), (top, bottom), (left, right)), how.mode)  # type: ignore[call-overload]
    return np.pad(framed, ((0, 0), how.channels, (0, 0), (0, 0)))


def pad2d_gradient(how: Padded, diff_dst: Array, size: tuple[int, int]) -> Array:
    """Each axis by the matrix of its padding."""
    inside = diff_dst[:, how.channels[0] : diff_dst.shape[1] - how.channels[1]]
    rows = np.pad(np.eye(size[0]), ((how.pad[0], how.pad[2]), (0, 0)), how.mode)  # type: ignore[call-overload]
    columns = np.pad(np.eye(size[1]), ((how.pad[1], how.pad[3]), (0, 0)), how.mode)  # type: ignore[call-overload]
    return np.einsum("ncyx,yh,xw->nchw", inside, rows, columns)


def upsampling(extent: int, scale: int, sampling: str) -> Array:
    """The matrix of an axis: (places of the result, elements of the source)."""
    places = np.arange(extent * scale)
    if sampling == "nearest":
        return np.eye(extent)[places // scale]
    steps = (
        (places + 0.5) / scale - 0.5 if sampling == "half_pixel" else places * (extent - 1) / max(len(places) - 1, 1)
    )
    return np.stack([np.interp(steps, np.arange(extent), row) for row in np.eye(extent)], axis=1)


def upsample2d(scale: tuple[int, int], sampling: str, src: Array) -> Array:
    rows, columns = (upsampling(extent, by, sampling) for extent, by in zip(src.shape[2:], scale))
    return np.einsum("nchw,yh,xw->ncyx", src, rows, columns)


def upsample2d_gradient(scale: tuple[int, int], sampling: str, diff_dst: Array) -> Array:
    rows, columns = (upsampling(extent // by, by, sampling) for extent, by in zip(diff_dst.shape[2:], scale))
    return np.einsum("ncyx,yh,xw->nchw", diff_dst, rows, columns)


# ---- elementwise --------------------------------------------------------------------------------------------------


def relu(src: Array) -> Array:
    return np.where(src < 0, 0.0, src)


def relu_gradient(diff_dst: Array, dst: Array) -> Array:
    return np.where(dst <= 0, 0.0, diff_dst)


def leaky_relu(src: Array, slope: float) -> Array:
    return np.where(src < 0, slope * src, src)


def leaky_relu_gradient(diff_dst: Array, src: Array, slope: float) -> Array:
    return np.where(src <= 0, slope * diff_dst, diff_dst)


def sigmoid(src: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * src))


def sigmoid_gradient(diff_dst: Array, dst: Array) -> Array:
    return diff_dst * dst * (1.0 - dst)


def tanh_gradient(diff_dst: Array, dst: Array) -> Array:
    return diff_dst * (1.0 - dst * dst)


def elu(src: Array, alpha: float) -> Array:
    return np.where(src > 0, src, alpha * np.expm1(np.minimum(src, 0.0)))


def elu_gradient(diff_dst: Array, dst: Array, alpha: float) -> Array:
    return np.where(dst > 0, diff_dst, diff_dst * (dst + alpha))


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def normal_distribution(src: Array) -> Array:
    """P(X <= src), with all its digits in the tails."""
    return np.asarray(0.5 * _erfc(-src * math.sqrt(0.5)))


def gelu(src: Array) -> Array:
    return src * normal_distribution(src)


def gelu_gradient(diff_dst: Array, src: Array) -> Array:
    density = np.exp(-0.5 * src * src) / math.sqrt(2.0 * math.pi)
    return diff_dst * (normal_distribution(src) + src * density)


def logistic(src: Array) -> Array:
    """The sigmoid, with all its digits where it is small."""
    power = np.exp(-np.abs(src))
    return np.where(src < 0, power, 1.0) / (1.0 + power)


def gelu_tanh_exponent(src: Array) -> Array:
    """2u, of which the sigmoid is 0.5 * (1 + tanh(u))."""
    return math.sqrt(8.0 / math.pi) * (src + 0.044715 * src**3)


def gelu_tanh(src: Array) -> Array:
    return src * logistic(gelu_tanh_exponent(src))


def gelu_tanh_gradient(diff_dst: Array, src: Array) -> Array:
    exponent = gelu_tanh_exponent(src)
    steep = math.sqrt(8.0 / math.pi) * (1.0 + 3.0 * 0.044715 * src**2)
    return diff_dst * (logistic(exponent) + src * logistic(exponent) * logistic(-exponent) * steep)


def silu(src: Array) -> Array:
    return src * logistic(src)


def silu_gradient(diff_dst: Array, src: Array) -> Array:
    return diff_dst * (logistic(src) + src * logistic(src) * logistic(-src))


def hardsigmoid(src: Array) -> Array:
    return np.clip(src + 3.0, 0.0, 6.0) / 6.0


def hardsigmoid_gradient(diff_dst: Array, dst: Array) -> Array:
    return np.where((dst > 0) & (dst < 1), diff_dst / 6.0, 0.0)


def hardswish(src: Array) -> Array:
    return src * hardsigmoid(src)


def hardswish_gradient(diff_dst: Array, src: Array) -> Array:
    return diff_dst * np.where(src <= -3, 0.0, np.where(src >= 3, 1.0, src / 3.0 + 0.5))


def clip_gradient(diff_dst: Array, dst: Array, low: float, high: float) -> Array:
    return np.where((dst > low) & (dst < high), diff_dst, 0.0)


def softplus(src: Array) -> Array:
    return np.maximum(src, 0.0) + np.log1p(np.exp(-np.abs(src)))


def softplus_gradient(diff_dst: Array, dst: Array) -> Array:
    return diff_dst * -np.expm1(-dst)


def prelu(src: Array, weights: Array) -> Array:
    """Channels last."""
    return np.where(src > 0, src, weights * src)


def prelu_gradients(diff_dst: Array, src: Array, weights: Array) -> tuple[Array, Array]:
    """(diff_src, diff_weights)"""
    products = np.where(src > 0, 0.0, src * diff_dst).reshape(-1, len(weights))
    return np.where(src > 0, diff_dst, weights * diff_dst), products.sum(axis=0)


def softmax(src: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(src - src.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def softmax_gradient(diff_dst: Array, dst: Array) -> Array:
    return dst * (diff_dst - (diff_dst * dst).sum(axis=-1, keepdims=True))


# ---- batch normalisation: rows of channels (Ioffe & Szegedy 2015, Algorithm 1 and section 3) -----------------------


@dataclass(frozen=True)
class BatchStatistics:
    mean: Array
    biased: Array
    unbiased: Array

    @staticmethod
    def of(src: Array) -> "BatchStatistics":
        squares = ((src - src.mean(axis=0)) ** 2).sum(axis=0)
        return BatchStatistics(src.mean(axis=0), squares / len(src), squares / max(len(src) - 1, 1))


def batchnorm(src: Array, weights: Array, bias: Array, mean: Array, var: Array, eps: float) -> Array:
    return (src - mean) / np.sqrt(var + eps) * weights + bias


def batchnorm_gradients(
    diff_dst: Array, src: Array, weights: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """(diff_src, diff_weights, diff_bias), where mean and inv_std are the statistics of src itself."""
    normal = (src - mean) * inv_std
    centred = diff_dst - diff_dst.mean(axis=0) - normal * (diff_dst * normal).mean(axis=0)
    return weights * inv_std * centred, (diff_dst * normal).sum(axis=0), diff_dst.sum(axis=0)


# ---- group normalisation (Wu & He 2018), of (N, rows, C); instance and layer normalisation are cases ---------------


@dataclass(frozen=True)
class GroupStatistics:
    """Mean and biased variance of every group, (N, 1, groups, 1)."""

    mean: Array
    biased: Array

    @staticmethod
    def of(src: Array, groups: int) -> "GroupStatistics":
        split = grouped(src, groups)
        return GroupStatistics(split.mean(axis=(1, 3), keepdims=True), split.var(axis=(1, 3), keepdims=True))


def grouped(src: Array, groups: int) -> Array:
    """(N, rows, groups, C / groups)"""
    return src.reshape(*src.shape[:2], groups, -1)


def groupnorm(src: Array, weights: Array, bias: Array, groups: int, eps: float) -> Array:
    found = GroupStatistics.of(src, groups)
    return ((grouped(src, groups) - found.mean) / np.sqrt(found.biased + eps)).reshape(src.shape) * weights + bias


def groupnorm_gradients(
    diff_dst: Array, src: Array, weights: Array, mean: Array, inv_std: Array
) -> tuple[Array, Array, Array]:
    """(diff_src, diff_weights, diff_bias), where mean and inv_std are the statistics of src itself."""
    groups = mean.shape[2]
    normal = (grouped(src, groups) - mean) * inv_std
    diff = grouped(diff_dst * weights, groups)
    axes = {"axis": (1, 3), "keepdims": True}
    centred = diff - diff.mean(**axes) - normal * (diff * normal).mean(**axes)
    by_channel = diff_dst * normal.reshape(src.shape)
    return (inv_std * centred).reshape(src.shape), by_channel.sum(axis=(0, 1)), diff_dst.sum(axis=(0, 1))


# ---- losses: (loss, gradient by the first argument), means over the batch --------------------------------------------


def one_hot(labels: NDArray[np.int64], classes: int) -> Array:
    return np.eye(classes)[labels]


def cross_entropy(logits: Array, targets: Array, label_smoothing: float) -> tuple[float, Array]:
    """Targets are probabilities (N, classes); smoothing as in Szegedy et al. 2016, section 7."""
    smooth = (1.0 - label_smoothing) * targets + label_smoothing / logits.shape[1]
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -(smooth * log_probabilities).sum() / len(logits)
    gradient = np.exp(log_probabilities) * smooth.sum(axis=1, keepdims=True) - smooth
    return float(loss), gradient / len(logits)


def pixel_cross_entropy(
    logits: Array, labels: NDArray[np.int64], ignored: int, smoothing: float
) -> tuple[float, Array]:
    """Of rows (n, classes) with labels (n,); the mean over those whose label is not `ignored`, 0 where none is."""
    counts = labels != ignored
    gradient = np.zeros_like(logits)
    if not counts.any():
        return 0.0, gradient
    rows = one_hot(labels[counts], logits.shape[1])
    loss, gradient[counts] = cross_entropy(logits[counts], rows, smoothing)
    return loss, gradient


def mean_squared_error(src: Array, targets: Array) -> tuple[float, Array]:
    return float(np.mean((src - targets) ** 2)), 2.0 * (src - targets) / src.size


def binary_cross_entropy(logits: Array, targets: Array) -> tuple[float, Array]:
    loss = np.maximum(logits, 0.0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))
    return float(loss.mean()), (sigmoid(logits) - targets) / logits.size


# ---- optimisers: one segment ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decay:
    """Settings of one run of parameters: l2 joins the gradient, weight_decay shrinks the parameter itself."""

    l2: float = 0.0
    weight_decay: float = 0.0
    lr_scale: float = 1.0


def sgd(
    parameters: Array, velocity: Array, gradients: Array, lr: float, momentum: float, nesterov: bool, decay: Decay
) -> tuple[Array, Array]:
    """(parameters, velocity) after one step, in PyTorch's form. A lr_scale of 0 freezes both."""
    if decay.lr_scale == 0.0:
        return parameters, velocity
    rate = lr * decay.lr_scale
    gradient = gradients + decay.l2 * parameters
    velocity = momentum * velocity + gradient
    direction = gradient + momentum * velocity if nesterov else velocity
    return parameters * (1.0 - rate * decay.weight_decay) - rate * direction, velocity


def adam(
    parameters: Array,
    moments: tuple[Array, Array],
    gradients: Array,
    lr: float,
    step: int,
    betas: tuple[float, float],
    eps: float,
    decay: Decay,
) -> tuple[Array, tuple[Array, Array]]:
    """Kingma & Ba 2015, Algorithm 1; step counts from 0. A lr_scale of 0 freezes parameters and moments."""
    if decay.lr_scale == 0.0:
        return parameters, moments
    rate = lr * decay.lr_scale
    gradient = gradients + decay.l2 * parameters
    first = betas[0] * moments[0] + (1.0 - betas[0]) * gradient
    second = betas[1] * moments[1] + (1.0 - betas[1]) * gradient**2
    corrected = first / (1.0 - betas[0] ** (step + 1)), second / (1.0 - betas[1] ** (step + 1))
    update = rate * corrected[0] / (np.sqrt(corrected[1]) + eps)
    return parameters * (1.0 - rate * decay.weight_decay) - update, (first, second)


def nadam(
    parameters: Array,
    moments: tuple[Array, Array],
    gradients: Array,
    lr: float,
    step: int,
    betas: tuple[float, float],
    eps: float,
    momentum_decay: float,
    decay: Decay,
) -> tuple[Array, tuple[Array, Array]]:
    """Dozat 2016; step counts from 0. A lr_scale of 0 freezes parameters and moments."""
    if decay.lr_scale == 0.0:
        return parameters, moments
    rate = lr * decay.lr_scale
    gradient = gradients + decay.l2 * parameters
    first = betas[0] * moments[0] + (1.0 - betas[0]) * gradient
    second = betas[1] * moments[1] + (1.0 - betas[1]) * gradient**2
    momenta = betas[0] * (1.0 - 0.5 * 0.96 ** (momentum_decay * np.arange(1, step + 3)))
    now, following = momenta[-2:]
    direction = (1.0 - now) * gradient / (1.0 - momenta[:-1].prod()) + following * first / (1.0 - momenta.prod())
    update = rate * direction / (np.sqrt(second / (1.0 - betas[1] ** (step + 1))) + eps)
    return parameters * (1.0 - rate * decay.weight_decay) - update, (first, second)


def rmsprop(
    parameters: Array,
    moments: tuple[Array, Array],
    gradients: Array,
    lr: float,
    rho: float,
    momentum: float,
    eps: float,
    keras: bool,
    decay: Decay,
) -> tuple[Array, Array, Array]:
    """(parameters, mean square, velocity) after one step, in Keras's form or PyTorch's. A lr_scale of 0 freezes all."""
    second, velocity = moments
    if decay.lr_scale == 0.0:
        return parameters, second, velocity
    rate = lr * decay.lr_scale
    gradient = gradients + decay.l2 * parameters
    second = rho * second + (1.0 - rho) * gradient**2
    decayed = parameters * (1.0 - rate * decay.weight_decay)
    if keras:
        velocity = momentum * velocity + rate * gradient / np.sqrt(second + eps)
        return decayed - velocity, second, velocity
    velocity = momentum * velocity + gradient / (np.sqrt(second) + eps)
    return decayed - rate * velocity, second, velocity


def clipped(gradients: Array, max_norm: float) -> tuple[Array, float]:
    """(gradients of at most that Euclidean norm, norm before)"""
    norm = float(np.sqrt((gradients**2).sum()))
    return gradients * min(1.0, max_norm / norm) if norm > 0.0 else gradients, norm


# ---- random numbers: Philox4x32-10 (Salmon et al. 2011), all counters of a stream at once ---------------------------


def philox4x32(counters: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Draws (blocks, 4) for counters (blocks, 4), 32 bits each."""
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = counters.T
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        high0, high1 = p0 >> np.uint64(32), p1 >> np.uint64(32)
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint64(k0), p1 & low, high0 ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1)


def dropout_mask(count: int, rate: np.float32, seed: int, step: int, stream: int) -> NDArray[np.bool_]:
    """Which of `count` elements (whole batch) are kept: element e takes draw e % 4 of block e // 4."""
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    counters = np.zeros((len(blocks), 4), np.uint64)
    counters[:, 0], counters[:, 1] = blocks & np.uint64(0xFFFFFFFF), blocks >> np.uint64(32)
    counters[:, 2], counters[:, 3] = step & 0xFFFFFFFF, stream
    draws = philox4x32(counters, (seed & 0xFFFFFFFF, seed >> 32)).reshape(-1)[:count]
    return (draws >> np.uint64(8)) * 2.0**-24 >= np.float64(rate)
