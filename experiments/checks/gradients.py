"""Random whole networks: every gradient beside PyTorch's in float64.

`python -m experiments.checks.gradients [--networks 200] [--first 0]`

A gradient passes where it differs by at most 2e-3 of the largest gradient of its tensor, or of 1 % of the network's
largest where that is more (a bias before batch normalisation has a true gradient of zero). Where the input of a ReLU
stands at zero, or two elements of a max-pool's window are equal, up to what float32 rounds away, the two may rightly
take different sides: such samples are found by hooks in the float64 network, replaced by fresh draws, and counted.
No network is left out; one whose every draw has ties (there is none among the first 200) is given up and counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.cli import run
from engine.losses import BinaryCrossEntropy, CrossEntropy
from experiments.measuring.random_networks import Sampled, random_network
from experiments.peers.adapters.torch_network import TorchNetwork, nn, torch

TOLERANCE = 2e-3
FLOOR = 0.01  # of the network's largest gradient
TIE = 1e-5  # of the largest value of a tensor: float32 may round that away
ROUNDS = 100  # of replacing samples, before a network is given up for another
ATTEMPTS = 20
SEED, STEP = 11, 3  # of the dropout masks


@dataclass
class Comparison:
    """One network: the worst |ours - theirs| / allowed of its tensors."""

    number: int
    tensors: int = 0
    excluded: int = 0
    worst: float = 0.0
    worst_tensor: str = ""
    loss_error: float = 0.0
    redrawn: int = 0  # networks given up for ties in every draw


@dataclass
class Watcher:
    """Hooks that note the samples with a tie in a ReLU or a max-pool."""

    samples: set[int] = field(default_factory=set)

    def watch(self, network: TorchNetwork) -> None:
        for module in network.modules():
            if isinstance(module, nn.ReLU | nn.LeakyReLU):
                module.register_forward_hook(self._relu)
            elif isinstance(module, nn.MaxPool2d):
                module.register_forward_hook(self._pool)

    def _note(self, x: Any, distance: Any) -> None:
        """Distances of exactly zero are no ties: there both sides hold the same numbers (zeros behind a ReLU)."""
        near = (distance != 0) & (distance < TIE * x.abs().max())
        self.samples.update(near.flatten(1).any(1).nonzero().flatten().tolist())

    def _relu(self, module: Any, inputs: Any, output: Any) -> None:
        self._note(inputs[0].detach(), inputs[0].detach().abs())

    def _pool(self, module: Any, inputs: Any, output: Any) -> None:
        """The distance is each maximum's lead over the second in its window."""
        x = inputs[0].detach()
        windows = pool_windows(x, module, tuple(output.shape[2:]))
        if windows.shape[-1] > 1:
            best = torch.topk(windows, 2, -1).values
            self._note(x, best[..., 0] - best[..., 1])


def pool_windows(x: Any, pool: Any, out: tuple[int, int]) -> Any:
    """(n, c, OH, OW, elements of the window) with minus infinity outside the image."""
    (kh, kw), (sh, sw), (ph, pw) = (_pair(value) for value in (pool.kernel_size, pool.stride, pool.padding))
    bottom = max(0, (out[0] - 1) * sh + kh - ph - x.shape[2])
    right = max(0, (out[1] - 1) * sw + kw - pw - x.shape[3])
    framed = nn.functional.pad(x, (pw, right, ph, bottom), value=float("-inf"))
    return framed.unfold(2, kh, sh).unfold(3, kw, sw)[:, :, : out[0], : out[1]].flatten(4)


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def torch_loss(sampled: Sampled, outputs: Any, targets: Any) -> Any:
    functional = nn.functional
    if isinstance(sampled.loss, CrossEntropy):
        return functional.cross_entropy(outputs, targets, label_smoothing=sampled.loss.label_smoothing)
    if isinstance(sampled.loss, BinaryCrossEntropy):
        return functional.binary_cross_entropy_with_logits(outputs, targets)
    return functional.mse_loss(outputs, targets)


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


