"""Batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from engine.arguments import assign, number
from engine.errors import UserError, warn
from engine.layers.base import Layer
from engine.program.code import Builder, Tensor
from engine.program.limits import whole
from engine.program.shapes import Shape, spatial
from engine.program.slots import ParameterSpec


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Normalise every channel over the batch (Ioffe & Szegedy 2015, Algorithm 1), after a Conv2D or a Linear.

    Training: the batch's mean and biased variance; running = (1 - momentum) * running + momentum * batch, with the
    unbiased variance (PyTorch's form). Inference: the running statistics. Parameters weights and bias, buffers
    running_mean and running_var, all (channels,).

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

    kind: ClassVar[str] = "norm"

    def __post_init__(self) -> None:
        assign(
            self,
            channels=whole("BatchNorm", "channels", self.channels, "norm", "c"),
            eps=number("BatchNorm", "eps", self.eps, 0.0, float("inf")),
            momentum=number("BatchNorm", "momentum", self.momentum, 0.0, 1.0),
        )
        if self.momentum > 0.5:
            warn(
                f"BatchNorm: momentum {self.momentum:g} is the weight of the new batch here, as in PyTorch, and leaves "
                f"little of the batches before in the running statistics; Keras's {self.momentum:g} is "
                f"{1.0 - self.momentum:g} here",
            )

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if shape[0] != self.channels:
            raise UserError(f"BatchNorm has channels = {self.channels}, but its input has {shape[0]} channels")
        return shape

    def parameters(self) -> tuple[ParameterSpec, ...]:
        shape = (self.channels,)
        return ParameterSpec("weights", shape, "scale"), ParameterSpec("bias", shape, "bias")

    def buffers(self) -> tuple[ParameterSpec, ...]:
        shape = (self.channels,)
        return ParameterSpec("running_mean", shape, "mean"), ParameterSpec("running_var", shape, "variance")

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
            "weights": builder.parameter("weights"),
            "bias": builder.parameter("bias"),
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
