"""Runs the rows of a study over its seeds through the engine's trainer. What is on record is not run again."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from engine.config import DatasetConfig, SplitConfig, TrainConfig
from engine.data.dataset import Dataset
from engine.data.location import data_root
from engine.data.noise import LabelNoise
from engine.data.preprocess import Preprocess
from engine.data.selection import Selection
from engine.errors import DivergedError, UserError
from engine.plan import Choices
from engine.pseudo import PseudoLabelConfig
from engine.train import load_data, make_loader, make_trainer
from experiments.config import Study
from experiments.progress import Progress
from experiments.store import Result, Run, Store

DataKey = tuple[
    Path | None, DatasetConfig, SplitConfig, Preprocess, Selection, LabelNoise | None, PseudoLabelConfig | None, bool
]


@dataclass
class DataCache:
    """Samples, split and deterministically prepared: done once and shared by all runs that ask for the same.

    Keeps the last `size` sets, so that a long study does not fill the memory.
    """

    size: int = 4
    _kept: list[tuple[DataKey, tuple[Dataset, Dataset | None]]] = field(default_factory=list)

    def load(self, config: TrainConfig) -> tuple[Dataset, Dataset | None]:
        """Training and validation samples of the configuration."""
        root = data_root(None, config.data_root)
        key = (
            root,
            config.dataset,
            config.split,
            config.preprocess,
            config.select,
            config.label_noise,
            config.pseudo_labels,
            config.strict,
        )
        for known, data in self._kept:
            if known == key:
                return data
        data = load_data(config, root)[:2]
        self._kept = [*self._kept, (key, data)][-self.size :]
        return data


def planned_runs(study: Study) -> list[Run]:
    """Every run of the study: row by row, and within a row seed by seed."""
    return [Run(row.name, seed, row.config, study.score_epoch) for row in study.rows for seed in study.seeds]


def run_study(study: Study, store: Store, progress: Progress) -> list[Result]:
    """Results of all runs of the study, in the order of `planned_runs`.

    A run with a result in the store is not repeated; one that was cut off goes on from its last checkpoint. A run whose
    loss diverges gets a result that says so, and the study goes on.
    """
    for row in study.rows:
        if row.needs:
            raise UserError(
                f"row {row.name!r} begins from the weights of {', '.join(row.needs)}, which this runner cannot train "
                "before it; choose other rows (--rows)"
            )
    cache = DataCache()
    results = []
    for run in planned_runs(study):
        progress.start(run)
        run = store.tuned(run, partial(measured_algorithms, run.config))
        result = store.result(run)
        repeated = result is not None
        if result is None:
            result = train_run(run, store, cache, progress)
            store.finish(run, result)
        progress.finish(result, repeated)
        results.append(result)
    return results


def measured_algorithms(config: TrainConfig) -> Choices:
    """The algorithms that are the fastest on this machine in the configuration's training step."""
    trainer = make_trainer(config, Path())
    return trainer.net.tuned_choices(trainer.loss, trainer.optimizer, config.batch_size)


def train_run(run: Run, store: Store, cache: DataCache, progress: Progress) -> Result:
    """Train one run in its folder of the store and measure it."""
    config = run.config
    train, validation = cache.load(config)
    trainer = make_trainer(config, store.folder(run))
    trainer.progress = "none"
    parameters = trainer.net.num_parameters
    try:
        history = trainer.fit(
            make_loader(config, train),
            validation,
            epochs=config.epochs,
            early_stopping=config.early_stopping,
            resume=True,
            callbacks=[lambda record: progress.epoch()],
            checkpoint_every=config.checkpoint_every,
            train_metrics=config.train_metrics,
        )
    except DivergedError as error:
        return Result(run.key, run.row, run.seed, "diverged", None, None, parameters, 0.0, str(error))
    return Result(
        run.key,
        run.row,
        run.seed,
        "finished",
        score=history.best_value if run.score_epoch == "best" else history.epochs[-1][history.metric],
        best_epoch=history.best_epoch,
        parameters=parameters,
        seconds=sum(history["seconds"]),
    )
