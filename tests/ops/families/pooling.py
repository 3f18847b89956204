"""Pools."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.ops import oracle
from tests.ops.families.base import Family, Function, OpCall, wide
from tests.ops.layouts import to_nhwc
from tests.ops.oracle import Array, Pooling

SAME_POSITION = 1e-4  # a maximum counts as clear when it leads by this share of the largest value


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
