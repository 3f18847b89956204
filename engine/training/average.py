"""Averages of the weights over the steps of a run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engine.arguments import assign, integer, number, real, truth
from engine.errors import UserError, unknown
from engine.plan.request import AVERAGES

RESTS = -1.0  # in place of a decay: the average stays as it is


@dataclass(frozen=True)
class Average:
    """Averages of all weights and running statistics, average = d * average + (1 - d) * now, from the first ones on.

    They are what is evaluated, saved and left in the network; training goes on from the live weights, which
    last.safetensors keeps for a resume. Who takes steps by hand sees the live ones, and the averages within `with
    trainer.session.averaged():`.

    kind    ema: the live weights stay as they are (Polyak & Juditsky 1992, exponentially weighted); lookahead: after
            each update they become the average (Zhang et al. 2019, whose step size alpha is 1 - d)
    decay   d
    every   steps between updates
    warmup  update n (from 1) has at most the decay (1 + n) / (10 + n), so that the first weights are soon forgotten
    power   the decay grows as decay * (t / T)^power over the T steps of the run, t counted from 1, whose `epochs` a
            resume can then not change. The CIFAR-10 recipe airbench94 (Jordan 2024): kind lookahead, decay 0.95^5 =
            0.7737809375, every 5, power 3
    """

    kind: Literal["ema", "lookahead"] = "ema"
    decay: float = 0.999
    every: int = 1
    warmup: bool = False
    power: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in AVERAGES:
            raise unknown("average: kind", str(self.kind), AVERAGES)
        assign(
            self,
            decay=number("average", "decay", self.decay, 0.0, 1.0, below=True),
            every=integer("average", "every", self.every, 1),
            warmup=truth("average", "warmup", self.warmup),
            power=real("average", "power", self.power, 0.0, math.inf),
        )

    def describe(self, total: int | None) -> dict[str, Any]:
        """What decides the averages of a run of `total` steps, in JSON's own types: its length, too, with a power."""
        return {"name": type(self).__name__, **asdict(self), **({"total": total} if self.power else {})}

    def at(self, step: int, total: int | None) -> float:
        """The decay of the update behind step `step` (from 0) of `total`; RESTS where there is none."""
        done, rest = divmod(step + 1, self.every)
        if rest:
            return RESTS
        decay = self.decay
        if self.power:
            if total is None:
                raise UserError("average: a power needs the length of a run of Trainer.fit")
            decay *= min((step + 1) / total, 1.0) ** self.power
        return min(decay, (1 + done) / (10 + done)) if self.warmup else decay
