"""Gradients of one random network after the other in PyTorch's float64 and in the engine, and what they differ by."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.losses import BinaryCrossEntropy, CrossEntropy
from experiments.checks.gradients.ties import settle
from experiments.measuring.random_networks import Sampled, random_network
from experiments.peers.adapters.torch_network import TorchNetwork, nn, torch

TOLERANCE = 2e-3
FLOOR = 0.01  # of the network's largest gradient
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


def torch_loss(sampled: Sampled, outputs: Any, targets: Any) -> Any:
    functional = nn.functional
    if isinstance(sampled.loss, CrossEntropy):
        return functional.cross_entropy(outputs, targets, label_smoothing=sampled.loss.label_smoothing)
    if isinstance(sampled.loss, BinaryCrossEntropy):
        return functional.binary_cross_entropy_with_logits(outputs, targets)
    return functional.mse_loss(outputs, targets)


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
