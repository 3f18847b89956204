"""Activations, softmax and dropout."""

from dataclasses import dataclass

import cnncore
import numpy as np
from numpy.typing import NDArray

from tests.ops import oracle
from tests.ops.families.base import Family, Function, OpCall, wide
from tests.ops.oracle import Array


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
