"""What is measured of a pipeline: preparing its images, feeding its batches, and a training that waits for them."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engine.data.dataset import Dataset, RawDataset, prepare
from engine.data.loader import Batch, Loader
from engine.recipe.config import TrainConfig
from engine.recipe.fit import make_loader, make_trainer
from engine.training.trainer import Trainer

ALLOWED = 0.05
WARM_UP, LEAST = 10, 3  # calls


@dataclass(frozen=True)
class Prepared:
    """Images per second into an empty cache, and out of it; None where the set is an array that needs no work."""

    images: int
    cold: float
    found: float | None


@dataclass(frozen=True)
class Feeding:
    """Seconds per batch: of the loader alone on all workers, on one thread (CPU cost), of a step alone, of both.

    waited: seconds of `together` until the batch was there.
    """

    batch: int
    workers: float
    one_thread: float
    step: float
    together: float
    waited: float

    @property
    def cost(self) -> float:
        """What a batch costs one core, as a share of a step's time."""
        return self.one_thread / self.step

    @property
    def waited_share(self) -> float:
        return self.waited / self.together

    @property
    def good(self) -> bool:
        return self.cost >= 1 or self.waited_share < ALLOWED


def measure_preparing(raw: RawDataset, config: TrainConfig) -> tuple[Dataset, Prepared]:
    """Prepare the set with an empty cache folder, then find it there."""
    before = os.environ.get("CNN_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CNN_CACHE"] = folder
        try:
            start = time.perf_counter()
            dataset = prepare(raw, config.preprocess)
            cold = time.perf_counter() - start
            kept = any(Path(folder).iterdir())
            start = time.perf_counter()
            if kept:
                dataset = prepare(raw, config.preprocess)
            found = time.perf_counter() - start
        finally:
            if before is None:
                del os.environ["CNN_CACHE"]
            else:
                os.environ["CNN_CACHE"] = before
    # On Linux and macOS the mapped file stays until it is let go.
    return dataset, Prepared(len(raw), len(raw) / cold, len(raw) / found if kept else None)


def batches_of(loader: Loader) -> Generator[Batch, None, None]:
    """Epoch after epoch without end, full batches only: the others would distort a mean."""
    return (batch for epoch in itertools.count() for batch in loader.epoch(epoch) if len(batch[0]) == loader.batch_size)


def seconds_per_call(action: Callable[[], object], seconds: float) -> float:
    """Mean time of a call, over as many as fit into so many seconds and at least LEAST, after up to WARM_UP others."""
    start = time.perf_counter()
    for _ in range(WARM_UP):
        action()
        if time.perf_counter() - start > seconds / 4:
            break
    start = time.perf_counter()
    for done in itertools.count(1):
        action()
        if done >= LEAST and time.perf_counter() - start > seconds:
            break
    return (time.perf_counter() - start) / done


def training(trainer: Trainer, feed: Iterator[Batch], seconds: float) -> tuple[float, float]:
    """Seconds per step on the loader's batches, and how many of them went by until the batch was there."""
    waits: list[float] = []

    def step() -> None:
        asked = time.perf_counter()
        batch = next(feed)
        waits.append(time.perf_counter() - asked)
        trainer.step(*batch)

    together = seconds_per_call(step, seconds)
    return together, sum(waits[1:]) / (len(waits) - 1)  # for the first the loader had not begun


def measure_feeding(config: TrainConfig, dataset: Dataset, seconds: float) -> Feeding:
    loader, alone = make_loader(config, dataset), make_loader(config, dataset)
    alone.prefetch = 0
    with closing(batches_of(loader)) as feed:
        workers = seconds_per_call(lambda: next(feed), seconds)
    single = batches_of(alone)
    one_thread = seconds_per_call(lambda: next(single), seconds)
    trainer = make_trainer(config, Path())
    trainer.open_session(config.batch_size)
    batch = next(single)
    step = seconds_per_call(lambda: trainer.step(*batch), seconds)
    with closing(batches_of(loader)) as feed:
        together, waited = training(trainer, feed, seconds)
    return Feeding(config.batch_size, workers, one_thread, step, together, waited)
