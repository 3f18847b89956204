"""Families of ops: how one declared case becomes calls of the core, with inputs and what must come out.

A family's dataclass holds the parameters of a case; `calls()` draws the inputs and asks the oracle for every output of
the forward op and of every gradient; `function()` is the same computation in float64 for the check by finite
differences.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import cnncore
import numpy as np
from cnncore import SEGMENT_DTYPE
from numpy.typing import NDArray

from tests.ops import oracle
from tests.ops.layouts import filter_panels, panels, to_nhwc, winograd_panels
from tests.ops.oracle import Array, Convolution, Decay, Padded, Pooling

SAME_POSITION = 1e-4  # a maximum counts as clear when it leads by this share of the largest value


@dataclass(frozen=True)
class OpCall:
    """One op on given operands, all in the core's layouts.

    An operand in both `inputs` and `expected` is updated in place. `doubtful` marks elements of an integer output
    where float32 may rightly decide otherwise. Errors are measured by the largest value of an output; `scales` gives
    the size of the terms instead where the output is only what is left after they cancel.
    """

    op: str
    geometry: dict[str, Any]
    batch: int
    inputs: dict[str, NDArray]
    expected: dict[str, NDArray]
    loss: float = 0.0
    gradient_norm: float = 0.0
    run: dict[str, Any] = field(default_factory=dict)  # other settings of the run
    seed: int = 0
    step: int = 0
    learning_rate: float = 0.0
    exact: bool = False
    doubtful: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)

    @property
    def in_place(self) -> list[tuple[str, str]]:
        """(output, input) pairs that may share memory, by the core's registry."""
        first, *rest = cnncore.OPS[self.op].operands
        names = [operand.name for operand in rest if operand.in_place and operand.name in self.inputs]
        return [(first.name, name) for name in names if self.inputs[name].size == self.expected[first.name].size]


@dataclass(frozen=True)
class Function:
    """A differentiable function in float64: gradient(diff_dst, *point) has one array for each argument."""

    forward: Callable[..., Array]
    gradient: Callable[..., tuple[Array, ...]]
    point: tuple[Array, ...]


class Family:
    """Base of all families."""

    def calls(self) -> list[OpCall]:
        raise NotImplementedError

    def function(self) -> Function | None:
        return None

    def rng(self) -> np.random.Generator:
        """Seeded by the parameters, so that a case draws the same numbers wherever it stands in the table."""
        return np.random.default_rng(zlib.crc32(repr(self).encode()))

    def normal(self, rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)


def wide(*arrays: NDArray[np.float32]) -> Iterator[Array]:
    return (array.astype(np.float64) for array in arrays)


@dataclass(frozen=True)
class Conv2D(Family):
    batch: int
    h: int
    w: int
    ic: int
    oc: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, bottom, right
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    bias: bool = True
    relu: bool = False
    pool: bool = False

    @property
    def how(self) -> Convolution:
        return Convolution(self.stride, self.pad, self.dilation, self.groups)

    @property
    def out(self) -> tuple[int, int]:
        return self.how.output((self.h, self.w), self.kernel)

    def geometry(self, fused: bool) -> dict[str, Any]:
        top, left, bottom, right = self.pad
        return {
            "h": self.h, "w": self.w, "ic": self.ic, "oc": self.oc, "kh": self.kernel[0], "kw": self.kernel[1],
            "oh": self.out[0], "ow": self.out[1], "stride_h": self.stride[0], "stride_w": self.stride[1],
            "pad_top": top, "pad_left": left, "pad_bottom": bottom, "pad_right": right,
            "dilation_h": self.dilation[0], "dilation_w": self.dilation[1], "groups": self.groups,
            "activation": int(self.relu and fused), "pool": 2 * int(self.pool and fused),
            "tile": 0,
        }  # fmt: skip

    def draw(self) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """src, weights, bias, diff_dst in the public layouts."""
        rng = self.rng()
        return (
            self.normal(rng, self.batch, self.ic, self.h, self.w),
            self.normal(rng, self.oc, self.ic // self.groups, *self.kernel),
            self.normal(rng, self.oc),
            self.normal(rng, self.batch, self.oc, *self.out),
        )

    def forward_outputs(self, plain: Array) -> tuple[dict[str, NDArray], dict[str, NDArray[np.bool_]]]:
        """(expected, doubtful) of the fused op, from the output before activation and pooling."""
        if not self.pool:
            return {"dst": oracle.relu(plain) if self.relu else plain}, {}
        dst, argmax = oracle.maxpool2d(Pooling((2, 2), (2, 2)), plain)
        h, w = dst.shape[2:]
        windows = plain[:, :, : 2 * h, : 2 * w].reshape(*plain.shape[:2], h, 2, w, 2)
        ranked = np.sort(windows.swapaxes(3, 4).reshape(*dst.shape, 4), axis=-1)
        margin = SAME_POSITION * np.abs(plain).max()
        doubtful = ranked[..., 3] - ranked[..., 2] < margin
        if self.relu:
            doubtful |= np.abs(dst) < margin
            argmax = np.where(dst <= 0, np.uint8(255), argmax)
            dst = oracle.relu(dst)
        return {"dst": dst, "argmax": argmax}, {"argmax": doubtful}

    def calls(self) -> list[OpCall]:
        src, weights, bias, diff_dst = self.draw()
        plain = oracle.conv2d(self.how, *wide(src, weights), *(wide(bias) if self.bias else [None]))
        expected, doubtful = self.forward_outputs(plain)
        packed = {"weights": filter_panels(weights, self.groups)}
        return [
            OpCall(
                "conv2d_forward", self.geometry(fused=True), self.batch,
                {"src": to_nhwc(src), **packed, **({"bias": bias} if self.bias else {})},
                {name: to_nhwc(value) for name, value in expected.items()},
                doubtful={name: to_nhwc(value) for name, value in doubtful.items()},
            ),
            *self.backward_calls(src, weights, diff_dst),
            *(self.pooled_calls(src, weights, diff_dst) if self.pool else []),
        ]  # fmt: skip

    def backward_calls(
        self, src: NDArray, weights: NDArray, diff_dst: NDArray, given: dict[str, NDArray] | None = None
    ) -> list[OpCall]:
        """Both gradients, without and with a mask. `diff_dst` is by the convolution's own output; the core may be
        `given` other operands in its place."""
        diff_src, diff_weights, diff_bias = oracle.conv2d_gradients(self.how, *wide(diff_dst, src, weights))
        given = given or {"diff_dst": to_nhwc(diff_dst)}
        geometry = {**self.geometry(fused=False), "pool": 2 * int("argmax" in given)}
        packed = {"weights": filter_panels(weights, self.groups)}
        mask = src.copy()
        mask[..., ::2] *= mask[..., ::2] > 0  # zeros, and values below that a ReLU would not give
        gradients = {"diff_weights": filter_panels(diff_weights, self.groups)}
        return [
            OpCall(
                "conv2d_backward_data", geometry, self.batch, {**given, **packed}, {"diff_src": to_nhwc(diff_src)}
            ),
            OpCall(
                "conv2d_backward_data", geometry, self.batch, {**given, **packed, "mask": to_nhwc(mask)},
                {"diff_src": to_nhwc(np.where(mask > 0, diff_src, 0.0))},
            ),
            OpCall(
                "conv2d_backward_weights", geometry, self.batch, {**given, "src": to_nhwc(src)},
                gradients | ({"diff_bias": diff_bias} if self.bias else {}),
            ),
        ]  # fmt: skip

    def pooled_calls(self, src: NDArray, weights: NDArray, diff_dst: NDArray) -> list[OpCall]:
        """The gradients by the pooled output; `argmax` is drawn, as any is possible."""
        rng = self.rng()
        h, w = self.out[0] // 2, self.out[1] // 2
        argmax = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (self.batch, self.oc, h, w))
        pooled = self.normal(rng, *argmax.shape)
        whole = np.zeros_like(diff_dst)
        for position in range(4):
            i, j = divmod(position, 2)
            whole[:, :, i : 2 * h : 2, j : 2 * w : 2] = np.where(argmax == position, pooled, 0.0)
        return self.backward_calls(src, weights, whole, {"diff_dst": to_nhwc(pooled), "argmax": to_nhwc(argmax)})

    def function(self) -> Function:
        src, weights, bias, _ = self.draw()
        return Function(
            lambda *point: oracle.conv2d(self.how, *point),
            lambda diff_dst, x, w, _: oracle.conv2d_gradients(self.how, diff_dst, x, w),
            tuple(wide(src, weights, bias)),
        )


