"""Optimisers: their arguments and the settings that each parameter gets. The update itself is one op in C."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from engine.arguments import assign, instance, is_real, number, truth
from engine.errors import UserError, unknown

L2_KINDS = ("conv", "linear")
ROLES = ("weights", "bias", "norm", "scale", "shift")  # of parameters; norm stands for scale and shift
LATER = {"later": True}  # of a field that came later: a run's record names it only where it is set
FORMS = ("pytorch", "keras")


@dataclass(frozen=True)
class Optimizer:
    """Base of the optimisers. `op` is the core's op, `states` the names of the arrays that it keeps.

    lr     learning rate
    rates  factors on the learning rate by role of a parameter: weights and bias (of layers that are no normalisation),
           norm, or of it scale and shift alone; learning_rates of a run (by layers) multiply them
    decay  factors on weight_decay by role, likewise: {bias: 0, norm: 0} decays the weights alone
    """

    lr: float = 0.01
    rates: Mapping[str, float] | None = field(default=None, kw_only=True, metadata=LATER)
    decay: Mapping[str, float] | None = field(default=None, kw_only=True, metadata=LATER)

    op: ClassVar[str] = ""

    @property
    def states(self) -> tuple[str, ...]:
        return ()

    @property
    def largest_rate(self) -> float:
        """The largest of the factors by role, 1 among them."""
        return max([1.0, *(self.rates or {}).values()])

    def settings(self) -> dict[str, float]:
        """Fields of cnn_optimizer_geometry that differ from zero."""
        return {}

    def rate_of(self, kind: str, role: str) -> float:
        """Factor on the rate of the parameters of a layer kind ("conv", ...) and role ("weights", "bias", ...)."""
        return _by_role(self.rates, kind, role)

    def decay_of(self, kind: str, role: str) -> tuple[float, float]:
        """(l2, weight_decay) of the parameters of a layer kind and role."""
        weight_decay = getattr(self, "weight_decay", 0.0) * _by_role(self.decay, kind, role)
        per_kind: Mapping[str, float] = getattr(self, "l2", None) or {}
        l2 = 2.0 * per_kind.get(kind, 0.0) if role == "weights" else 0.0
        return (l2, weight_decay) if getattr(self, "decoupled", False) else (weight_decay + l2, 0.0)


@dataclass(frozen=True)
class SGD(Optimizer):
    """v = momentum*v + g; p -= lr * (g + momentum*v if nesterov else v). PyTorch's form.

    lr            learning rate
    momentum      0 … 1
    nesterov      look ahead; needs a momentum
    weight_decay  adds weight_decay * p to the gradient of every parameter
    decoupled     weight_decay acts on the parameters instead: p *= 1 - lr * weight_decay (Loshchilov & Hutter 2019)
    l2            maps a layer kind (conv, linear) to Keras's lambda: adds 2 * lambda * w to the gradient of the weights
                  of those layers, not of their biases
    """

    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    l2: Mapping[str, float] | None = None
    decoupled: bool = field(default=False, kw_only=True, metadata=LATER)

    op: ClassVar[str] = "sgd"

    def __post_init__(self) -> None:
        _check(self, momentum=(self.momentum, 0.0, 1.0))
        assign(self, nesterov=truth("SGD", "nesterov", self.nesterov))
        assign(self, decoupled=truth("SGD", "decoupled", self.decoupled))
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

    @property
    def decoupled(self) -> bool:
        return True


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016), in PyTorch's form: the momentum of step t (from 1) is
    beta1 * (1 - 0.96^(t * momentum_decay) / 2). Keras's Nadam has momentum_decay 1 and eps 1e-7.

    lr              learning rate
    betas           decay rates of the two moments
    eps             added to the root of the second moment
    weight_decay    adds to the gradient, as in SGD
    l2              adds to the gradient, as in SGD
    momentum_decay  how fast the momentum rises to beta1, 0 … 1
    decoupled       weight_decay acts on the parameters instead, as in SGD
    """

    lr: float = 0.002
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    l2: Mapping[str, float] | None = None
    momentum_decay: float = 0.004
    decoupled: bool = False

    op: ClassVar[str] = "nadam"

    def __post_init__(self) -> None:
        _check_adam(self)
        assign(self, momentum_decay=number("NAdam", "momentum_decay", self.momentum_decay, 0.0, 1.0))
        assign(self, decoupled=truth("NAdam", "decoupled", self.decoupled))

    @property
    def states(self) -> tuple[str, ...]:
        return "first_moment", "second_moment"

    def settings(self) -> dict[str, float]:
        betas = {"beta1": self.betas[0], "beta2": self.betas[1]}
        return {**betas, "eps": self.eps, "momentum_decay": self.momentum_decay}


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Gradients divided by the root of their mean square s = rho*s + (1-rho)*g^2 (Tieleman & Hinton 2012).

    In PyTorch's form v = momentum*v + g / (sqrt(s) + eps) and p -= lr*v; in Keras's v = momentum*v + lr*g / sqrt(s+eps)
    and p -= v. The defaults are Keras's; PyTorch's are lr 0.01, rho (alpha) 0.99, eps 1e-8. The mean of the gradients
    is not taken off (centered, in both).

    lr            learning rate
    rho           decay rate of the mean square
    momentum      0 … 1
    eps           keeps what is divided by above 0
    weight_decay  adds to the gradient, as in SGD
    l2            adds to the gradient, as in SGD
    form          pytorch or keras
    decoupled     weight_decay acts on the parameters instead, as in SGD
    """

    lr: float = 0.001
    rho: float = 0.9
    momentum: float = 0.0
    eps: float = 1e-7
    weight_decay: float = 0.0
    l2: Mapping[str, float] | None = None
    form: str = "pytorch"
    decoupled: bool = False

    op: ClassVar[str] = "rmsprop"

    def __post_init__(self) -> None:
        _check_eps(self)
        _check(self, momentum=(self.momentum, 0.0, 1.0), eps=(self.eps, 0.0, math.inf))
        assign(self, rho=number("RMSprop", "rho", self.rho, 0.0, 1.0, below=True))
        assign(self, decoupled=truth("RMSprop", "decoupled", self.decoupled))
        if self.form not in FORMS:
            raise unknown("RMSprop: form", self.form, FORMS)

    @property
    def states(self) -> tuple[str, ...]:
        return ("second_moment", "velocity") if self.momentum else ("second_moment",)

    def settings(self) -> dict[str, float]:
        keras = float(self.form == "keras")
        return {"momentum": self.momentum, "beta2": self.rho, "eps": self.eps, "keras": keras}


def checked_optimizer(owner: str, value: Any) -> Optimizer:
    """`value`, if it is an optimiser; UserError for anything else: a name would leave its learning rate open."""
    what = "an optimizer such as Adam(lr=0.001)"
    return instance(owner, "optimizer", value, Optimizer, what, good=bool(getattr(value, "op", None)))


OPTIMIZERS: Mapping[str, type[Optimizer]] = {each.__name__: each for each in (SGD, Adam, AdamW, NAdam, RMSprop)}
"""By the name that a configuration uses."""


def _by_role(factors: Mapping[str, float] | None, kind: str, role: str) -> float:
    """The factor of a parameter; of a normalisation's, its own role counts before `norm`."""
    if factors is None:
        return 1.0
    if kind != "norm":
        return factors.get("bias" if role == "bias" else "weights", 1.0)
    own = "shift" if role == "bias" else "scale"
    return factors.get(own, factors.get("norm", 1.0))


