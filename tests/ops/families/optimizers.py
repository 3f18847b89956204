"""Clipping, optimisers and averages of weights."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from cnncore import SEGMENT_DTYPE
from numpy.typing import NDArray

from tests.ops import oracle
from tests.ops.families.base import Family, OpCall, wide
from tests.ops.oracle import Array, Decay


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
