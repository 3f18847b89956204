"""One run, trained and measured in its folder. Nothing here knows of studies, other runs or the store."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import DivergedError, UserError
from engine.recipe.config import TrainConfig
from engine.recipe.fit import checked_trainer, fit_and_test
from engine.training.folder import LOG, read_epochs, trained_seconds
from engine.training.history import History
from experiments.learned import draw_ahead
from experiments.records.origin import origin_here
from experiments.records.result import Result, checkpoint_of
from experiments.tasks.keys import Run
from experiments.tasks.samples import DataCache

EpochRecord = dict[str, Any]
PARTS = ("train_", "val_")
# What a kill costs at most, where the configuration says nothing.
CHECKPOINT_SECONDS = 60.0
# How long a run waits for a process, such as a worker that its scheduler has lost, that still trains in its folder.
PATIENCE = 60.0
# Where the disk is full no run can go on: the study stops, and the same command goes on once there is room.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Job:
    """A run that can begin: its configuration with checkpoints of other runs in place, and its folder.

    Apart from `Run`, whose key must not depend on where those files lie. pictures: where what it learned is drawn as
    soon as it has ended (see `experiments.learned`), by executors on this machine; None: nothing is drawn.
    """

    run: Run
    config: TrainConfig
    folder: Path
    pictures: Path | None = None

    def on(self, threads: int) -> Job:
        """The job on no more than so many threads."""
        wished = self.config.threads or threads
        return dataclasses.replace(self, config=dataclasses.replace(self.config, threads=min(wished, threads)))


def attempt(
    job: Job,
    cache: DataCache,
    on_epoch: Callable[[EpochRecord], None],
    on_step: Callable[[], None] | None = None,
) -> Result:
    """The result of the job, whatever becomes of it. OSError where the disk is full: no other run could go on then."""
    try:
        return train_run(job, cache, on_epoch, on_step)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise
        return failed(job, error)
    except Exception as error:  # whatever it is, the other runs do not share it
        return failed(job, error)


def attempt_and_draw(job: Job, cache: DataCache, on_epoch: Callable[[EpochRecord], None]) -> Result:
    """`attempt`, and the job's pictures while its samples are at hand."""
    result = attempt(job, cache, on_epoch)
    if job.pictures is not None and result.status == "finished":
        draw_ahead(job.run.key, job.folder, job.pictures, cache)
    return result


def failed(job: Job, error: Exception) -> Result:
    """The result of a job that ended with an error."""
    text = " ".join(str(error).split())
    kind = "" if isinstance(error, (UserError, RuntimeError)) and text else type(error).__name__
    epochs, damage = epochs_so_far(job.folder)
    return Result(
        job.run.key,
        job.run.row,
        job.run.seed,
        "failed",
        epochs=len(epochs),
        seconds=trained_seconds(epochs),
        error=": ".join(filter(None, (kind, text))) + damage,
        folder=job.folder,
    )


def epochs_so_far(folder: Path) -> tuple[list[EpochRecord], str]:
    """What the log says of a run that has ended badly, and what an error is to say further: where the log cannot be
    read either, the run's own end must be recorded all the same, as one without epochs."""
    try:
        return read_epochs(folder / LOG), ""
    except (UserError, OSError) as error:
        return [], f" ({error})"


def train_run(
    job: Job,
    cache: DataCache,
    on_epoch: Callable[[EpochRecord], None],
    on_step: Callable[[], None] | None = None,
) -> Result:
    """Train the run in its folder, or go on where it was cut off there, and measure it. `on_step`, called before every
    step, can end it by an exception that is no Exception.

    A run whose loss diverges has a result that says so; any other error is the caller's.
    """
    run, config, folder = job.run, job.config, job.folder
    if config.checkpoint_every is None and config.checkpoint_seconds is None:
        config = dataclasses.replace(config, checkpoint_seconds=CHECKPOINT_SECONDS)
    trainer = checked_trainer(config, folder, "")
    with trainer.holding(PATIENCE):
        trainer.progress = "none"
        trainer.before_step = on_step
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
            epochs, damage = epochs_so_far(folder)
            seconds = trained_seconds(epochs)
            origin = origin_here(None, run.data)
            error_text = f"{error}{damage}"
            return dataclasses.replace(
                result, status="diverged", epochs=len(epochs), seconds=seconds, error=error_text, origin=origin
            )
    last_counts = run.score_epoch == "last" or validation is None
    result = finished(result, history, measured, len(history.epochs) if last_counts else history.best_epoch or 1)
    return dataclasses.replace(result, origin=origin_here(checkpoint_of(result, run), run.data))


def finished(result: Result, history: History, measured: EpochRecord, epoch: int) -> Result:
    """The result with the figures of `epoch` (from 1), and those that were measured at the end."""
    record = history.epochs[epoch - 1]
    metrics = {name: float(value) for name, value in record.items() if name.startswith(PARTS)}
    metrics |= {name: float(value) for name, value in measured.items() if name.startswith(("val_", "test_"))}
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