@dataclass(frozen=True)
class Reference:
    """A network with inputs free of ties, and what PyTorch makes of it in float64."""

    sampled: Sampled
    x: NDArray[np.float32]
    y: NDArray[Any]
    loss: float
    gradients: dict[str, NDArray[np.float64]]

    def ratios(self, gradients: dict[str, Any]) -> dict[str, float]:
        """Largest difference / allowed, by tensor."""
        sizes = {name: float(np.abs(exact).max()) for name, exact in self.gradients.items()}
        floor = FLOOR * max(sizes.values())
        return {
            name: float(np.abs(gradients[name] - exact).max()) / (TOLERANCE * max(sizes[name], floor))
            for name, exact in self.gradients.items()
        }


def reference(number: int, attempt: int) -> tuple[Reference | None, int]:
    """(network `number`, or None where every draw of its inputs has ties; samples excluded)"""
    random = np.random.default_rng([number, attempt, 0x64617461])
    sampled = random_network(number, attempt)
    network = TorchNetwork(sampled.net, sampled.loss.absorbs).double().train()
    network.set_draws(SEED, STEP)
    settled = settle(sampled, network, random)
    if settled is None:
        return None, 0
    x, excluded = settled
    y = sampled.targets(random)
    targets = torch.from_numpy(y)
    loss = torch_loss(sampled, network(torch.from_numpy(x).double()), targets if sampled.labels else targets.double())
    loss.backward()
    return Reference(sampled, x, y, loss.item(), network.gradients()), excluded


def compare(number: int) -> Comparison:
    """Network `number` in both, from the same weights, inputs and dropout masks."""
    result = Comparison(number)
    for result.redrawn in range(ATTEMPTS):
        exact, result.excluded = reference(number, result.redrawn)
        if exact is not None:
            break
    else:
        raise RuntimeError(f"network {number}: no attempt can be compared")
    sampled = exact.sampled
    # Winograd rounds where a direct sum of zeros is exactly zero, which flips a LeakyReLU that stands on its kink.
    loss, gradients = sampled.net.loss_and_gradients(
        exact.x, exact.y, sampled.loss, seed=SEED, step=STEP, algorithm="direct"
    )
    ratios = exact.ratios(gradients)
    result.tensors = len(ratios)
    result.worst_tensor, result.worst = max(ratios.items(), key=lambda item: np.nan_to_num(item[1], nan=np.inf))
    result.loss_error = abs(loss - exact.loss) / max(abs(exact.loss), 1e-12)
    return result


def passed(comparison: Comparison) -> bool:
    return comparison.worst <= 1.0 and comparison.loss_error <= 1e-4


def report(comparisons: Sequence[Comparison], seconds: float) -> str:
    """The table that the command prints."""
    worst = max(comparisons, key=lambda each: each.worst)
    failed = [each.number for each in comparisons if not passed(each)]
    rows = [
        ("networks", len(comparisons)),
        ("tensors compared", sum(each.tensors for each in comparisons)),
        ("samples excluded for ties", sum(each.excluded for each in comparisons)),
        ("networks replaced", sum(each.redrawn for each in comparisons)),
        ("worst difference / allowed", f"{worst.worst:.4f} (network {worst.number}, {worst.worst_tensor})"),
        ("worst relative difference of the loss", f"{max(each.loss_error for each in comparisons):.2e}"),
        ("seconds", f"{seconds:.1f}"),
        ("verdict", f"FAILED: networks {failed}" if failed else "passed"),
    ]
    return "\n".join(f"{name:40} {value}" for name, value in rows)


def check(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    numbers = range(options.first, options.first + options.networks)
    comparisons = [compare(number) for number in numbers]
    print(report(comparisons, time.perf_counter() - start))
    return 0 if all(map(passed, comparisons)) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.checks.gradients",
        description="Compare every gradient of random networks with PyTorch in float64.",
    )
    parser.add_argument("--networks", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default: 0)")
    options = parser.parse_args(arguments)
    return run(lambda: check(options))


if __name__ == "__main__":
    sys.exit(main())
