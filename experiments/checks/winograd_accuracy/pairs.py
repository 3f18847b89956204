"""Pairs of runs that differ by the algorithm alone, and the accuracies in which they end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UserError
from engine.recipe.build import build_network, build_optimizer
from engine.recipe.config import TrainConfig
from engine.training.folder import LOG
from engine.training.trainer import Trainer
from experiments.checks.winograd_accuracy.studies import AUTO, DIRECT
from experiments.records.planned import planned_runs
from experiments.records.store import Run, Store
from experiments.running.progress import progress_for
from experiments.running.runner import run_study
from experiments.study.read import load_study, select
from experiments.study.study import Study


@dataclass(frozen=True)
class Pair:
    """Test accuracies after the last epoch, in percent."""

    seed: int
    auto: float
    direct: float


def load(name: str, seeds: Sequence[int], epochs: int | None, root: Path | None) -> Study:
    """The study of this data set; with another number of epochs its cosine ends with them."""
    study = load_study(f"winograd_{name}")
    overrides = [f"data_root={json.dumps(str(root))}"] if root else []
    if epochs is not None:
        config = study.rows[0].config
        total = config.schedule["total"] * epochs // config.epochs
        overrides += [f"epochs={epochs}", f"schedule.total={total}"]
    return select(load_study(study.name, overrides), seeds=seeds)


def winograd_ops(config: TrainConfig) -> dict[str, int]:
    """How often each op of Winograd's algorithm stands in the training step of this configuration."""
    network = build_network(config.model, config.seed)
    trainer = Trainer(network, build_optimizer(config.optimizer), algorithm=config.algorithm)
    counts: dict[str, int] = {}
    for instruction in trainer.open_session(config.batch_size).plan.instructions:
        if instruction.op.startswith("winograd"):
            counts[instruction.op] = counts.get(instruction.op, 0) + 1
    return counts


def last_accuracy(store: Store, each: Run) -> float:
    """In percent, of the last epoch on record."""
    records = [json.loads(line) for line in (store.folder(each) / LOG).read_text().splitlines()]
    last = records[-1] if records else {}
    if last.get("epoch") != each.config.epochs:
        raise UserError(f"{store.folder(each)}: the run did not reach epoch {each.config.epochs}: {last}")
    return 100.0 * float(last["val_accuracy"])


def train_pairs(study: Study, store: Store) -> list[Pair]:
    """Both runs of every seed, one pair after the other."""
    with closing(progress_for(planned_runs(study, store), study.metric)) as progress:
        for seed in study.seeds:
            run_study(select(study, seeds=[seed]), store, progress)
    found = {(each.row, each.seed): last_accuracy(store, each) for each in planned_runs(study, store)}
    return [Pair(seed, found[AUTO, seed], found[DIRECT, seed]) for seed in study.seeds]
