"""What a study will cost: time and memory of every row, from a few steps on random images that nothing is kept of.

Seconds per epoch are those of the training steps, and of the evaluations that belong to an epoch; preparing the images
the first time, and augmenting them where that is slower than the step, comes on top. Rows whose network, batch,
optimiser and algorithms agree are measured once. A row with results on record is not measured: its own seconds count.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import cnncore
import numpy as np

from engine.data.choose.selection import keep_classes, select
from engine.data.dataset import RawDataset
from engine.data.location import data_root
from engine.data.readers import read_dataset
from engine.data.sets.registry import own_folder
from engine.errors import DivergedError
from engine.network.network import Network
from engine.plan.plan import Plan
from engine.recipe.build import build_loss, build_network, build_optimizer
from engine.recipe.config import TrainConfig
from engine.recipe.fit import make_trainer
from engine.recipe.pseudo import strip_labels
from engine.recipe.samples import draw_subset, split_indices, split_strata, strata_names
from engine.training.trainer import Trainer
from experiments.records.standing import Standing
from experiments.tasks.keys import digest
from experiments.words import duration

STEPS, LONG = 3, 1.0  # steps that are timed; seconds from which a step counts as long, and is timed on fewer samples
EVALUATED = 64  # samples of the timed evaluation
MIB = 1 << 20


@dataclass(frozen=True)
class Counts:
    """Samples of the three parts. at_most: some will be dropped as duplicates, which needs a look at the images."""

    train: int
    validation: int
    test: int
    at_most: bool = False


@dataclass(frozen=True)
class Speed:
    """step: seconds of a training step on a full batch; sample: of evaluating one."""

    step: float
    sample: float


@dataclass(frozen=True)
class RowEstimate:
    """One row: `todo` of its `runs` are left to do. measured: from steps; otherwise from results on record."""

    row: str
    runs: int
    todo: int
    epochs: int
    counts: Counts
    seconds_per_epoch: float
    left: float
    bytes: int
    measured: bool

    @property
    def seconds(self) -> float:
        """Of one whole run."""
        return self.epochs * self.seconds_per_epoch


@dataclass
class Estimator:
    """Measures on `threads` threads, each distinct configuration once; reads each data set once, without its images."""

    threads: int
    _speeds: dict[str, Speed] = field(default_factory=dict)
    _sets: dict[str, RawDataset] = field(default_factory=dict)

    def rows(self, runs: Sequence[Standing]) -> Iterator[RowEstimate]:
        """The estimate of each row (and stage) in turn."""
        rows: dict[str, list[Standing]] = {}
        for each in runs:
            rows.setdefault(each.row, []).append(each)
        for row, members in rows.items():
            yield self.row(row, members)

    def row(self, row: str, members: Sequence[Standing]) -> RowEstimate:
        config = members[0].run.config
        counts = self.counts(config)
        seconds = [each.seconds_per_epoch for each in members if each.seconds_per_epoch is not None]
        per_epoch = fmean(seconds) if seconds else seconds_per_epoch(config, counts, self.speed(config))
        todo = [each for each in members if not each.done]
        epochs = sum(each.planned - each.epochs for each in todo)
        return RowEstimate(
            row,
            runs=len(members),
            todo=len(todo),
            epochs=config.epochs,
            counts=counts,
            seconds_per_epoch=per_epoch,
            left=epochs * per_epoch,
            bytes=memory(config, counts, config.threads or self.threads),
            measured=not seconds,
        )

    def speed(self, config: TrainConfig) -> Speed:
        parts = (config.model, config.optimizer, config.loss, config.freeze, config.learning_rates, config.max_norm)
        key = digest([repr(each) for each in (*parts, config.algorithm, config.tune, config.batch_size)])
        if key not in self._speeds:
            self._speeds[key] = measured_speed(config, config.threads or self.threads)
        return self._speeds[key]

    def counts(self, config: TrainConfig) -> Counts:
        return sample_counts(config, self._read)

    def _read(self, config: TrainConfig, options: Mapping[str, Any]) -> RawDataset:
        root = data_root(None, config.data_root)
        key = digest([str(root), config.dataset.name, dict(options)])
        if key not in self._sets:
            self._sets[key] = read_dataset(config.dataset.name, root, options)
        return self._sets[key]


Reader = Callable[["TrainConfig", Mapping[str, Any]], "RawDataset"]


def sample_counts(config: TrainConfig, read: Reader) -> Counts:
    """How many samples the three parts have, without preparing an image."""
    section, split = config.dataset, config.split
    # These look at the images; `deduplicated` then keeps a known number.
    at_most = config.select.drop_duplicates or config.select.near_duplicates is not None
    kept = config.select.deduplicated
    chosen = dataclasses.replace(config.select, drop_duplicates=False, near_duplicates=None, deduplicated=None)
    raw, stripped = read(config, section.train), 0
    if section.subset is not None:
        raw = draw_subset(raw, section.subset, split.seed)
    folder = own_folder(section.name, data_root(None, config.data_root))
    raw, _, _ = select(raw, None, chosen, section.name, folder)
    if kept is not None:
        raw = raw.subset(np.arange(min(kept, len(raw))))
    if section.labelled_fraction is not None:
        strata = split_strata(raw, split.stratify)
        names = strata_names(raw, strata, split.stratify)
        labelled, rest = strip_labels(strata, section.labelled_fraction, split.seed, names)
        raw, stripped = raw.subset(labelled), len(rest)
    test = 0
    if section.test is not None:
        raw_test = read(config, section.test)
        if section.test_subset is not None:
            raw_test = draw_subset(raw_test, section.test_subset, split.seed, "test_subset")
        chosen_test = (
            keep_classes(raw_test, config.select.classes, may_lack=True) if config.select.classes else raw_test
        )
        test = len(chosen_test)
    # Folds have the same sizes however they are drawn; a file of them is for images that are not looked at here.
    indices = split_indices(raw, dataclasses.replace(split, file=None))
    train, validation = (len(raw), test * (split.kind == "test")) if indices is None else map(len, indices)
    if config.pseudo_labels is not None:
        train, at_most = train + stripped, True
    return Counts(train, validation, test, at_most)


def seconds_per_epoch(config: TrainConfig, counts: Counts, speed: Speed) -> float:
    """Steps, and the evaluations after them."""
    views = config.evaluation_views
    judged = views.count if views is not None and views.each_epoch else 0
    evaluated = counts.validation * (1 + judged) + (counts.train if config.train_metrics else 0)
    return counts.train / config.batch_size * speed.step + evaluated * speed.sample


def plans(config: TrainConfig) -> tuple[Network, Plan, Plan]:
    """The network, and the programs of the training step and of an evaluation."""
    net, loss = build_network(config.model, config.seed), build_loss(config.loss)
    optimizer = build_optimizer(config.optimizer)
    step = net.plan(
        config.batch_size,
        True,
        loss,
        optimizer,
        config.max_norm,
        config.algorithm,
        freeze=config.freeze,
        learning_rates=config.learning_rates,
        memory=config.memory,
    )
    return net, step, net.plan(EVALUATED, False, loss, algorithm=config.algorithm)


def memory(config: TrainConfig, counts: Counts, threads: int) -> int:
    """Bytes of both programs and of the prepared images; Python and its packages take some 150 MiB more."""
    net, step, evaluation = plans(config)
    images = counts.train + counts.validation + counts.test
    programs = step.footprint.bytes(threads) + evaluation.footprint.bytes(threads)
    return programs + images * math.prod(net.input_shape)


def measured_speed(config: TrainConfig, threads: int) -> Speed:
    """A few training steps and one evaluation, on random images.

    A long step is measured on as many samples as take about LONG seconds by the planner's cost model.
    """
    cnncore.set_num_threads(threads)
    step = sum(plans(config)[1].estimates) / threads
    batch = config.batch_size if step <= LONG else max(2, int(config.batch_size * LONG / step))
    trainer = make_trainer(dataclasses.replace(config, initialize_from=None, schedule={}), Path())
    images, targets = random_samples(trainer, max(batch, EVALUATED))
    trainer.open_session(batch)
    seconds = [_timed(lambda: trainer.step(images[:batch], targets[:batch])) for _ in range(1 + STEPS)]
    few = min(batch, EVALUATED)
    evaluations = [_timed(lambda: trainer.evaluate((images[:few], targets[:few]))) for _ in range(2)]
    return Speed(min(seconds[1:]) * config.batch_size / batch, evaluations[1] / few)


def random_samples(trainer: Trainer, count: int) -> tuple[Any, Any]:
    """Images and targets of the shapes that the network and its loss take."""
    draw = np.random.Generator(np.random.Philox(key=0))
    net = trainer.net
    images = draw.random((count, *net.input_shape), np.float32)
    if len(net.output_shape) == 1:
        return images, np.eye(net.output_shape[0], dtype=np.float32)[np.arange(count) % net.output_shape[0]]
    return images, draw.random((count, *net.output_shape), np.float32)


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    with suppress(DivergedError):  # a learning rate that is too high for random images takes as long as any other
        action()
    return time.perf_counter() - began


HEADER = ("row", "runs", "to do", "samples", "epochs", "epoch", "run", "all", "memory")


def estimate_lines(rows: Sequence[RowEstimate]) -> list[str]:
    """The table for a reader; `+` marks seconds that are those of results on record."""
    cells = [HEADER] + [
        (
            each.row,
            str(each.runs),
            str(each.todo),
            f"{'up to ' if each.counts.at_most else ''}{each.counts.train:,}",
            str(each.epochs),
            ("" if each.measured else "+") + short(each.seconds_per_epoch),
            duration(each.seconds),
            duration(each.left),
            f"{each.bytes / MIB:,.0f} MiB",
        )
        for each in rows
    ]
    widths = [max(len(line[place]) for line in cells) for place in range(len(HEADER))]
    return [
        "  ".join([line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:]))])
        for line in cells
    ]


def short(seconds: float) -> str:
    """Seconds with three digits where they are few."""
    return f"{seconds:.3g} s" if seconds < 90 else duration(seconds)


def summary(rows: Sequence[RowEstimate], jobs: int, threads: int) -> str:
    """One sentence on all rows together."""
    left, todo = sum(each.left for each in rows), sum(each.todo for each in rows)
    each = f"{jobs} at a time on {threads} thread{'s' * (threads > 1)} each" if jobs > 1 else f"on {threads} threads"
    largest = max((row.bytes for row in rows), default=0) * jobs
    return f"{todo} runs to do: about {duration(left / jobs)}, {each}; memory up to about {largest / MIB:,.0f} MiB"
