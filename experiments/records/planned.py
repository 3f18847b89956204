"""The runs that a study asks for, with what its store has measured before."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

from engine.plan import Choices
from engine.recipe.config import TrainConfig
from engine.recipe.fit import make_trainer
from experiments.records.store import Store
from experiments.study.study import Study
from experiments.tasks.fingerprint import Fingerprints
from experiments.tasks.graph import Graph, study_graph
from experiments.tasks.keys import Run


def planned_runs(study: Study, store: Store | None = None) -> list[Run]:
    """The runs of the study's rows: row by row, and within a row seed by seed."""
    return [task.run for task in planned_graph(study, store).rows]


def planned_graph(study: Study, store: Store | None = None) -> Graph:
    """All runs of the study and what they need; with a store, what it has measured before is not measured again."""
    if store is None:
        return study_graph(study)

    def tuned(run: Run) -> Run:
        return store.tuned(run, partial(measured_algorithms, run.config))

    return study_graph(study, Fingerprints(store.notes("data")), tuned)


def measured_algorithms(config: TrainConfig) -> Choices:
    """The algorithms that are the fastest on this machine in the configuration's training step."""
    trainer = make_trainer(dataclasses.replace(config, initialize_from=None), Path())
    return trainer.net.tuned_choices(trainer.loss, trainer.optimizer, config.batch_size)
