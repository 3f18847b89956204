"""Inputs without ties, at which PyTorch and the engine may rightly take different sides of a kink."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.measuring.random_networks import Sampled
from experiments.peers.adapters.torch_network import TorchNetwork, nn, torch

TIE = 1e-5  # of the largest value of a tensor: float32 may round that away
ROUNDS = 100  # of replacing samples, before a network is given up for another


@dataclass
class Watcher:
    """Hooks that note the samples with a tie in a ReLU or a max-pool."""

    samples: set[int] = field(default_factory=set)

    def watch(self, network: TorchNetwork) -> None:
        for module in network.modules():
            if isinstance(module, nn.ReLU | nn.LeakyReLU | nn.PReLU | nn.Hardtanh | nn.Hardswish | nn.Hardsigmoid):
                module.register_forward_hook(self._bend)
            elif isinstance(module, nn.MaxPool2d):
                module.register_forward_hook(self._pool)

    def _note(self, x: Any, distance: Any) -> None:
        """Distances of exactly zero are no ties: there both sides hold the same numbers (zeros behind a ReLU)."""
        near = (distance != 0) & (distance < TIE * x.abs().max())
        self.samples.update(near.flatten(1).any(1).nonzero().flatten().tolist())

    def _bend(self, module: Any, inputs: Any, output: Any) -> None:
        x = inputs[0].detach()
        for bend in _bends(module):
            self._note(x, (x - bend).abs())

    def _pool(self, module: Any, inputs: Any, output: Any) -> None:
        """The distance is each maximum's lead over the second in its window."""
        x = inputs[0].detach()
        windows = pool_windows(x, module, tuple(output.shape[2:]))
        if windows.shape[-1] > 1:
            best = torch.topk(windows, 2, -1).values
            self._note(x, best[..., 0] - best[..., 1])


def _bends(module: Any) -> tuple[float, ...]:
    """Where an activation has a kink; a ReLU6 is a Hardtanh."""
    if isinstance(module, nn.Hardtanh):
        return module.min_val, module.max_val
    return (-3.0, 3.0) if isinstance(module, nn.Hardswish | nn.Hardsigmoid) else (0.0,)


def pool_windows(x: Any, pool: Any, out: tuple[int, int]) -> Any:
    """(n, c, OH, OW, elements of the window) with minus infinity outside the image."""
    (kh, kw), (sh, sw), (ph, pw) = (_pair(value) for value in (pool.kernel_size, pool.stride, pool.padding))
    bottom = max(0, (out[0] - 1) * sh + kh - ph - x.shape[2])
    right = max(0, (out[1] - 1) * sw + kw - pw - x.shape[3])
    framed = nn.functional.pad(x, (pw, right, ph, bottom), value=float("-inf"))
    return framed.unfold(2, kh, sh).unfold(3, kw, sw)[:, :, : out[0], : out[1]].flatten(4)


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def settle(
    sampled: Sampled, network: TorchNetwork, random: np.random.Generator
) -> tuple[NDArray[np.float32], int] | None:
    """Inputs without a tie, and how many samples were replaced for it; None where there are none."""
    watcher = Watcher()
    watcher.watch(network)
    x = sampled.inputs(random, sampled.batch)
    excluded = 0
    for _ in range(ROUNDS):
        watcher.samples.clear()
        with torch.no_grad():
            network(torch.from_numpy(x).double())
        if not watcher.samples:
            return x, excluded
        excluded += len(watcher.samples)
        x[sorted(watcher.samples)] = sampled.inputs(random, len(watcher.samples))
    return None
