"""From a study's configuration to a job that every side can follow: weights, batches, and the recipe in numbers."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from engine.data.dataset import Dataset
from engine.data.location import data_root
from engine.errors import UserError, unknown
from engine.losses import CrossEntropy
from engine.network.finetune import frozen_layers, rate_factors
from engine.optim import SGD
from engine.recipe.config import TrainConfig
from engine.recipe.fit import make_loader, make_trainer
from engine.recipe.samples import load_data
from engine.recipe.whitening import whiten
from engine.training.average import RESTS
from engine.training.trainer import Trainer
from experiments.peers.cases import has_dropout, nodes_of
from experiments.peers.job import SGD as SGD_NAME
from experiments.peers.job import TRAINING, Array, Job, Recipe
from experiments.study.read import load_study


def configuration(study: str, row: str | None, seed: int, overrides: list[str]) -> TrainConfig:
    """That of the study's row, by default the one that the others are compared with."""
    rows = {each.name: each for each in load_study(study, overrides).rows}
    if row is not None and row not in rows:
        raise unknown(f"row of {study}", row, rows)
    chosen = rows[row] if row is not None else next((each for each in rows.values() if each.base), None)
    if chosen is None:
        raise UserError(f"the study {study} has no base row: name one with --row")
    return replace(chosen.config, seed=seed)


def recipe_of(trainer: Trainer, config: TrainConfig, steps: int) -> Recipe:
    """The trainer's settings over its run of epochs of so many steps; UserError for one that the sides lack."""
    optimizer, loss, average = trainer.optimizer, trainer.loss, trainer.average
    lacking = {
        "an optimizer but SGD with coupled decay": not isinstance(optimizer, SGD) or optimizer.decoupled,
        "a loss but CrossEntropy": not isinstance(loss, CrossEntropy),
        "max_norm": trainer.max_norm is not None,
        "accumulate": trainer.accumulate > 1,
        "dropout": has_dropout(trainer.net),
    }
    for what, found in lacking.items():
        if found:
            raise UserError(f"the recipe has {what}, which the comparison does not have in PyTorch")
    assert isinstance(optimizer, SGD) and isinstance(loss, CrossEntropy)
    slots = trainer.net.store.slots
    frozen, own = frozen_layers(trainer.net.topology, trainer.freeze), dict(rate_factors(slots, trainer.learning_rates))
    factors = {}
    for key, slot in slots.items():
        factor = 0.0 if slot.layer in frozen else own.get(key, 1.0) * optimizer.rate_of(slot.kind, slot.spec.role)
        factors[key] = (factor, optimizer.decay_of(slot.kind, slot.spec.role)[0])
    total = config.epochs * steps
    trainer.set_length(config.epochs, steps)
    rates = [trainer.schedule.rate(optimizer.lr, step, step // steps) for step in range(total)]
    averages = [RESTS if average is None else average.at(step, total) for step in range(total)]
    return Recipe(
        momentum=optimizer.momentum, nesterov=optimizer.nesterov, label_smoothing=loss.label_smoothing,
        factors=factors, rates=tuple(rates), averages=tuple(averages),
        lookahead=average is not None and average.kind == "lookahead", epochs=config.epochs, config=config.to_dict(),
    )  # fmt: skip


def training_set(config: TrainConfig, root: Path | None) -> Dataset:
    return load_data(config, data_root(root, config.data_root))[0]


def make_job(config: TrainConfig, train: Dataset, count: int | None, threads: int, folder: Path) -> Job:
    """A job of the first `count` batches of an epoch (None: all of them), written to `folder`."""
    trainer = make_trainer(config, None)
    net = trainer.net
    if config.whiten is not None:
        whiten(net, train, config.whiten, config.seed)
    loader = make_loader(config, train)
    batches = list(islice(loader.epoch(0), count))
    if batches[0][1].ndim != 1 or len({len(labels) for _, labels in batches}) > 1:
        raise UserError("the recipe has soft labels or a short last batch (drop_last), which the comparison lacks")
    recipe = recipe_of(trainer, config, len(loader))
    job = Job(
        TRAINING, SGD_NAME, trainer.optimizer.lr, len(batches[0][1]), threads, net.to_config(), nodes_of(net),
        net.output_shape, folder, recipe,
    )  # fmt: skip
    arrays: dict[str, Array] = {**net.parameters(), **net.buffers()}
    arrays["x"], arrays["y"] = (np.stack(parts) for parts in zip(*batches, strict=True))
    job.save(arrays)
    return job
