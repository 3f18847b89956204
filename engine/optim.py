"""Optimisers: their arguments and the settings that each parameter gets. The update itself is one op in C."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from engine.arguments import assign, instance, is_real, number, truth
from engine.errors import UserError

L2_KINDS = ("conv", "linear")


@dataclass(frozen=True)
class Optimizer:
    """Base of the optimisers. `op` is the core's op, `states` the names of the arrays that it keeps."""

    lr: float = 0.01

    op: ClassVar[str] = ""

    @property
    def states(self) -> tuple[str, ...]:
        return ()

    def settings(self) -> dict[str, float]:
        """Fields of cnn_optimizer_geometry that differ from zero."""
        return {}

    def decay(self, kind: str, role: str) -> tuple[float, float]:
        """(l2, weight_decay) of the parameters of a layer kind ("conv", ...) and role ("weights", "bias", ...)."""
        l2 = getattr(self, "weight_decay", 0.0)
        per_kind: Mapping[str, float] = getattr(self, "l2", None) or {}
        return (l2 + 2.0 * per_kind.get(kind, 0.0) if role == "weights" else l2), 0.0


@dataclass(frozen=True)
class SGD(Optimizer):
    """v = momentum*v + g; p -= lr * (g + momentum*v if nesterov else v). PyTorch's form.

    lr            learning rate
    momentum      0 … 1
    nesterov      look ahead; needs a momentum
    weight_decay  adds weight_decay * p to the gradient of every parameter
    l2            maps a layer kind (conv, linear) to Keras's lambda: adds 2 * lambda * w to the gradient of the weights
                  of those layers, not of their biases
    """

    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    l2: Mapping[str, float] | None = None

    op: ClassVar[str] = "sgd"

    def __post_init__(self) -> None:
        _check(self, momentum=(self.momentum, 0.0, 1.0))
        assign(self, nesterov=truth("SGD", "nesterov", self.nesterov))
        if self.nesterov and self.momentum == 0.0:
            raise UserError("SGD: nesterov needs a momentum above 0")

    @property
    def states(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def settings(self) -> dict[str, float]:
        return {"momentum": self.momentum, "nesterov": float(self.nesterov)}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Kingma & Ba 2015, Algorithm 1.

    lr            learning rate
    betas         decay rates of the two moments
    eps           added to the root of the second moment
    weight_decay  adds to the gradient, as in SGD
    l2            adds to the gradient, as in SGD
    """

    lr: float = 0.001
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    l2: Mapping[str, float] | None = None

    op: ClassVar[str] = "adam"

    def __post_init__(self) -> None:
        _check_adam(self)

    @property
    def states(self) -> tuple[str, ...]:
        return "first_moment", "second_moment"

    def settings(self) -> dict[str, float]:
        return {"beta1": self.betas[0], "beta2": self.betas[1], "eps": self.eps}


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled decay (Loshchilov & Hutter 2019).

    lr            learning rate
    betas         decay rates of the two moments
    eps           added to the root of the second moment
    weight_decay  every parameter p *= 1 - lr * weight_decay
    l2            adds to the gradient, as in SGD
    """

    lr: float = 0.001
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    l2: Mapping[str, float] | None = None

    op: ClassVar[str] = "adam"

    def __post_init__(self) -> None:
        _check_adam(self)

    @property
    def states(self) -> tuple[str, ...]:
        return "first_moment", "second_moment"

    def settings(self) -> dict[str, float]:
        return {"beta1": self.betas[0], "beta2": self.betas[1], "eps": self.eps}

    def decay(self, kind: str, role: str) -> tuple[float, float]:
        l2 = 2.0 * (self.l2 or {}).get(kind, 0.0) if role == "weights" else 0.0
        return l2, self.weight_decay


def checked_optimizer(owner: str, value: Any) -> Optimizer:
    """`value`, if it is an optimiser; UserError for anything else: a name would leave its learning rate open."""
    what = "an optimizer such as Adam(lr=0.001)"
    return instance(owner, "optimizer", value, Optimizer, what, good=bool(getattr(value, "op", None)))


OPTIMIZERS: Mapping[str, type[Optimizer]] = {each.__name__: each for each in (SGD, Adam, AdamW)}
"""By the name that a configuration uses."""


def _check_adam(optimizer: Adam | AdamW) -> None:
    name = type(optimizer).__name__
    if not isinstance(optimizer.betas, (tuple, list)) or len(optimizer.betas) != 2:
        raise UserError(f"{name}: betas must be two numbers, not {optimizer.betas!r}")
    assign(optimizer, betas=tuple(number(name, "betas", beta, 0.0, 1.0, below=True) for beta in optimizer.betas))
    if is_real(optimizer.eps) and optimizer.eps == 0.0:
        raise UserError(f"{name}: eps must be above 0: a weight whose gradient stays zero would become 0/0")
    _check(optimizer, eps=(optimizer.eps, 0.0, math.inf))


def _check(optimizer: SGD | Adam | AdamW, **bounded: tuple[Any, float, float]) -> None:
    name = type(optimizer).__name__
    bounded |= {"lr": (optimizer.lr, 0.0, math.inf), "weight_decay": (optimizer.weight_decay, 0.0, math.inf)}
    values = {key: number(name, key, *bounds) for key, bounds in bounded.items()}
    l2 = optimizer.l2
    if l2 is not None:
        if not isinstance(l2, Mapping):
            raise UserError(f"{name}: l2 maps layer kinds to numbers, such as {{'conv': 0.001}}; got {l2!r}")
        factors = {}
        for kind, given in l2.items():
            if kind not in L2_KINDS:
                raise UserError(f"{name}: l2 knows the layer kinds {', '.join(L2_KINDS)}, not {kind!r}")
            factor = factors[kind] = number(name, f"l2[{kind!r}]", given, 0.0, math.inf)
            number(name, f"weight_decay + 2 * l2[{kind!r}]", values["weight_decay"] + 2.0 * factor, 0.0, math.inf)
        l2 = factors
    assign(optimizer, l2=l2, **values)
