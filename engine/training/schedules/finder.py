"""Which learning rate to take: a short training whose rate grows from step to step."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.arguments import instance, integer, number, real
from engine.data.choose.weights import weighted_loader
from engine.data.dataset import Data, as_dataset
from engine.data.loader import Loader
from engine.errors import DivergedError, UserError
from engine.losses import Loss
from engine.network.network import Network
from engine.optim import Optimizer, checked_optimizer
from engine.plan.table import table
from engine.training.checks import check_data, check_last_batch
from engine.training.schedules.base import Schedule
from engine.training.stepper import Stepper

SHOWN = 20  # rows of the table
FEWEST = 5  # steps that a slope needs


@dataclass(frozen=True)
class Sweep:
    """What a search for a learning rate measured.

    rates     learning rate of each step that was done
    losses    loss of its batch, before the update
    smoothed  mean of the losses up to there, the newest weighing most, without the bias to the first
    steepest  rate at which the smoothed loss falls fastest by the logarithm of the rate
    tenth     a tenth of the rate with the lowest smoothed loss
    diverged  the search ended because the loss had grown too large, or was no number any more
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float
    tenth: float
    diverged: bool

    def __str__(self) -> str:
        chosen = sorted({round(place) for place in np.linspace(0, len(self.rates) - 1, SHOWN)})
        rows = [(f"{self.rates[i]:.3g}", f"{self.losses[i]:.4g}", f"{self.smoothed[i]:.4g}") for i in chosen]
        lines = table([("rate", "loss", "smoothed"), *rows], numeric={0, 1, 2})
        end = f", ended at {self.rates[-1]:.3g}: the loss had grown too large" if self.diverged else ""
        lines.append(f"steepest fall at {self.steepest:.3g}; a tenth of the rate of the lowest: {self.tenth:.3g}{end}")
        return "\n".join(lines)


@dataclass
class _Growing(Schedule):
    lowest: float
    highest: float
    steps: int

    def rate(self, base: float, step: int, epoch: int) -> float:
        return self.lowest * (self.highest / self.lowest) ** (step / (self.steps - 1))


def find_learning_rate(
    net: Network,
    train: Data | Loader,
    optimizer: Optimizer,
    loss: Loss | None = None,
    *,
    batch_size: int = 64,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.95,
    worst: float = 4.0,
    seed: int = 0,
    **options: Any,
) -> Sweep:
    """Train a copy of the network for `steps` steps while the learning rate grows by a factor from step to step (the
    range test of Smith 2017, with rates that are even on a logarithmic scale). The network itself stays as it is.

    train, batch_size, seed   as for Trainer
    optimizer   its own rate is not used
    lowest, highest   rates of the first step and the last
    smoothing   weight of the mean so far against the newest loss, 0 … 1
    worst       the search ends where the smoothed loss is so many times its lowest, or a loss is not finite
    options     further arguments of Trainer, such as freeze, learning_rates, max_norm, accumulate or average

    UserError where fewer than five steps came to a finite loss.
    """
    instance("find_learning_rate", "net", net, Network, "a network such as Sequential(…)")
    checked_optimizer("find_learning_rate", optimizer)
    steps = integer("find_learning_rate", "steps", steps, FEWEST)
    lowest = number("find_learning_rate", "lowest", lowest, 0.0, math.inf, above=True)
    highest = number("find_learning_rate", "highest", highest, lowest, math.inf, above=True)
    smoothing = real("find_learning_rate", "smoothing", smoothing, 0.0, 1.0, below=True)
    worst = real("find_learning_rate", "worst", worst, 1.0, math.inf, above=True)
    growing = _Growing(lowest, highest, steps)
    stepper = Stepper(copy.deepcopy(net), optimizer, loss, growing, batch_size=batch_size, seed=seed, **options)
    stepper.set_length(1, steps)  # for what goes by the length of a run, as an average may
    whole = stepper.batch_size * stepper.accumulate
    loader = train if isinstance(train, Loader) else Loader(as_dataset(train), whole, seed=seed)
    check_data(stepper, [loader.dataset])
    check_last_batch(stepper, loader)
    loader = weighted_loader(loader, stepper.loss, net.output_shape)
    losses: list[float] = []
    smoothed: list[float] = []
    mean, diverged = 0.0, False
    while len(losses) < steps and not diverged:
        for x, y in loader.epoch(stepper.epoch, 0):
            try:
                losses.append(stepper.step(x, y))
            except DivergedError:
                diverged = True
                break
            mean = smoothing * mean + (1.0 - smoothing) * losses[-1]
            smoothed.append(mean / (1.0 - smoothing ** len(losses)))
            diverged = smoothed[-1] > worst * min(smoothed)
            if diverged or len(losses) == steps:
                break
        stepper.epoch += 1
    if len(losses) < FEWEST:
        raise UserError(
            f"find_learning_rate: the loss is finite in {len(losses)} steps only; take a smaller lowest rate"
        )
    rates = [growing.rate(0.0, step, 0) for step in range(len(losses))]
    slopes = np.gradient(np.array(smoothed), np.log(rates))
    best = rates[int(np.argmin(smoothed))]
    return Sweep(tuple(rates), tuple(losses), tuple(smoothed), rates[int(np.argmin(slopes))], best / 10, diverged)