@dataclass(frozen=True)
class Winograd(Conv2D):
    """The same convolution, its gradients included, with filters transformed before."""

    tile: int = 4

    def filters(self) -> dict[str, NDArray]:
        """The transformed filters of the forward pass and of the data gradient, in float64."""
        (weights,) = wide(self.draw()[1])
        turned = weights[:, :, ::-1, ::-1].swapaxes(0, 1)
        return {
            "winograd_filter": winograd_panels(oracle.winograd_filter(weights, self.tile)),
            "winograd_filter_backward": winograd_panels(oracle.winograd_filter(turned, self.tile)),
        }

    def calls(self) -> list[OpCall]:
        weights = filter_panels(self.draw()[1], 1)
        geometry = {**self.geometry(fused=False), "tile": self.tile}
        filters = self.filters()
        return [
            *(OpCall(op, geometry, 1, {"weights": weights}, {"dst": filters[op]}) for op in filters),
            *(self.transformed(call, filters) for call in super().calls()),
        ]

    def transformed(self, call: OpCall, filters: dict[str, NDArray]) -> OpCall:
        """The call of Winograd's op that does the same as a direct one."""
        inputs = dict(call.inputs)
        if "weights" in inputs:
            del inputs["weights"]
            source = "winograd_filter" if call.op == "conv2d_forward" else "winograd_filter_backward"
            inputs["filter"] = filters[source].astype(np.float32)
        geometry = {**call.geometry, "tile": self.tile}
        return replace(call, op=call.op.replace("conv2d", "winograd"), geometry=geometry, inputs=inputs)


@dataclass(frozen=True)
class Linear(Family):
    batch: int
    k: int
    n: int
    bias: bool = True
    relu: bool = False

    def draw(self) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        rng = self.rng()
        shapes = (self.batch, self.k), (self.n, self.k), (self.n,), (self.batch, self.n)
        return tuple(self.normal(rng, *shape) for shape in shapes)  # type: ignore[return-value]

    def calls(self) -> list[OpCall]:
        src, weights, bias, diff_dst = self.draw()
        plain = oracle.linear(*wide(src, weights), *(wide(bias) if self.bias else [None]))
        diff_src, diff_weights, diff_bias = oracle.linear_gradients(*wide(diff_dst, src, weights))
        packed = {"weights": panels(weights)}
        mask = src.copy()
        mask[:, ::2] *= mask[:, ::2] > 0  # zeros, and values below that a ReLU would not give
        forward = {"k": self.k, "n": self.n, "activation": int(self.relu)}
        backward = {"k": self.k, "n": self.n, "activation": 0}
        return [
            OpCall(
                "linear_forward", forward, self.batch, {"src": src, **packed, **({"bias": bias} if self.bias else {})},
                {"dst": oracle.relu(plain) if self.relu else plain},
            ),
            OpCall(
                "linear_backward_data", backward, self.batch, {"diff_dst": diff_dst, **packed}, {"diff_src": diff_src}
            ),
            OpCall(
                "linear_backward_data", backward, self.batch, {"diff_dst": diff_dst, **packed, "mask": mask},
                {"diff_src": np.where(mask > 0, diff_src, 0.0)},
            ),
            OpCall(
                "linear_backward_weights", backward, self.batch, {"src": src, "diff_dst": diff_dst},
                {"diff_weights": panels(diff_weights)} | ({"diff_bias": diff_bias} if self.bias else {}),
            ),
        ]  # fmt: skip

    def function(self) -> Function:
        src, weights, bias, _ = self.draw()
        return Function(
            oracle.linear,
            lambda diff_dst, x, w, _: oracle.linear_gradients(diff_dst, x, w),
            tuple(wide(src, weights, bias)),
        )


@dataclass(frozen=True)
class Pool2D(Family):
    """Both kinds of pooling. `ties` rounds the image so that windows hold equal maxima."""

    batch: int
    h: int
    w: int
    c: int
    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, bottom, right
    ceil: bool = False
    count_include_pad: bool = True
    ties: bool = False

    @property
    def how(self) -> Pooling:
        return Pooling(self.kernel, self.stride, self.pad, self.ceil, self.count_include_pad)

    def geometry(self) -> dict[str, Any]:
        oh, ow = self.how.output((self.h, self.w))
        return {
            "h": self.h, "w": self.w, "c": self.c, "kh": self.kernel[0], "kw": self.kernel[1], "oh": oh, "ow": ow,
            "stride_h": self.stride[0], "stride_w": self.stride[1], "pad_top": self.pad[0], "pad_left": self.pad[1],
            "count_include_pad": int(self.count_include_pad),
        }  # fmt: skip

    def draw(self) -> tuple[NDArray, NDArray]:
        rng = self.rng()
        src = self.normal(rng, self.batch, self.c, self.h, self.w)
        out = self.how.output((self.h, self.w))
        return src.round() if self.ties else src, self.normal(rng, self.batch, self.c, *out)


@dataclass(frozen=True)
class MaxPool2D(Pool2D):
    argmax: bool = True

    def calls(self) -> list[OpCall]:
        src, diff_dst = self.draw()
        dst, argmax = oracle.maxpool2d(self.how, *wide(src))
        dropped = np.where(self.rng().random(argmax.shape) < 0.2, np.uint8(255), argmax)
        diff_src = oracle.maxpool2d_gradient(self.how, *wide(diff_dst), dropped, (self.h, self.w))
        forward = {"dst": to_nhwc(dst)} | ({"argmax": to_nhwc(argmax)} if self.argmax else {})
        return [
            OpCall("maxpool2d_forward", self.geometry(), self.batch, {"src": to_nhwc(src)}, forward, exact=True),
            OpCall(
                "maxpool2d_backward", self.geometry(), self.batch,
                {"diff_dst": to_nhwc(diff_dst), "argmax": to_nhwc(dropped)}, {"diff_src": to_nhwc(diff_src)},
            ),
        ]  # fmt: skip

    def function(self) -> Function | None:
        if self.ties:
            return None
        size = (self.h, self.w)

        def gradient(diff_dst: Array, src: Array) -> tuple[Array]:
            return (oracle.maxpool2d_gradient(self.how, diff_dst, oracle.maxpool2d(self.how, src)[1], size),)

        return Function(lambda src: oracle.maxpool2d(self.how, src)[0], gradient, tuple(wide(self.draw()[0])))


