"""Runs the rows of a study over its seeds through the engine's trainer. What is on record is not run again."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.data import digits
from engine.data.augment import Mixup
from engine.data.dataset import Dataset, RawDataset, prepare
from engine.data.loader import Loader
from engine.data.preprocess import Preprocess
from engine.data.splits import stratified_split
from engine.errors import DivergedError
from engine.models import build
from engine.network import Network
from engine.optim import SGD
from engine.schedules import ReduceLROnPlateau
from engine.trainer import Trainer
from experiments.config import DataSettings, Settings, Study
from experiments.progress import Progress
from experiments.store import Result, Run, Store

METRIC = "val_macro_f1"


@dataclass
class DataCache:
    """Samples and their deterministic preprocessing, each done once and shared by all runs that ask for the same."""

    _raw: dict[DataSettings, RawDataset] = field(default_factory=dict)
    _prepared: dict[tuple[DataSettings, Preprocess], Dataset] = field(default_factory=dict)

    def raw(self, data: DataSettings) -> RawDataset:
        """The sheets as they come."""
        if data not in self._raw:
            images, labels = digits.digits_on_sheets(data.seed, data.sheet_sides, data.digit_sides, data.count)
            self._raw[data] = RawDataset("digits on sheets", images, labels, digits.CLASSES)
        return self._raw[data]

    def prepared(self, settings: Settings) -> Dataset:
        """The sheets after the image steps, resized to the network's input."""
        channels, height, width = settings.input_shape
        preprocess = Preprocess(colour=channels == 3, steps=settings.steps, size=(height, width))
        key = (settings.data, preprocess)
        if key not in self._prepared:
            self._prepared[key] = prepare(self.raw(settings.data), preprocess)
        return self._prepared[key]

    def split(self, settings: Settings) -> tuple[Dataset, Dataset]:
        """Training and validation part, stratified by class; every seed and every row has the same split."""
        dataset = self.prepared(settings)
        train, validation = stratified_split(dataset.labels, settings.validation, settings.split_seed)
        return dataset.subset(train), dataset.subset(validation)


def planned_runs(study: Study) -> list[Run]:
    """Every run of the study: row by row, and within a row seed by seed."""
    return [Run(row.name, seed, row.settings) for row in study.rows for seed in study.seeds]


def run_study(study: Study, store: Store, progress: Progress) -> list[Result]:
    """Results of all runs of the study, in the order of `planned_runs`.

    A run with a result in the store is not repeated; one that was cut off goes on from its last checkpoint. A run whose
    loss diverges gets a result that says so, and the study goes on.
    """
    cache = DataCache()
    results = []
    for run in planned_runs(study):
        progress.start(run)
        result = store.result(run)
        repeated = result is not None
        if result is None:
            result = train_run(run, store, cache, progress)
            store.finish(run, result)
        progress.finish(result, repeated)
        results.append(result)
    return results


def train_run(run: Run, store: Store, cache: DataCache, progress: Progress) -> Result:
    """Train one run in its folder of the store and measure it."""
    settings = run.settings
    train, validation = cache.split(settings)
    net = build(settings.model, input_shape=settings.input_shape, classes=len(digits.CLASSES), seed=run.seed)
    trainer = _trainer(run, net, store)
    mixup = Mixup(settings.mixup, len(digits.CLASSES)) if settings.mixup else None
    loader = Loader(train, settings.batch, seed=run.seed, batch_transform=mixup)
    try:
        history = trainer.fit(
            loader,
            validation,
            epochs=settings.epochs,
            resume=True,
            callbacks=[lambda record: progress.epoch()],
        )
    except DivergedError as error:
        return Result(run.key, run.row, run.seed, "diverged", 0.0, 0, net.num_parameters, 0.0, str(error))
    # A metric that never was a number leaves no best epoch; macro-F1 always is one.
    assert history.best_value is not None and history.best_epoch is not None
    return Result(
        run.key,
        run.row,
        run.seed,
        "finished",
        score=history.best_value,
        best_epoch=history.best_epoch,
        parameters=net.num_parameters,
        seconds=sum(history["seconds"]),
    )


def _trainer(run: Run, net: Network, store: Store) -> Trainer:
    settings = run.settings
    plateau = settings.plateau
    return Trainer(
        net,
        SGD(lr=settings.learning_rate, momentum=settings.momentum),
        schedule=ReduceLROnPlateau(plateau.factor, plateau.patience, metric=METRIC),
        batch_size=settings.batch,
        seed=run.seed,
        out=store.folder(run),
        metric=METRIC,
        progress="none",
        config={"row": run.row, **run.content()},
    )
