"""The same network in PyTorch: modules with copies of our parameters, for comparisons."""

from __future__ import annotations

from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.graph import Network
from engine.layers import (
    Add,
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2D,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from engine.topology import INPUT

try:
    import torch
    from torch import nn
except ImportError as error:
    raise UserError("this check compares with PyTorch, which is not installed: pip install '.[peers]'") from error


class Sum(nn.Module):
    def forward(self, *inputs: Any) -> Any:
        return sum(inputs)


class Joined(nn.Module):
    def forward(self, *inputs: Any) -> Any:
        return torch.cat(inputs, 1)


class KeyedDropout(nn.Module):
    """Dropout with the core's own mask for (seed, step, stream); its elements are counted in the order N, H, W, C."""

    def __init__(self, rate: float, stream: int):
        super().__init__()
        self.rate, self.stream, self.seed, self.step = rate, stream, 0, 0

    def forward(self, x: Any) -> Any:
        if not self.training:
            return x
        inside = x.movedim(1, -1)
        mask = np.empty(inside.shape, np.float32)
        geometry = {"count": mask[0].size, "stream": self.stream, "rate": self.rate}
        operands = {"dst": mask, "src": np.ones_like(mask)}
        cnncore.run_op("dropout", operands, geometry, len(mask), seed=self.seed, step=self.step)
        return x * torch.from_numpy(mask).to(x.dtype).movedim(-1, 1)


def _convolution(layer: Conv2D, shape: tuple[int, ...]) -> Any:
    top, bottom, left, right = layer.pads(*shape[1:])
    symmetric = (top, left) == (bottom, right)
    convolution = nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel, layer.stride, (top, left) if symmetric else 0,
        layer.dilation, layer.groups, layer.bias,
    )  # fmt: skip
    return convolution if symmetric else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), convolution)


def module_of(layer: Layer, shape: tuple[int, ...], stream: int) -> Any:
    """The module that does what `layer` does on inputs of `shape` (per sample). `stream` numbers the dropouts."""
    match layer:
        case Conv2D():
            return _convolution(layer, shape)
        case Linear():
            return nn.Linear(layer.in_features, layer.out_features, layer.bias)
        case MaxPool2D():
            return nn.MaxPool2d(layer.kernel, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
        case AvgPool2D():
            return nn.AvgPool2d(layer.kernel, layer.stride, layer.padding, layer.ceil_mode, layer.count_include_pad)
        case GlobalAvgPool2D():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case BatchNorm():
            kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            return kind(shape[0], layer.eps, layer.momentum)
        case Dropout():
            return KeyedDropout(layer.rate, stream)
        case LeakyReLU():
            return nn.LeakyReLU(layer.slope)
    simple = {
        ReLU: nn.ReLU, Sigmoid: nn.Sigmoid, Tanh: nn.Tanh, Flatten: nn.Flatten, Add: Sum, Concat: Joined,
    }  # fmt: skip
    return nn.Softmax(1) if isinstance(layer, Softmax) else simple[type(layer)]()


class TorchNetwork(nn.Module):
    """`net` in PyTorch with the same weights; `absorbed` is a last layer that the loss already includes."""

    def __init__(self, net: Network, absorbed: type[Layer] | None = None):
        super().__init__()
        self.nodes = net.topology.nodes
        if absorbed is not None and isinstance(self.nodes[-1].layer, absorbed):
            self.nodes = self.nodes[:-1]
        self.parts = nn.ModuleList()
        streams = 0
        for node in self.nodes:
            self.parts.append(module_of(node.layer, net.topology.shape_of(node.inputs[0]), streams))
            streams += isinstance(node.layer, Dropout)
        self.names: dict[str, Any] = {}
        for node, part in zip(self.nodes, self.parts, strict=True):
            for ours, theirs in (("weights", "weight"), ("bias", "bias")):
                found = [value for key, value in part.named_parameters() if key.rpartition(".")[2] == theirs]
                if found:
                    self.names[f"{node.name}.{ours}"] = found[0]
        with torch.no_grad():
            for name, value in net.parameters().items():
                self.names[name].copy_(torch.from_numpy(value))

    def forward(self, x: Any) -> Any:
        values = {INPUT: x}
        for node, part in zip(self.nodes, self.parts, strict=True):
            values[node.name] = part(*(values[name] for name in node.inputs))
        return values[self.nodes[-1].name]

    def set_draws(self, seed: int, step: int) -> None:
        """Key of the next dropout masks."""
        for part in self.modules():
            if isinstance(part, KeyedDropout):
                part.seed, part.step = seed, step

    def gradients(self) -> dict[str, NDArray[np.float64]]:
        """By our names, after a backward pass."""
        return {name: parameter.grad.numpy() for name, parameter in self.names.items()}


def chain(net: Network, absorbed: type[Layer] | None = None) -> Any:
    """A network without branches as plain nn.Sequential, as a PyTorch user writes it."""
    return nn.Sequential(*TorchNetwork(net, absorbed).parts)
