"""A recipe's steps in PyTorch, as a user writes them who wants speed: the fused optimiser, averages in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from experiments.peers.job import EXACT, Job, Recipe


def recipe_step(job: Job, recipe: Recipe, network: Any, tensors: dict[str, Any], side: str) -> Callable[[], float]:
    """A function that takes the next step and returns its loss. `tensors`: parameters and running statistics by our
    names. Batches are converted to the side's layout beforehand."""
    batches = [(_laid_out(torch.from_numpy(x), side), torch.from_numpy(y)) for x, y in _batches(job)]
    optimizer = _optimizer(recipe, tensors)
    factors = [group["lr"] for group in optimizer.param_groups]
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    averaged = [tensor.detach() for tensor in tensors.values()]
    averages = [tensor.clone() for tensor in averaged]
    taken = 0

    def forward(x: Any, y: Any) -> Any:
        return criterion(network(x), y)

    loss_of = torch.compile(forward) if side == "torch-compile" else forward

    def step() -> float:
        nonlocal taken
        place = taken % len(recipe.rates)
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            group["lr"] = recipe.rates[place] * factor
        optimizer.zero_grad()
        loss = loss_of(*batches[taken % len(batches)])
        loss.backward()
        optimizer.step()
        if recipe.averages[place] >= 0.0:
            with torch.no_grad():
                torch._foreach_lerp_(averages, averaged, 1.0 - recipe.averages[place])
                if recipe.lookahead:
                    torch._foreach_copy_(averaged, averages)
        taken += 1
        return float(loss.item())

    return step


def _batches(job: Job) -> Any:
    return zip(job.arrays["x"], job.arrays["y"], strict=True)


def _laid_out(x: Any, side: str) -> Any:
    if side == EXACT:
        return x.double()
    return x.to(memory_format=torch.channels_last) if side == "torch-cl" else x


def _optimizer(recipe: Recipe, tensors: dict[str, Any]) -> Any:
    """SGD with a group for each pair of factors, whose lr is the factor on the rate; what has none is left alone."""
    groups: dict[tuple[float, float], list[Any]] = {}
    for key, factors in recipe.factors.items():
        factor, decay = factors
        if factor == 0.0:
            tensors[key].requires_grad_(False)
        else:
            groups.setdefault((factor, decay), []).append(tensors[key])
    described = [{"params": each, "lr": factor, "weight_decay": decay} for (factor, decay), each in groups.items()]
    return torch.optim.SGD(described, lr=1.0, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)
