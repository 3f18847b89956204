"""Normalisation: of a batch by channel, and of a sample by groups of channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from engine.arguments import assign, number, truth
from engine.errors import UserError, warn
from engine.layers.base import Layer
from engine.program.code import Builder, Tensor, Value
from engine.program.limits import whole
from engine.program.shapes import Shape, spatial
from engine.program.slots import ParameterSpec


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Normalise every channel over the batch (Ioffe & Szegedy 2015, Algorithm 1), after a Conv2D or a Linear.

    Training: the batch's mean and biased variance; running = (1 - momentum) * running + momentum * batch, with the
    unbiased variance (PyTorch's form). Inference: the running statistics. Parameters weights and bias, buffers
    running_mean and running_var, all (channels,).

    Without `scale` there are no weights: every channel's factor stays 1. Without `shift` there is no bias. PyTorch's
    affine = False is both.

    `momentum` is the weight of the new batch, as in PyTorch; Keras's is that of the old value, so that its 0.99 is 0.01
    here. One above 0.5 draws a warning. After n updates (1 - momentum)^n of the first values are left: a run at whose
    end that is more than a third, and with the default would not be, warns too; `engine.calibrate` renews the
    statistics.

    A frozen one (see engine.Trainer, `freeze`) normalises by its running statistics in training too and leaves
    them as they are, as Keras does with trainable = False (PyTorch would need eval() on the layer).

    In training a channel needs two values or more (batch * H * W): one has no variance, and is refused. `Trainer.fit`
    says so before it starts where the last batch of an epoch would be such a one; drop_last leaves that batch out.
    """

    channels: int
    eps: float = 1e-5
    momentum: float = 0.1
    scale: bool = True
    shift: bool = True

    kind: ClassVar[str] = "norm"

    def __post_init__(self) -> None:
        assign(
            self,
            channels=whole("BatchNorm", "channels", self.channels, "norm", "c"),
            eps=number("BatchNorm", "eps", self.eps, 0.0, float("inf")),
            momentum=number("BatchNorm", "momentum", self.momentum, 0.0, 1.0),
            scale=truth("BatchNorm", "scale", self.scale),
            shift=truth("BatchNorm", "shift", self.shift),
        )
        if self.momentum > 0.5:
            warn(
                f"BatchNorm: momentum {self.momentum:g} is the weight of the new batch here, as in PyTorch, and leaves "
                f"little of the batches before in the running statistics; Keras's {self.momentum:g} is "
                f"{1.0 - self.momentum:g} here",
            )

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        _check_channels("BatchNorm", self.channels, shape)
        return shape

    def parameters(self) -> tuple[ParameterSpec, ...]:
        return _scale_and_shift(self.channels, self.scale, self.shift)

    def buffers(self) -> tuple[ParameterSpec, ...]:
        shape = (self.channels,)
        return ParameterSpec("running_mean", shape, "mean"), ParameterSpec("running_var", shape, "variance")

    def arguments(self) -> dict[str, Any]:
        """Scale and shift are told where they are left out: a network with both has the description that it had
        before there was a choice, so that its runs go on."""
        told = {name: value for name, value in super().arguments().items() if name not in ("scale", "shift")}
        return told | ({} if self.scale else {"scale": False}) | ({} if self.shift else {"shift": False})

    def geometry(self, shape: Shape) -> dict[str, Any]:
        """The fields of cnn_norm_geometry."""
        return {
            "rows": spatial(shape),
            "c": self.channels,
            "w": shape[-1] if len(shape) == 3 else 1,
            "activation": 0,
            "pool": 0,
            "eps": self.eps,
            "momentum": self.momentum,
        }

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        output = builder.tensor(source.shape)
        operands: dict[str, Tensor | int | None] = {
            "dst": output,
            "src": source,
            "weights": builder.parameter("weights") if self.scale else None,
            "bias": builder.parameter("bias") if self.shift else None,
            "running_mean": builder.buffer("running_mean"),
            "running_var": builder.buffer("running_var"),
        }
        if not builder.training or builder.layer in builder.frozen:
            builder.emit("batchnorm_forward_inference", self.geometry(source.shape), **operands)
            return output
        saved: dict[str, Tensor | int | None] = {
            "save_mean": builder.vector(2 * self.channels),
            "save_inv_std": builder.vector(self.channels),
        }
        builder.emit("batchnorm_forward_training", self.geometry(source.shape), **operands, **saved)
        return output