@dataclass(frozen=True)
class AvgPool2D(Pool2D):
    def calls(self) -> list[OpCall]:
        src, diff_dst = self.draw()
        dst = oracle.avgpool2d(self.how, *wide(src))
        diff_src = oracle.avgpool2d_gradient(self.how, *wide(diff_dst), (self.h, self.w))
        mask = src.copy()
        mask[..., ::2] *= mask[..., ::2] > 0  # zeros, and values below that a ReLU would not give
        return [
            OpCall(
                "avgpool2d_forward", self.geometry(), self.batch, {"src": to_nhwc(src)}, {"dst": to_nhwc(dst)}
            ),
            OpCall(
                "avgpool2d_backward", self.geometry(), self.batch,
                {"diff_dst": to_nhwc(diff_dst)}, {"diff_src": to_nhwc(diff_src)},
            ),
            OpCall(
                "avgpool2d_backward", self.geometry(), self.batch,
                {"diff_dst": to_nhwc(diff_dst), "mask": to_nhwc(mask)},
                {"diff_src": to_nhwc(np.where(mask > 0, diff_src, 0.0))},
            ),
        ]  # fmt: skip

    def function(self) -> Function:
        return Function(
            lambda src: oracle.avgpool2d(self.how, src),
            lambda diff_dst, _: (oracle.avgpool2d_gradient(self.how, diff_dst, (self.h, self.w)),),
            tuple(wide(self.draw()[0])),
        )


PADDINGS = ("constant", "reflect", "edge")  # numpy.pad's names, in the order of cnn_padding
SAMPLINGS = ("nearest", "half_pixel", "aligned")  # in the order of cnn_sampling


@dataclass(frozen=True)
class Pad2D(Family):
    batch: int
    h: int
    w: int
    c: int
    pad: tuple[int, int, int, int] = (1, 1, 1, 1)  # top, left, bottom, right
    mode: str = "constant"
    channels: tuple[int, int] = (0, 0)

    def draw(self) -> tuple[NDArray, NDArray]:
        rng, (top, left, bottom, right) = self.rng(), self.pad
        out = self.c + sum(self.channels), self.h + top + bottom, self.w + left + right
        return self.normal(rng, self.batch, self.c, self.h, self.w), self.normal(rng, self.batch, *out)

    def calls(self) -> list[OpCall]:
        src, diff_dst = self.draw()
        how = Padded(self.pad, self.mode, self.channels)
        top, left, bottom, right = self.pad
        geometry = {
            "h": self.h, "w": self.w, "c": self.c, "pad_top": top, "pad_left": left, "pad_bottom": bottom,
            "pad_right": right, "channels_before": self.channels[0], "channels_behind": self.channels[1],
            "mode": PADDINGS.index(self.mode),
        }  # fmt: skip
        diff_src = oracle.pad2d_gradient(how, *wide(diff_dst), (self.h, self.w))
        return [
            OpCall(
                "pad2d_forward", geometry, self.batch, {"src": to_nhwc(src)}, {"dst": to_nhwc(oracle.pad2d(how, src))},
                exact=True,
            ),
            OpCall(
                "pad2d_backward", geometry, self.batch, {"diff_dst": to_nhwc(diff_dst)}, {"diff_src": to_nhwc(diff_src)}
            ),
        ]  # fmt: skip

    def function(self) -> Function:
        how = Padded(self.pad, self.mode, self.channels)
        return Function(
            lambda src: oracle.pad2d(how, src),
            lambda diff_dst, src: (oracle.pad2d_gradient(how, diff_dst, (self.h, self.w)),),
            tuple(wide(self.draw()[0])),
        )


@dataclass(frozen=True)
class Upsample2D(Family):
    batch: int
    h: int
    w: int
    c: int
    scale: tuple[int, int] = (2, 2)
    sampling: str = "nearest"

    def draw(self) -> tuple[NDArray, NDArray]:
        rng, out = self.rng(), (self.h * self.scale[0], self.w * self.scale[1])
        return self.normal(rng, self.batch, self.c, self.h, self.w), self.normal(rng, self.batch, self.c, *out)

    def calls(self) -> list[OpCall]:
        src, diff_dst = self.draw()
        geometry = {
            "h": self.h, "w": self.w, "c": self.c, "scale_h": self.scale[0], "scale_w": self.scale[1],
            "sampling": SAMPLINGS.index(self.sampling),
        }  # fmt: skip
        dst = oracle.upsample2d(self.scale, self.sampling, *wide(src))
        diff_src = oracle.upsample2d_gradient(self.scale, self.sampling, *wide(diff_dst))
        return [
            OpCall("upsample2d_forward", geometry, self.batch, {"src": to_nhwc(src)}, {"dst": to_nhwc(dst)}),
            OpCall(
                "upsample2d_backward", geometry, self.batch, {"diff_dst": to_nhwc(diff_dst)},
                {"diff_src": to_nhwc(diff_src)},
            ),
        ]  # fmt: skip

    def function(self) -> Function:
        return Function(
            lambda src: oracle.upsample2d(self.scale, self.sampling, src),
            lambda diff_dst, src: (oracle.upsample2d_gradient(self.scale, self.sampling, diff_dst),),
            tuple(wide(self.draw()[0])),
        )


