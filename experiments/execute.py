"""One run, trained and measured in its folder. Nothing here knows of studies, other runs or the store."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.data.location import data_root
from engine.errors import DivergedError
from engine.files import LOG
from engine.train import checked_trainer, fit_and_test, load_data
from experiments.keys import Run, digest
from experiments.locks import only_process
from experiments.store import Result

if TYPE_CHECKING:
    from engine.config import TrainConfig
    from engine.data.dataset import Dataset
    from engine.run import History

Parts = tuple["Dataset", "Dataset | None", "Dataset | None"]
EpochRecord = dict[str, Any]

# Keys of a configuration that play no part in what its samples are. A key that is not here counts as one that does.
NOT_OF_THE_DATA = (
    *("model", "initialize_from", "optimizer", "schedule", "loss", "freeze", "learning_rates", "max_norm"),
    *("class_weights", "sample_weights", "algorithm", "tune", "augment", "batch_size", "drop_last"),
    *("epochs", "early_stopping", "metric", "mode", "train_metrics", "seed", "threads", "out"),
    *("checkpoint_every", "checkpoint_seconds", "checkpoint_path", "gt_csv"),
)
PARTS = ("train_", "val_")


@dataclass
class DataCache:
    """Samples, split and deterministically prepared: done once and shared by all runs that ask for the same.

    Keeps the last `size` sets, so that a long study does not fill the memory.
    """

    size: int = 4
    _kept: dict[str, Parts] = field(default_factory=dict)

    def load(self, config: TrainConfig) -> Parts:
        """Training, validation and test samples of the configuration."""
        root = data_root(None, config.data_root)
        sections = {name: value for name, value in config.to_dict().items() if name not in NOT_OF_THE_DATA}
        key = digest([str(root), sections])
        if key not in self._kept:
            data = load_data(config, root)
            self._kept = dict([*self._kept.items(), (key, data)][-self.size :])
        return self._kept[key]


def train_run(
    run: Run, folder: Path, cache: DataCache, on_epoch: Callable[[EpochRecord], None] = lambda record: None
) -> Result:
    """Train the run in its folder, or go on where it was cut off there, and measure it.

    A run whose loss diverges has a result that says so; any other error is the caller's.
    """
    config = run.config
    with only_process(folder):
        trainer = checked_trainer(config, folder, "")
        trainer.progress = "none"
        result = Result(run.key, run.row, run.seed, "failed", parameters=trainer.net.num_parameters, folder=folder)
        train, validation, test = cache.load(config)
        try:
            history, measured = fit_and_test(
                config,
                trainer,
                train,
                validation,
                test,
                resume=True,
                callbacks=[on_epoch],
                restore_best=run.score_epoch == "best",
            )
        except DivergedError as error:
            spent = [each["seconds"] for each in logged_epochs(folder)]
            return dataclasses.replace(
                result, status="diverged", epochs=len(spent), seconds=sum(spent), error=str(error)
            )
    last_counts = run.score_epoch == "last" or validation is None
    return finished(result, history, measured, len(history.epochs) if last_counts else history.best_epoch or 1)


def finished(result: Result, history: History, measured: EpochRecord, epoch: int) -> Result:
    """The result with the figures of `epoch` (from 1), and those of the test part."""
    record = history.epochs[epoch - 1]
    metrics = {name: float(value) for name, value in record.items() if name.startswith(PARTS)}
    metrics |= {name: float(value) for name, value in measured.items() if name.startswith("test_")}
    seconds, epochs = sum(history["seconds"]), len(history.epochs)
    return dataclasses.replace(
        result,
        status="finished",
        metrics=metrics,
        best_epoch=epoch,
        epochs=epochs,
        seconds=seconds,
        seconds_per_epoch=seconds / epochs,
    )


def logged_epochs(folder: Path) -> list[EpochRecord]:
    """The epochs in a run's log so far; a line that is only half written is left out."""
    path = folder / LOG
    if not path.is_file():
        return []
    records = []
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "epoch" in record and "event" not in record:
            records.append(record)
    return records