def _check_adam(optimizer: Adam | AdamW | NAdam) -> None:
    name = type(optimizer).__name__
    if not isinstance(optimizer.betas, (tuple, list)) or len(optimizer.betas) != 2:
        raise UserError(f"{name}: betas must be two numbers, not {optimizer.betas!r}")
    assign(optimizer, betas=tuple(number(name, "betas", beta, 0.0, 1.0, below=True) for beta in optimizer.betas))
    _check_eps(optimizer)
    _check(optimizer, eps=(optimizer.eps, 0.0, math.inf))


def _check_eps(optimizer: Adam | AdamW | NAdam | RMSprop) -> None:
    if is_real(optimizer.eps) and optimizer.eps == 0.0:
        name = type(optimizer).__name__
        raise UserError(f"{name}: eps must be above 0: a weight whose gradient stays zero would become 0/0")


def _check(optimizer: SGD | Adam | AdamW | NAdam | RMSprop, **bounded: tuple[Any, float, float]) -> None:
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
    for key, above in (("rates", True), ("decay", False)):
        assign(optimizer, **{key: _factors(name, key, getattr(optimizer, key), above)})
    for role, factor in (optimizer.decay or {}).items():
        number(name, f"weight_decay * decay[{role!r}]", optimizer.weight_decay * factor, 0.0, math.inf)


def _factors(name: str, key: str, given: Any, above: bool) -> dict[str, float] | None:
    """Factors by role, checked; a rate of 0 is none, since `freeze` says that better."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise UserError(f"{name}: {key} maps roles of parameters to factors, such as {{'norm': 2}}; got {given!r}")
    for role in given:
        if role not in ROLES:
            raise unknown(f"{name}: {key}: role", str(role), ROLES)
    return {role: number(name, f"{key}[{role!r}]", each, 0.0, math.inf, above=above) for role, each in given.items()}