@dataclass(frozen=True)
class Activation(Family):
    """kind: an activation of the core. slope: leaky_relu's, elu's alpha, clip's lower bound (the upper one is
    1). `spread` scales the inputs, to reach the flat ends too."""

    kind: str
    batch: int
    count: int
    slope: float = 0.01
    spread: float = 2.0

    def forward(self, src: Array) -> Array:
        slope = float(np.float32(self.slope))
        table = {
            "relu": oracle.relu,
            "leaky_relu": lambda x: oracle.leaky_relu(x, slope),
            "sigmoid": oracle.sigmoid,
            "tanh": np.tanh,
            "elu": lambda x: oracle.elu(x, slope),
            "gelu": oracle.gelu,
            "gelu_tanh": oracle.gelu_tanh,
            "silu": oracle.silu,
            "hardswish": oracle.hardswish,
            "hardsigmoid": oracle.hardsigmoid,
            "relu6": lambda x: np.clip(x, 0.0, 6.0),
            "softplus": oracle.softplus,
            "clip": lambda x: np.clip(x, slope, 1.0),
        }
        return table[self.kind](src)

    def backward(self, diff_dst: Array, src: Array, dst: Array) -> Array:
        slope = float(np.float32(self.slope))
        by_source = {
            "leaky_relu": lambda diff, x: oracle.leaky_relu_gradient(diff, x, slope),
            "gelu": oracle.gelu_gradient,
            "gelu_tanh": oracle.gelu_tanh_gradient,
            "silu": oracle.silu_gradient,
            "hardswish": oracle.hardswish_gradient,
        }
        if self.kind in by_source:
            return by_source[self.kind](diff_dst, src)
        by_output = {
            "relu": oracle.relu_gradient,
            "sigmoid": oracle.sigmoid_gradient,
            "tanh": oracle.tanh_gradient,
            "elu": lambda diff, y: oracle.elu_gradient(diff, y, slope),
            "hardsigmoid": oracle.hardsigmoid_gradient,
            "relu6": lambda diff, y: oracle.clip_gradient(diff, y, 0.0, 6.0),
            "softplus": oracle.softplus_gradient,
            "clip": lambda diff, y: oracle.clip_gradient(diff, y, slope, 1.0),
        }
        return by_output[self.kind](diff_dst, dst)

    def draw(self) -> tuple[NDArray, NDArray]:
        rng = self.rng()
        src = self.normal(rng, self.batch, self.count) * np.float32(self.spread)
        src.flat[:: max(7, src.size // 5)] = 0.0  # the kink of ReLU, where conventions differ
        if self.kind in ("hardswish", "hardsigmoid"):
            src.flat[1:3] = np.array([-3.0, 3.0])[: len(src.flat[1:3])]
        return src, self.normal(rng, self.batch, self.count)

    def geometry(self) -> dict[str, float]:
        if self.kind == "clip":
            return {"count": self.count, "low": self.slope, "high": 1.0}
        return {"count": self.count, "slope": self.slope}

    def calls(self) -> list[OpCall]:
        src, diff_dst = self.draw()
        dst = self.forward(src.astype(np.float64)).astype(np.float32)  # the saved output is float32
        diff_src = self.backward(*wide(diff_dst, src, dst))
        backward = f"{self.kind}_backward"
        by_source = any(operand.name == "src" for operand in cnncore.OPS[backward].operands)
        saved = {"src": src} if by_source else {"dst": dst}
        geometry = self.geometry()
        return [
            OpCall(f"{self.kind}_forward", geometry, self.batch, {"src": src}, {"dst": self.forward(*wide(src))}),
            OpCall(backward, geometry, self.batch, {"diff_dst": diff_dst, **saved}, {"diff_src": diff_src}),
        ]

    def function(self) -> Function:
        src = self.draw()[0].astype(np.float64)
        src[np.isin(src, (0.0, -3.0, 3.0))] = 0.5
        return Function(self.forward, lambda diff_dst, x: (self.backward(diff_dst, x, self.forward(x)),), (src,))


@dataclass(frozen=True)
class PReLU(Family):
    """Rows of c slopes each; c = 1: one slope."""

    batch: int
    rows: int
    c: int

    def draw(self) -> tuple[NDArray, NDArray, NDArray]:
        rng = self.rng()
        src = self.normal(rng, self.batch, self.rows, self.c)
        src.flat[:: max(7, src.size // 5)] = 0.0
        return src, self.normal(rng, self.c), self.normal(rng, self.batch, self.rows, self.c)

    def calls(self) -> list[OpCall]:
        src, weights, diff_dst = self.draw()
        geometry = {"rows": self.rows, "c": self.c}
        diff_src, diff_weights = oracle.prelu_gradients(*wide(diff_dst, src, weights))
        given = {"src": src, "weights": weights}
        return [
            OpCall("prelu_forward", geometry, self.batch, given, {"dst": oracle.prelu(*wide(src, weights))}),
            OpCall(
                "prelu_backward", geometry, self.batch, {"diff_dst": diff_dst, **given},
                {"diff_src": diff_src, "diff_weights": diff_weights},
            ),
        ]  # fmt: skip

    def function(self) -> Function:
        src, weights, _ = wide(*self.draw())
        src[src == 0] = 0.5
        return Function(oracle.prelu, oracle.prelu_gradients, (src, weights))


@dataclass(frozen=True)
class Softmax(Family):
    batch: int
    rows: int
    c: int
    spread: float = 1.0

    def draw(self) -> tuple[NDArray, NDArray]:
        rng = self.rng()
        src = self.normal(rng, self.batch, self.rows, self.c) * np.float32(self.spread)
        return src, self.normal(rng, self.batch, self.rows, self.c)

    def calls(self) -> list[OpCall]:
        src, diff_dst = self.draw()
        exact = oracle.softmax(*wide(src))
        dst = exact.astype(np.float32)
        geometry = {"rows": self.rows, "c": self.c}
        return [
            OpCall("softmax_forward", geometry, self.batch, {"src": src}, {"dst": exact}),
            OpCall(
                "softmax_backward", geometry, self.batch, {"diff_dst": diff_dst, "dst": dst},
                {"diff_src": oracle.softmax_gradient(*wide(diff_dst, dst))},
            ),
        ]  # fmt: skip

    def function(self) -> Function:
        return Function(
            oracle.softmax,
            lambda diff_dst, src: (oracle.softmax_gradient(diff_dst, oracle.softmax(src)),),
            tuple(wide(self.draw()[0])),
        )


@dataclass(frozen=True)
class BatchNorm(Family):
    """`offset` moves the mean away from zero: variance must not be taken as a difference of large numbers. `pool` takes
    the rows as a map of width `w`."""

    batch: int
    rows: int
    c: int
    eps: float = 1e-5
    momentum: float = 0.1
    offset: float = 0.0
    w: int = 1
    relu: bool = False
    pool: bool = False
    scale: bool = True
    shift: bool = True

    def draw(self) -> dict[str, NDArray]:
        """All that the ops read; weights that are absent are ones, a bias that is absent is zeros."""
        rng = self.rng()
        return {
            "src": self.normal(rng, self.batch * self.rows, self.c) + np.float32(self.offset),
            "weights": self.normal(rng, self.c) if self.scale else np.ones(self.c, np.float32),
            "bias": self.normal(rng, self.c) if self.shift else np.zeros(self.c, np.float32),
            "running_mean": self.normal(rng, self.c),
            "running_var": rng.uniform(0.5, 2.0, self.c).astype(np.float32),
            "diff_dst": self.normal(rng, self.batch * self.rows, self.c),
        }

    def geometry(self) -> dict[str, Any]:
        return {
            "rows": self.rows, "c": self.c, "w": self.w, "activation": int(self.relu), "pool": 2 * int(self.pool),
            "eps": self.eps, "momentum": self.momentum,
        }  # fmt: skip

    def forward_outputs(self, plain: Array) -> tuple[dict[str, NDArray], dict[str, NDArray[np.bool_]]]:
        """(expected, doubtful) of the fused op, from the rows before activation and pooling."""
        if not self.pool:
            return {"dst": oracle.relu(plain) if self.relu else plain}, {}
        windows = self.windows(plain)
        dst, argmax = windows.max(axis=-1), windows.argmax(axis=-1).astype(np.uint8)
        margin = SAME_POSITION * np.abs(plain).max()
        ranked = np.sort(windows, axis=-1)
        doubtful = ranked[..., 3] - ranked[..., 2] < margin
        if self.relu:
            doubtful |= np.abs(dst) < margin
            argmax = np.where(dst <= 0, np.uint8(255), argmax)
            dst = oracle.relu(dst)
        return {"dst": dst, "argmax": argmax}, {"argmax": doubtful}

    def windows(self, rows: NDArray) -> NDArray:
        """The 2x2 windows, their elements last."""
        oh, ow = self.rows // self.w // 2, self.w // 2
        image = rows.reshape(self.batch, -1, self.w, self.c)[:, : 2 * oh, : 2 * ow]
        split = image.reshape(self.batch, oh, 2, ow, 2, self.c).transpose(0, 1, 3, 5, 2, 4)
        return split.reshape(self.batch, oh, ow, self.c, 4)

    def unpooled(self, pooled: NDArray, argmax: NDArray) -> NDArray:
        """Rows of gradients before pooling."""
        oh, ow = pooled.shape[1:3]
        image = np.zeros((self.batch, self.rows // self.w, self.w, self.c), pooled.dtype)
        for position in range(4):
            i, j = divmod(position, 2)
            image[:, i : 2 * oh : 2, j : 2 * ow : 2] = np.where(argmax == position, pooled, 0)
        return image.reshape(-1, self.c)

    def calls(self) -> list[OpCall]:
        values = self.draw()
        src, weights, bias, mean, var, diff_dst = wide(*values.values())
        eps, momentum = float(np.float32(self.eps)), float(np.float32(self.momentum))
        batch = oracle.BatchStatistics.of(src)
        rounded = batch.mean.astype(np.float32).astype(np.float64)
        saved = {
            "save_mean": np.stack([batch.mean, batch.mean - rounded]),
            "save_inv_std": 1.0 / np.sqrt(batch.biased + eps),
        }
        saved32 = {name: value.astype(np.float32) for name, value in saved.items()}
        inv_std = saved32["save_inv_std"].astype(np.float64)
        plain = oracle.batchnorm(src, weights, bias, batch.mean, batch.biased, eps)
        running, _ = self.forward_outputs(oracle.batchnorm(src, weights, bias, mean, var, eps))
        expected, doubtful = self.forward_outputs(plain)
        given = {"diff_dst": values["diff_dst"]}
        if self.pool:
            given = self.pooled_gradient()
            diff_dst = self.unpooled(given["diff_dst"].astype(np.float64), given["argmax"])
        elif self.relu:
            diff_dst = oracle.relu_gradient(diff_dst, oracle.relu(plain))
        diff = oracle.batchnorm_gradients(diff_dst, src, weights, batch.mean, inv_std)
        absent = self.absent()
        gradients = dict(zip(("diff_src", "diff_weights", "diff_bias"), diff))
        gradients = {name: value for name, value in gradients.items() if name.removeprefix("diff_") not in absent}
        mask = values["src"].copy()
        mask[:, ::2] *= mask[:, ::2] > 0  # zeros, and values below that a ReLU would not give

        def chosen(*names: str) -> dict[str, NDArray]:
            return {name: values[name] for name in names if name not in absent}

        backward = {**chosen("src", "weights", "bias"), **given, **saved32}
        scales = self.terms(diff_dst, weights, saved)
        return [
            OpCall(
                "batchnorm_forward_training", self.geometry(), self.batch,
                chosen("src", "weights", "bias", "running_mean", "running_var"),
                {
                    **expected, **saved,
                    "running_mean": (1.0 - momentum) * mean + momentum * batch.mean,
                    "running_var": (1.0 - momentum) * var + momentum * batch.unbiased,
                },
                doubtful=doubtful,
            ),
            OpCall(
                "batchnorm_forward_inference", self.geometry(), self.batch,
                chosen("src", "weights", "bias", "running_mean", "running_var"), {"dst": running["dst"]},
            ),
            OpCall("batchnorm_backward", self.geometry(), self.batch, backward, gradients, scales=scales),
            OpCall(
                "batchnorm_backward", self.geometry(), self.batch, {**backward, "mask": mask},
                {**gradients, "diff_src": np.where(mask > 0, diff[0], 0.0)}, scales=scales,
            ),
        ]  # fmt: skip

    def absent(self) -> list[str]:
        return [name for name, there in (("weights", self.scale), ("bias", self.shift)) if not there]

    def pooled_gradient(self) -> dict[str, NDArray]:
        """A gradient by the pooled output, and any argmax: all are possible."""
        rng = self.rng()
        shape = (self.batch, self.rows // self.w // 2, self.w // 2, self.c)
        argmax = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), shape)
        return {"diff_dst": self.normal(rng, *shape), "argmax": argmax}

    def terms(self, diff_dst: Array, weights: Array, saved: dict[str, Array]) -> dict[str, float]:
        """One or two rows normalise to constants: every term of diff_src cancels, rounding is all that is left."""
        if self.batch * self.rows > 2:
            return {}
        return {"diff_src": float(np.abs(diff_dst * weights * saved["save_inv_std"]).max())}

    def function(self) -> Function | None:
        if self.batch * self.rows < 3 or self.relu or self.pool:
            return None  # with one or two rows the output hardly depends on the input: nothing to measure

        def forward(src: Array, weights: Array, bias: Array) -> Array:
            batch = oracle.BatchStatistics.of(src)
            return oracle.batchnorm(src, weights, bias, batch.mean, batch.biased, self.eps)

        def gradient(diff_dst: Array, src: Array, weights: Array, _: Array) -> tuple[Array, ...]:
            batch = oracle.BatchStatistics.of(src)
            inv_std = 1.0 / np.sqrt(batch.biased + self.eps)
            return oracle.batchnorm_gradients(diff_dst, src, weights, batch.mean, inv_std)

        values = self.draw()
        return Function(forward, gradient, tuple(wide(values["src"], values["weights"], values["bias"])))


@dataclass(frozen=True)
class Dropout(Family):
    batch: int
    count: int
    rate: float
    seed: int = 0
    step: int = 0
    stream: int = 0
    draws: int = 0  # of a sample; 0: one for each element

    def calls(self) -> list[OpCall]:
        src = self.normal(self.rng(), self.batch, self.count)
        rate, draws = np.float32(self.rate), self.draws or self.count
        kept = oracle.dropout_mask(self.batch * draws, rate, self.seed, self.step, self.stream)
        kept = np.tile(kept.reshape(self.batch, draws), self.count // draws)
        expected = np.where(kept, src / (1.0 - np.float64(rate)), 0.0)
        geometry = {"count": self.count, "draws": draws, "stream": self.stream, "rate": self.rate}
        return [
            OpCall("dropout", geometry, self.batch, {"src": src}, {"dst": expected}, seed=self.seed, step=self.step)
        ]


@dataclass(frozen=True)
class GroupNorm(Family):
    """`offset` moves the mean away from zero, as in BatchNorm."""

    batch: int
    rows: int
    c: int
    groups: int
    eps: float = 1e-5
    offset: float = 0.0
    scale: bool = True
    shift: bool = True

    def draw(self) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """src, weights, bias, diff_dst; weights that are absent are ones, a bias that is absent is zeros."""
        rng = self.rng()
        src, diff_dst = (self.normal(rng, self.batch, self.rows, self.c) for _ in range(2))
        weights = self.normal(rng, self.c) if self.scale else np.ones(self.c, np.float32)
        bias = self.normal(rng, self.c) if self.shift else np.zeros(self.c, np.float32)
        return src + np.float32(self.offset), weights, bias, diff_dst

    def calls(self) -> list[OpCall]:
        values = self.draw()
        src, weights, bias, diff_dst = wide(*values)
        eps = float(np.float32(self.eps))
        found = oracle.GroupStatistics.of(src, self.groups)
        mean, inv_std = found.mean, 1.0 / np.sqrt(found.biased + eps)
        near = mean.astype(np.float32).astype(np.float64)
        saved = {
            "save_mean": np.stack([mean.reshape(self.batch, -1), (mean - near).reshape(self.batch, -1)], axis=1),
            "save_inv_std": inv_std.reshape(self.batch, -1),
        }
        seen = saved["save_inv_std"].astype(np.float32).astype(np.float64).reshape(inv_std.shape)
        diff = oracle.groupnorm_gradients(diff_dst, src, weights, mean, seen)
        given = ({"weights": values[1]} if self.scale else {}) | ({"bias": values[2]} if self.shift else {})
        gradients = dict(zip(("diff_src", "diff_weights", "diff_bias"), diff))
        absent = {"diff_weights", "diff_bias"} - {f"diff_{name}" for name in given}
        geometry = {"rows": self.rows, "c": self.c, "groups": self.groups, "eps": self.eps}
        normal = {"dst": oracle.groupnorm(src, weights, bias, self.groups, eps)}
        few = self.rows * self.c // self.groups < 3  # every term of diff_src cancels, rounding is all that is left
        scales = {"diff_src": float(np.abs(diff_dst * weights).max() * seen.max())} if few else {}
        return [
            OpCall("groupnorm_forward", geometry, self.batch, {"src": values[0], **given}, normal | saved),
            OpCall("groupnorm_forward", geometry, self.batch, {"src": values[0], **given}, normal),
            OpCall(
                "groupnorm_backward", geometry, self.batch,
                {
                    "src": values[0], "diff_dst": values[3], **({"weights": values[1]} if self.scale else {}),
                    **{name: value.astype(np.float32) for name, value in saved.items()},
                },
                {name: value for name, value in gradients.items() if name not in absent}, scales=scales,
            ),
        ]  # fmt: skip

    def function(self) -> Function | None:
        if self.rows * self.c // self.groups < 3:
            return None  # the output hardly depends on the input: nothing to measure

        def gradient(diff_dst: Array, src: Array, weights: Array, _: Array) -> tuple[Array, ...]:
            found = oracle.GroupStatistics.of(src, self.groups)
            inv_std = 1.0 / np.sqrt(found.biased + self.eps)
            return oracle.groupnorm_gradients(diff_dst, src, weights, found.mean, inv_std)

        return Function(
            lambda src, weights, bias: oracle.groupnorm(src, weights, bias, self.groups, self.eps),
            gradient,
            tuple(wide(*self.draw()[:3])),
        )


@dataclass(frozen=True)
class Scale(Family):
    """Times one number, and times one for each channel."""

    batch: int
    rows: int
    c: int
    factor: float = 1.0

    def draw(self) -> tuple[NDArray, NDArray, NDArray]:
        """src, weights, diff_dst"""
        rng = self.rng()
        shape = self.batch, self.rows, self.c
        return self.normal(rng, *shape), self.normal(rng, self.c), self.normal(rng, *shape)

    def calls(self) -> list[OpCall]:
        values = self.draw()
        src, weights, diff_dst = wide(*values)
        geometry = {"rows": self.rows, "c": self.c}
        elements = {"count": self.rows * self.c, "slope": self.factor}
        return [
            OpCall("scale", elements, self.batch, {"src": values[0]}, {"dst": src * np.float32(self.factor)}),
            OpCall(
                "scale_channels", geometry, self.batch, {"src": values[0], "weights": values[1]}, {"dst": src * weights}
            ),
            OpCall(
                "scale_channels_backward_weights", geometry, self.batch, {"src": values[0], "diff_dst": values[2]},
                {"diff_weights": (diff_dst * src).sum(axis=(0, 1))},
            ),
        ]  # fmt: skip


@dataclass(frozen=True)
class Shift(Family):
    """Plus one number for each channel. `offset` moves the mean of the gradient away from zero."""

    batch: int
    rows: int
    c: int
    offset: float = 0.0

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        src, diff_dst = (self.normal(rng, self.batch, self.rows, self.c) + np.float32(self.offset) for _ in range(2))
        bias = self.normal(rng, self.c)
        exact, terms, gradient = wide(src, bias, diff_dst)
        geometry = {"rows": self.rows, "c": self.c}
        return [
            OpCall("add_channels", geometry, self.batch, {"src": src, "bias": bias}, {"dst": exact + terms}),
            OpCall(
                "add_channels_backward", geometry, self.batch, {"diff_dst": diff_dst},
                {"diff_bias": gradient.sum(axis=(0, 1))},
            ),
        ]  # fmt: skip


@dataclass(frozen=True)
class Multiply(Family):
    """Every row of a times the vector of its sample; with one row, two maps."""

    batch: int
    rows: int
    c: int

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        values = [self.normal(rng, self.batch, rows, self.c) for rows in (self.rows, 1, self.rows)]
        a, b, diff_dst = wide(*values)
        geometry = {"rows": self.rows, "c": self.c}
        return [
            OpCall("multiply", geometry, self.batch, {"a": values[0], "b": values[1]}, {"dst": a * b}),
            OpCall(
                "multiply_backward", geometry, self.batch, {"a": values[0], "diff_dst": values[2]},
                {"diff_b": (diff_dst * a).sum(axis=1, keepdims=True)},
            ),
        ]  # fmt: skip


@dataclass(frozen=True)
class Add(Family):
    batch: int
    count: int

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        a, b = self.normal(rng, self.batch, self.count), self.normal(rng, self.batch, self.count)
        geometry = {"count": self.count, "slope": 0.0}
        return [OpCall("add", geometry, self.batch, {"a": a, "b": b}, {"dst": a.astype(np.float64) + b})]


@dataclass(frozen=True)
class Transpose(Family):
    """The two moves between N C H W and N H W C."""

    batch: int
    h: int
    w: int
    c: int

    def calls(self) -> list[OpCall]:
        images = self.normal(self.rng(), self.batch, self.c, self.h, self.w)
        geometry = {"h": self.h, "w": self.w, "c": self.c}
        inside = to_nhwc(images)
        return [
            OpCall("nchw_to_nhwc", geometry, self.batch, {"src": images}, {"dst": inside}, exact=True),
            OpCall("nhwc_to_nchw", geometry, self.batch, {"src": inside}, {"dst": images}, exact=True),
        ]


@dataclass(frozen=True)
class CopyChannels(Family):
    """One slice into a concatenation; what lies beside it in dst must stay."""

    batch: int
    rows: int
    channels: int
    src_stride: int
    src_offset: int
    dst_stride: int
    dst_offset: int

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        src = self.normal(rng, self.batch * self.rows, self.src_stride)
        before = self.normal(rng, self.batch * self.rows, self.dst_stride)
        after = before.copy()
        after[:, self.dst_offset : self.dst_offset + self.channels] = src[
            :, self.src_offset : self.src_offset + self.channels
        ]
        geometry = {
            "rows": self.rows, "channels": self.channels, "src_stride": self.src_stride,
            "src_offset": self.src_offset, "dst_stride": self.dst_stride, "dst_offset": self.dst_offset,
        }  # fmt: skip
        inputs = {"src": src, "dst": before}
        return [OpCall("copy_channels", geometry, self.batch, inputs, {"dst": after}, exact=True)]


@dataclass(frozen=True)
class Loss(Family):
    """kind: cross_entropy, cross_entropy_soft, mean_squared_error or binary_cross_entropy."""

    kind: str
    batch: int
    classes: int
    label_smoothing: float = 0.0
    spread: float = 3.0
    gradient: bool = True

    def draw(self) -> tuple[NDArray, NDArray, NDArray]:
        """logits, labels, targets"""
        rng = self.rng()
        logits = self.normal(rng, self.batch, self.classes) * np.float32(self.spread)
        labels = rng.integers(0, self.classes, self.batch)
        weights = rng.random((self.batch, self.classes))
        if self.kind == "cross_entropy_soft":
            weights /= weights.sum(axis=1, keepdims=True)
        return logits, labels, weights.astype(np.float32)

    def evaluate(self, logits: Array) -> tuple[float, Array]:
        _, labels, targets = self.draw()
        smoothing = float(np.float32(self.label_smoothing))
        if self.kind == "cross_entropy":
            return oracle.cross_entropy(logits, oracle.one_hot(labels, self.classes), smoothing)
        if self.kind == "cross_entropy_soft":
            return oracle.cross_entropy(logits, targets.astype(np.float64), smoothing)
        function = {
            "mean_squared_error": oracle.mean_squared_error, "binary_cross_entropy": oracle.binary_cross_entropy
        }[self.kind]  # fmt: skip
        return function(logits, targets.astype(np.float64))

    def calls(self) -> list[OpCall]:
        logits, labels, targets = self.draw()
        loss, gradient = self.evaluate(*wide(logits))
        source = "src" if self.kind == "mean_squared_error" else "logits"
        truth = {"labels": labels} if self.kind == "cross_entropy" else {"targets": targets}
        geometry = {"classes": self.classes, "label_smoothing": self.label_smoothing}
        return [
            OpCall(
                self.kind, geometry, self.batch, {source: logits, **truth},
                {f"diff_{source}": gradient} if self.gradient else {}, loss=loss,
            )
        ]  # fmt: skip

    def function(self) -> Function:
        return Function(
            lambda logits: np.array(self.evaluate(logits)[0]),
            lambda diff, logits: (diff * self.evaluate(logits)[1],),
            tuple(wide(self.draw()[0])),
        )


@dataclass(frozen=True)
class PixelLoss(Family):
    """pixel_cross_entropy; `share` of the pixels have the label `ignored`."""

    batch: int
    rows: int
    classes: int
    ignored: int = -1
    share: float = 0.0
    label_smoothing: float = 0.0
    spread: float = 3.0
    gradient: bool = True

    def draw(self) -> tuple[NDArray, NDArray]:
        """logits, labels"""
        rng = self.rng()
        logits = self.normal(rng, self.batch, self.rows, self.classes) * np.float32(self.spread)
        labels = rng.integers(0, self.classes, (self.batch, self.rows))
        return logits, np.where(rng.random(labels.shape) < self.share, self.ignored, labels)

    def evaluate(self, logits: Array) -> tuple[float, Array]:
        labels = self.draw()[1].reshape(-1)
        smoothing = float(np.float32(self.label_smoothing))
        loss, gradient = oracle.pixel_cross_entropy(logits.reshape(len(labels), -1), labels, self.ignored, smoothing)
        return loss, gradient.reshape(logits.shape)

    def calls(self) -> list[OpCall]:
        logits, labels = self.draw()
        loss, gradient = self.evaluate(*wide(logits))
        geometry = {
            "rows": self.rows, "classes": self.classes, "ignored": self.ignored, "label_smoothing": self.label_smoothing
        }  # fmt: skip
        outputs = {"diff_logits": gradient} if self.gradient else {}
        inputs = {"logits": logits, "labels": labels}
        return [OpCall("pixel_cross_entropy", geometry, self.batch, inputs, outputs, loss=loss)]

    def function(self) -> Function:
        return Function(
            lambda logits: np.array(self.evaluate(logits)[0]),
            lambda diff, logits: (diff * self.evaluate(logits)[1],),
            tuple(wide(self.draw()[0])),
        )


@dataclass(frozen=True)
class Checks(Family):
    """Sound values: the ops that could stop a program let it pass. What they stop is in `test_checks.py`."""

    batch: int
    count: int

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        labels = rng.integers(0, self.count, self.batch)
        return [
            OpCall(
                "check_finite", {"count": self.count, "slope": 0.0}, self.batch,
                {"src": self.normal(rng, self.batch, self.count)}, {},
            ),
            OpCall(
                "check_labels", {"classes": self.count, "label_smoothing": 0.0}, self.batch, {"labels": labels}, {}
            ),
            OpCall(
                "check_gradients", optimizer_geometry(self.count), self.batch,
                {"gradients": self.normal(rng, self.count)}, {},
            ),
        ]  # fmt: skip


def optimizer_geometry(count: int, segments: int = 0, **settings: float) -> dict[str, Any]:
    defaults = {"momentum": 0.0, "nesterov": 0.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "max_norm": 0.0,
                "momentum_decay": 0.0, "keras": 0.0}  # fmt: skip
    return {"count": count, "segments": segments, **defaults, **settings}


@dataclass(frozen=True)
class Clip(Family):
    count: int
    max_norm: float

    def calls(self) -> list[OpCall]:
        gradients = self.normal(self.rng(), self.count)
        expected, norm = oracle.clipped(*wide(gradients), float(np.float32(self.max_norm)))
        geometry = optimizer_geometry(self.count, max_norm=self.max_norm)
        return [
            OpCall(
                "clip_gradients", geometry, 1, {"gradients": gradients}, {"gradients": expected}, gradient_norm=norm
            )
        ]  # fmt: skip


@dataclass(frozen=True)
class Segment:
    count: int
    decay: Decay = Decay()


def segment_table(segments: tuple[Segment, ...]) -> NDArray:
    table = np.zeros(len(segments), SEGMENT_DTYPE)
    offset = 0
    for row, segment in zip(table, segments):
        row["offset"], row["count"] = offset, segment.count
        row["l2"], row["weight_decay"] = segment.decay.l2, segment.decay.weight_decay
        row["lr_scale"] = segment.decay.lr_scale
        offset += segment.count
    return table


def float32_settings(decay: Decay) -> Decay:
    """The settings as the table of the core holds them."""
    return Decay(*(float(np.float32(value)) for value in (decay.l2, decay.weight_decay, decay.lr_scale)))


@dataclass(frozen=True)
class Optimizer(Family):
    """One step from random states; `test_optimizers.py` takes several."""

    segments: tuple[Segment, ...]
    learning_rate: float = 0.05

    @property
    def count(self) -> int:
        return sum(segment.count for segment in self.segments)

    def per_segment(self, step: Callable[[slice, Decay], tuple[Array, ...]]) -> tuple[Array, ...]:
        """Concatenates what `step` makes of every segment."""
        results, start = [], 0
        for segment in self.segments:
            results.append(step(slice(start, start + segment.count), float32_settings(segment.decay)))
            start += segment.count
        return tuple(np.concatenate(column) for column in zip(*results))


@dataclass(frozen=True)
class SGD(Optimizer):
    momentum: float = 0.0
    nesterov: bool = False

    @property
    def velocity(self) -> bool:
        """Whether there is one: without momentum the op takes none."""
        return self.momentum != 0.0

    def advance(self, state: dict[str, Array], gradients: Array, lr: float, step: int) -> dict[str, Array]:
        momentum = float(np.float32(self.momentum))

        def one(part: slice, decay: Decay) -> tuple[Array, ...]:
            velocity = state["velocity"][part] if self.velocity else np.zeros(part.stop - part.start)
            return oracle.sgd(state["parameters"][part], velocity, gradients[part], lr, momentum, self.nesterov, decay)

        parameters, velocity = self.per_segment(one)
        return {"parameters": parameters} | ({"velocity": velocity} if self.velocity else {})

    def geometry(self) -> dict[str, Any]:
        settings = {"momentum": self.momentum, "nesterov": float(self.nesterov)}
        return optimizer_geometry(self.count, len(self.segments), **settings)

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        state = {"parameters": self.normal(rng, self.count)}
        if self.velocity:
            state["velocity"] = self.normal(rng, self.count)
        gradients = self.normal(rng, self.count)
        return [one_step("sgd", self, state, gradients, step=0)]


@dataclass(frozen=True)
class Adam(Optimizer):
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    step: int = 0

    def advance(self, state: dict[str, Array], gradients: Array, lr: float, step: int) -> dict[str, Array]:
        betas = (float(np.float32(self.betas[0])), float(np.float32(self.betas[1])))

        def one(part: slice, decay: Decay) -> tuple[Array, ...]:
            moments = state["first_moment"][part], state["second_moment"][part]
            parameters, after = oracle.adam(
                state["parameters"][part], moments, gradients[part], lr, step, betas, float(np.float32(self.eps)), decay
            )
            return parameters, *after

        return dict(zip(("parameters", "first_moment", "second_moment"), self.per_segment(one)))

    def geometry(self) -> dict[str, Any]:
        settings = {"beta1": self.betas[0], "beta2": self.betas[1], "eps": self.eps}
        return optimizer_geometry(self.count, len(self.segments), **settings)

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        state = {
            "parameters": self.normal(rng, self.count),
            "first_moment": self.normal(rng, self.count) * np.float32(0.1),
            "second_moment": rng.uniform(0.01, 1.0, self.count).astype(np.float32),
        }
        return [one_step("adam", self, state, self.normal(rng, self.count), step=self.step)]


@dataclass(frozen=True)
class NAdam(Adam):
    momentum_decay: float = 0.004

    def advance(self, state: dict[str, Array], gradients: Array, lr: float, step: int) -> dict[str, Array]:
        betas = (float(np.float32(self.betas[0])), float(np.float32(self.betas[1])))

        def one(part: slice, decay: Decay) -> tuple[Array, ...]:
            moments = state["first_moment"][part], state["second_moment"][part]
            parameters, after = oracle.nadam(
                state["parameters"][part], moments, gradients[part], lr, step, betas, float(np.float32(self.eps)),
                float(np.float32(self.momentum_decay)), decay,
            )  # fmt: skip
            return parameters, *after

        return dict(zip(("parameters", "first_moment", "second_moment"), self.per_segment(one)))

    def geometry(self) -> dict[str, Any]:
        return {**super().geometry(), "momentum_decay": self.momentum_decay}

    def calls(self) -> list[OpCall]:
        (call,) = super().calls()
        expected = self.advance(
            {name: call.inputs[name].astype(np.float64) for name in ("parameters", "first_moment", "second_moment")},
            call.inputs["gradients"].astype(np.float64), self.learning_rate, self.step,
        )  # fmt: skip
        return [replace(call, op="nadam", expected=expected)]


@dataclass(frozen=True)
class RMSprop(Optimizer):
    rho: float = 0.9
    momentum: float = 0.0
    eps: float = 1e-7
    keras: bool = False

    @property
    def velocity(self) -> bool:
        """Whether there is one: without momentum the op takes none."""
        return self.momentum != 0.0

    def advance(self, state: dict[str, Array], gradients: Array, lr: float, step: int) -> dict[str, Array]:
        rho, momentum, eps = (float(np.float32(value)) for value in (self.rho, self.momentum, self.eps))

        def one(part: slice, decay: Decay) -> tuple[Array, ...]:
            velocity = state["velocity"][part] if self.velocity else np.zeros(part.stop - part.start)
            moments = state["second_moment"][part], velocity
            return oracle.rmsprop(
                state["parameters"][part], moments, gradients[part], lr, rho, momentum, eps, self.keras, decay
            )

        after = dict(zip(("parameters", "second_moment", "velocity"), self.per_segment(one)))
        return {name: after[name] for name in state}

    def geometry(self) -> dict[str, Any]:
        settings = {"momentum": self.momentum, "beta2": self.rho, "eps": self.eps, "keras": float(self.keras)}
        return optimizer_geometry(self.count, len(self.segments), **settings)

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        state = {
            "parameters": self.normal(rng, self.count),
            "second_moment": rng.uniform(0.01, 1.0, self.count).astype(np.float32),
        }
        if self.velocity:
            state["velocity"] = self.normal(rng, self.count)
        return [one_step("rmsprop", self, state, self.normal(rng, self.count), step=0)]


@dataclass(frozen=True)
class Averages(Family):
    """average, lookahead and accumulate_gradients of `count` elements, with the settings of one run."""

    count: int
    keep: float = 0.75
    first_sample: int = 3
    share: float = 0.25
    more: bool = False

    def calls(self) -> list[OpCall]:
        rng = self.rng()
        slow, fast, sums, gradients = (self.normal(rng, self.count) for _ in range(4))
        exact_slow, exact_fast, exact_sums, exact_gradients = wide(slow, fast, sums, gradients)
        mixed = slow if self.keep < 0.0 else self.keep * exact_slow + (1.0 - self.keep) * exact_fast
        added = self.share * exact_gradients + (exact_sums if self.first_sample else 0.0)
        run = {"average": self.keep, "first_sample": self.first_sample, "share": self.share, "more": self.more}
        geometry = optimizer_geometry(self.count)
        averages, both = {"average": slow, "parameters": fast}, {"gradients": gradients, "sums": sums}
        after = {"gradients": gradients if self.more else added, "sums": added}
        return [
            OpCall("average", geometry, 1, averages, {"average": mixed}, run=run),
            OpCall(
                "lookahead", geometry, 1, averages,
                {"average": mixed, "parameters": fast if self.keep < 0.0 else mixed}, run=run,
            ),
            OpCall("accumulate_gradients", geometry, 1, both, after, run=run),
        ]  # fmt: skip


def one_step(
    op: str,
    case: SGD | Adam | RMSprop,
    state: dict[str, NDArray[np.float32]],
    gradients: NDArray[np.float32],
    step: int,
) -> OpCall:
    """The call of one optimiser step from `state`."""
    exact = {name: value.astype(np.float64) for name, value in state.items()}
    expected = case.advance(exact, gradients.astype(np.float64), case.learning_rate, step)
    inputs = {**state, "gradients": gradients, "segments": segment_table(case.segments)}
    return OpCall(op, case.geometry(), 1, inputs, expected, step=step, learning_rate=case.learning_rate)
