"""Convolutions, direct and by Winograd, and linear layers."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.ops import oracle
from tests.ops.families.base import Family, Function, OpCall, wide
from tests.ops.families.pooling import SAME_POSITION
from tests.ops.layouts import filter_panels, panels, to_nhwc, winograd_panels
from tests.ops.oracle import Array, Convolution, Pooling


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
