"""How fast images are decoded, prepared and fed, for each report's pipeline, and what a training waits for them.

`python -m experiments.checks.loader [--pipelines numtadb,cifar10] [--seconds 2] [--data-root DIR]`

Each pipeline is a configuration of experiments/configs with its augmentation. Measured are, in this order:
- prepare: images/s of decoding and the deterministic steps, into an empty cache, and images/s of finding them there;
- feed: images/s of the loader's batches with nothing else to do, on all cores, and on one thread;
- train: a step on one batch at hand, again and again, beside a training on the loader's batches. Waited is the share
  of the training's time until batches were there; slower is how much longer it takes than its steps alone. That is more
  than waiting where both share the same cores: what a batch costs is then taken from the step.

A pipeline is loader-bound where a batch takes longer on one thread than a step does (cost above 100%); where it takes
less, no more than 5% may be waited. Sets that are not at hand are left out. Needs the data sets under CNN_DATA.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cnncore

from engine.cli import run
from engine.data.dataset import Dataset, RawDataset, prepare
from engine.data.loader import Batch, Loader
from engine.data.location import data_root
from engine.data.readers import read_dataset
from engine.errors import UserError, unknown
from engine.recipe.config import TrainConfig, load_config
from engine.recipe.fit import make_loader, make_trainer
from engine.training.trainer import Trainer
from experiments.options import names

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
ALLOWED = 0.05
WARM_UP, LEAST = 10, 3  # calls


@dataclass(frozen=True)
class Pipeline:
    """A configuration (its file's name) and the augmentation on top of it; one file's images are prepared once."""

    name: str
    config: str
    overrides: tuple[str, ...] = ()


PIPELINES: Mapping[str, Pipeline] = {
    each.name: each
    for each in (
        Pipeline("numtadb", "numtadb"),
        Pipeline("numtadb_contour_cutout", "numtadb", ("augment.contour_cutout={}",)),
        Pipeline("numtadb_mixup", "numtadb", ("augment.mixup=0.2",)),
        Pipeline("mnist", "mnist"),
        Pipeline("scenes_flip", "scenes", ("augment.flip=0.5",)),
        Pipeline("cifar10", "cifar10"),
        Pipeline("cifar10_shift_flip", "cifar10", ("augment.shift=0.1", "augment.flip=0.5")),
        Pipeline("midas", "midas"),
    )
}


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


def prepared_line(name: str, each: Prepared) -> str:
    found = "-" if each.found is None else f"{each.found:,.0f}"
    return f"{name:24} {each.images:>8,} {each.cold:>14,.0f} {found:>14}"


def feeding_line(name: str, each: Feeding) -> str:
    per_second = [f"{each.batch / seconds:>12,.0f}" for seconds in (each.workers, each.one_thread)]
    shares = [f"{share:>9.1%}" for share in (each.cost, each.waited_share, each.together / each.step - 1)]
    remark = "loader-bound" if each.cost >= 1 else "" if each.good else f"above {ALLOWED:.0%}"
    steps = f"{each.step * 1e3:>9.2f} {each.together * 1e3:>9.2f}"
    return f"{name:24} {each.batch:>5} {' '.join(per_second)} {steps} {' '.join(shares)}  {remark}".rstrip()


def check(options: argparse.Namespace) -> int:
    for name in options.pipelines:
        if name not in PIPELINES:
            raise unknown("pipeline", name, PIPELINES)
    chosen = [each for each in PIPELINES.values() if not options.pipelines or each.name in options.pipelines]
    print(f"{cnncore.get_num_threads()} threads, instruction set {cnncore.isa()}; {options.seconds:g} s each\n")
    print("Preparing, images/s: decoding and steps into an empty cache; opening what is there.")
    print(f"{'set':24} {'images':>8} {'cold cache':>14} {'warm cache':>14}", flush=True)
    sets: dict[str, Dataset] = {}
    for each in chosen:
        if each.config in sets:
            continue
        config = load_config(CONFIGS / f"{each.config}.yaml")
        try:
            raw = read_dataset(config.dataset.name, data_root(options.data_root), config.dataset.train)
        except UserError as error:
            print(f"{each.config:24} left out: {error}")
            continue
        sets[each.config], prepared = measure_preparing(raw, config)
        print(prepared_line(each.config, prepared), flush=True)
    print(
        "\nFeeding. cost: CPU time of a batch over a step's time; waited: share of the training's time; slower: than "
        "steps alone.\n"
        f"{'pipeline':24} {'batch':>5} {'images/s':>12} {'one thread':>12} {'step, ms':>9} {'both, ms':>9} "
        f"{'cost':>9} {'waited':>9} {'slower':>9}",
        flush=True,
    )
    measured = {}
    for each in chosen:
        if each.config in sets:
            config = load_config(CONFIGS / f"{each.config}.yaml", each.overrides)
            measured[each.name] = measure_feeding(config, sets[each.config], options.seconds)
            print(feeding_line(each.name, measured[each.name]), flush=True)
    bad = [name for name, each in measured.items() if not each.good]
    rule = f"waiting below {ALLOWED:.0%} wherever a batch costs less than a step"
    print(f"verdict: FAILED for {', '.join(bad)}: {rule}" if bad else f"verdict: {rule}")
    return 1 if bad else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.checks.loader",
        description="Measure how fast images are prepared and fed for each report, and what a training waits for them.",
    )
    parser.add_argument("--pipelines", type=names, default=[], metavar="A,B", help="only these (default: all)")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement of feeding (default: 2)")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)")
    options = parser.parse_args(arguments)
    return run(lambda: check(options))


if __name__ == "__main__":
    sys.exit(main())
