"""Batch and group normalisation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.ops import oracle
from tests.ops.families.base import Family, Function, OpCall, wide
from tests.ops.families.pooling import SAME_POSITION
from tests.ops.oracle import Array


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
        calls = [
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
            *self.split_calls(chosen, saved, expected, doubtful, backward, gradients, diff_dst, mask, scales),
        ]  # fmt: skip
        return [*calls, *self.with_addend(calls, plain)]

    def with_addend(self, calls: list[OpCall], plain: Array) -> list[OpCall]:
        """The forward ops that train, with a sum behind them: only dst is another."""
        if self.pool:
            return []
        addend = self.normal(self.rng(), *plain.shape)
        dst = oracle.relu(plain + addend) if self.relu else plain + addend
        return [
            replace(call, inputs={**call.inputs, "addend": addend}, expected={**call.expected, "dst": dst})
            for call in calls
            if call.op in ("batchnorm_forward_training", "batchnorm_normalize")
        ]

    def split_calls(
        self, chosen: Callable[..., dict[str, NDArray]], saved: dict[str, Array], expected: dict[str, NDArray],
        doubtful: dict[str, NDArray], backward: dict[str, NDArray], gradients: dict[str, Array], diff_dst: Array,
        mask: NDArray, scales: dict[str, float],
    ) -> list[OpCall]:  # fmt: skip
        """The same in two ops each: over a whole batch, which is a window that is first and last."""
        src, weights, _, mean, var, _ = wide(*self.draw().values())
        momentum, batch = float(np.float32(self.momentum)), oracle.BatchStatistics.of(src)
        none = np.zeros(self.c)
        before = {name: np.full((2, self.c), 7.0, np.float32) for name in ("save_mean", "squares", "sums", "products")}
        mean32, left = backward["save_mean"].astype(np.float64)
        inv_std = backward["save_inv_std"].astype(np.float64)
        rows, sums = len(src), diff_dst.sum(axis=0)
        products = (diff_dst * (src - mean32 - left)).sum(axis=0)
        slopes = -weights * inv_std**3 * products / rows
        factors = np.stack([slopes, -weights * inv_std * sums / rows - slopes * left])
        slope, rest = factors.astype(np.float32).astype(np.float64)
        diff_src = weights * inv_std * diff_dst + (src - mean32) * slope + rest
        statistics = {name: backward[name] for name in ("save_mean", "save_inv_std")}
        given = {**backward, "factors": factors.astype(np.float32)}
        learned = {name: value for name, value in gradients.items() if name != "diff_src"}
        return [
            OpCall(
                "batchnorm_moments", self.geometry(), self.batch,
                {**chosen("src", "running_mean", "running_var"), "save_mean": before["save_mean"],
                 "squares": before["squares"]},
                {
                    **saved, "squares": np.stack([batch.biased * rows, none]),
                    "running_mean": (1.0 - momentum) * mean + momentum * batch.mean,
                    "running_var": (1.0 - momentum) * var + momentum * batch.unbiased,
                },
            ),
            OpCall(
                "batchnorm_normalize", self.geometry(), self.batch, {**chosen("src", "weights", "bias"), **statistics},
                expected, doubtful=doubtful,
            ),
            OpCall(
                "batchnorm_sums", self.geometry(), self.batch,
                {**backward, "sums": before["sums"], "products": before["products"]},
                {**learned, "sums": np.stack([sums, none]), "products": np.stack([products, none]), "factors": factors},
            ),
            OpCall(
                "batchnorm_data", self.geometry(), self.batch, given, {"diff_src": diff_src}, scales=scales,
            ),
            OpCall(
                "batchnorm_data", self.geometry(), self.batch, {**given, "mask": mask},
                {"diff_src": np.where(mask > 0, diff_src, 0.0)}, scales=scales,
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
