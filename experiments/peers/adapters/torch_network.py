"""The same network in PyTorch: modules with copies of our parameters, for comparisons."""

from __future__ import annotations

from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.layers import Dropout, Layer
from engine.layers.topology import INPUT
from engine.network.graph import Network
from experiments.peers.cases import nodes_of

try:
    import torch
    from torch import nn

    from experiments.peers.adapters.torch import module_of
except ImportError as error:
    raise UserError("this check compares with PyTorch, which is not installed: pip install torch") from error


class KeyedDropout(nn.Module):
    """A layer that drops, with the core's own mask for (seed, step, stream); elements count in the order N, H, W, C."""

    def __init__(self, layer: Dropout, stream: int):
        super().__init__()
        self.layer, self.stream, self.seed, self.step = layer, stream, 0, 0

    def forward(self, x: Any) -> Any:
        if not self.training:
            return x
        inside = x.movedim(1, -1)
        mask = np.empty(inside.shape, np.float32)
        draws = self.layer.draws(tuple(x.shape[1:]))
        geometry = {"count": mask[0].size, "draws": draws, "stream": self.stream, "rate": self.layer.rate}
        operands = {"dst": mask, "src": np.ones_like(mask)}
        cnncore.run_op("dropout", operands, geometry, len(mask), seed=self.seed, step=self.step)
        return x * torch.from_numpy(mask).to(x.dtype).movedim(-1, 1)


class TorchNetwork(nn.Module):
    """`net` in PyTorch with the same weights; `absorbed` is a last layer that the loss already includes."""

    def __init__(self, net: Network, absorbed: type[Layer] | None = None):
        super().__init__()
        self.nodes = net.topology.nodes
        if absorbed is not None and isinstance(self.nodes[-1].layer, absorbed):
            self.nodes = self.nodes[:-1]
        self.parts = nn.ModuleList()
        streams = 0
        for node, data in zip(self.nodes, nodes_of(net), strict=False):
            if isinstance(node.layer, Dropout):
                self.parts.append(KeyedDropout(node.layer, streams))
                streams += 1
            else:
                self.parts.append(module_of(data))
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