@dataclass(frozen=True)
class _Grouped(Layer):
    """What the normalisations of a sample share: they differ in how many groups its channels form."""

    kind: ClassVar[str] = "norm"

    def settings(self) -> tuple[int, int, float, bool, bool]:
        """Groups, channels, eps, scale, shift."""
        raise NotImplementedError

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        groups, channels, *_ = self.settings()
        _check_channels(type(self).__name__, channels, shape)
        if spatial(shape) * channels == groups:
            raise UserError(
                f"{type(self).__name__}: of an input of shape {shape}, each of the {groups} groups has one value, "
                "which has no variance"
            )
        return shape

    def parameters(self) -> tuple[ParameterSpec, ...]:
        _, channels, _, scale, shift = self.settings()
        return _scale_and_shift(channels, scale, shift)

    def lower(self, builder: Builder, inputs: Sequence[Tensor]) -> Tensor:
        (source,) = inputs
        groups, channels, eps, scale, shift = self.settings()
        output = builder.tensor(source.shape)
        saved = {}
        if builder.training:
            saved = {
                "save_mean": builder.new(Value((2 * groups,))),
                "save_inv_std": builder.new(Value((groups,))),
            }
        builder.emit(
            "groupnorm_forward",
            {"rows": spatial(source.shape), "c": channels, "groups": groups, "eps": eps},
            dst=output,
            src=source,
            weights=builder.parameter("weights") if scale else None,
            bias=builder.parameter("bias") if shift else None,
            **saved,
        )
        return output


@dataclass(frozen=True)
class GroupNorm(_Grouped):
    """Normalise each of `groups` runs of neighbouring channels of a sample by its own mean and biased variance over
    channels, height and width (Wu & He 2018, section 3): the batch's size does not matter, and training and inference
    do the same.

    Parameters weights and bias, (channels,); without `scale` or `shift` the one or the other is absent.
    """

    groups: int
    channels: int
    eps: float = 1e-5
    scale: bool = True
    shift: bool = True

    def __post_init__(self) -> None:
        assign(self, groups=whole("GroupNorm", "groups", self.groups, "groupnorm", "groups"), **_checked(self))
        if self.channels % self.groups:
            raise UserError(f"GroupNorm: channels = {self.channels} is not a multiple of groups = {self.groups}")

    def settings(self) -> tuple[int, int, float, bool, bool]:
        return self.groups, self.channels, self.eps, self.scale, self.shift


@dataclass(frozen=True)
class LayerNorm(_Grouped):
    """Normalise each sample by its mean and biased variance over channels, height and width (Ba, Kiros & Hinton 2016).

    Parameters weights and bias, (channels,): of a vector one for each element, as in the paper; of a map one for each
    channel, as PyTorch's GroupNorm of one group has them (its LayerNorm has one for each element).
    """

    channels: int
    eps: float = 1e-5
    scale: bool = True
    shift: bool = True

    def __post_init__(self) -> None:
        assign(self, **_checked(self))

    def settings(self) -> tuple[int, int, float, bool, bool]:
        return 1, self.channels, self.eps, self.scale, self.shift


@dataclass(frozen=True)
class InstanceNorm(_Grouped):
    """Normalise each channel of a sample by its mean and biased variance over height and width (Ulyanov, Vedaldi &
    Lempitsky 2016), in training and inference alike.

    Parameters weights and bias, (channels,), which PyTorch's has only with affine = True.
    """

    channels: int
    eps: float = 1e-5
    scale: bool = True
    shift: bool = True

    def __post_init__(self) -> None:
        assign(self, **_checked(self))

    def settings(self) -> tuple[int, int, float, bool, bool]:
        return self.channels, self.channels, self.eps, self.scale, self.shift


def _checked(layer: GroupNorm | LayerNorm | InstanceNorm) -> dict[str, Any]:
    name = type(layer).__name__
    return {
        "channels": whole(name, "channels", layer.channels, "groupnorm", "c"),
        # of a group of equal values, an eps of 0 would make NaN
        "eps": number(name, "eps", layer.eps, 0.0, float("inf"), above=True),
        "scale": truth(name, "scale", layer.scale),
        "shift": truth(name, "shift", layer.shift),
    }


def _check_channels(name: str, channels: int, shape: Shape) -> None:
    if shape[0] != channels:
        raise UserError(f"{name} has channels = {channels}, but its input has {shape[0]} channels")


def _scale_and_shift(channels: int, scale: bool, shift: bool) -> tuple[ParameterSpec, ...]:
    weights = (ParameterSpec("weights", (channels,), "scale"),) if scale else ()
    return weights + ((ParameterSpec("bias", (channels,), "bias"),) if shift else ())
