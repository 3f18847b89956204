"""One run of a trainer: its epochs, its checkpoints and log, and going on where a killed run was cut off."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cnncore
import numpy as np

from engine import checkpoint, metrics
from engine.checkpoint import Checkpoint
from engine.data import weights
from engine.data.dataset import Dataset
from engine.data.loader import Batch, Loader
from engine.errors import DivergedError, UserError, unknown
from engine.files import BEST, CONFIG, LAST, RESULT, RUN_FILES, write_atomically
from engine.inputs import checked_targets
from engine.progress import Progress, progress_for
from engine.runlog import RunLog
from engine.schedules import EarlyStopping

if TYPE_CHECKING:
    from engine.trainer import Trainer

# Settings that do not change what a run computes.
FREE_SETTINGS = (
    "epochs",
    "threads",
    "out",
    "data_root",
    "checkpoint_every",
    "checkpoint_seconds",
    "strict",
    "cache",
    "tensorboard",
    "wandb",
)

Record = dict[str, Any]


@dataclass
class History:
    """What a run did: a record per epoch, which one was best (counted from 1), and whether it stopped early."""

    metric: str
    epochs: list[Record] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    stopped_early: bool = False

    def __getitem__(self, name: str) -> list[float]:
        """The values of one metric, epoch by epoch."""
        return [record[name] for record in self.epochs]


@dataclass
class Position:
    """Where a run is: everything of it that a checkpoint must hold besides arrays; JSON-able."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    samples: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    stale: int = 0
    stop_best: float | None = None
    history: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)


class Run:
    """One call of `fit`."""

    def __init__(
        self,
        trainer: Trainer,
        loader: Loader,
        validation: Dataset | None,
        epochs: int,
        early_stopping: EarlyStopping | None,
        checkpoint_due: tuple[int | None, float | None],
        train_metrics: bool,
        restore_best: bool,
    ):
        self.trainer = trainer
        self.loader = weights.weighted_loader(loader, trainer.loss, trainer.net.output_shape)
        self.validation = validation
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.checkpoint_every, self.checkpoint_seconds = checkpoint_due  # steps, seconds
        self._written = time.perf_counter()  # the last checkpoint, or the beginning
        self.train_metrics = train_metrics
        self.restore_best = restore_best
        self.out = trainer.out
        self.log = RunLog(self.out, trainer.trackers) if self.out else None
        self.metric = trainer.metric or ("val_loss" if validation is not None else "train_loss")
        self.history = History(self.metric)
        self.position = Position()
        self.best: Checkpoint | None = None
        self.plan_choices: Record = {}
        self.extra: set[str] = set()  # of engine.metrics.PER_CLASS, those that something watches
        self._check_data()
        self._check_last_batch()
        self._check_metrics()

    # ---- checks before anything is written ----

    def _check_data(self) -> None:
        """What a step would refuse is refused here, before anything is written."""
        net, loss = self.trainer.net, self.trainer.loss
        for dataset in (self.loader.dataset, self.validation):
            if dataset is None:
                continue
            if dataset.sample_shape != net.input_shape:
                raise UserError(
                    f"{dataset.name}: images have shape {dataset.sample_shape}, but the network takes {net.input_shape}"
                )
            if dataset.images.dtype == np.float32 and not np.isfinite(dataset.images).all():
                raise UserError(f"{dataset.name}: the images hold NaN or infinity")
            labels = dataset.labels
            checked_targets(labels, len(dataset), loss, net.output_shape)
            if labels.ndim == 1 and not (labels.min() >= 0 and labels.max() < net.output_shape[0]):
                raise UserError(
                    f"{dataset.name}: labels run from {labels.min()} to {labels.max()}, "
                    f"but the network has {net.output_shape[0]} classes"
                )

    def _check_last_batch(self) -> None:
        loader, layer = self.loader, self.trainer.net.single_value_norm(self.trainer.frozen)
        rest = len(loader.dataset) % loader.batch_size
        single = loader.batch_size == 1 or (rest == 1 and not loader.drop_last)
        if layer and single:
            raise UserError(
                f"{loader.dataset.name}: with {len(loader.dataset)} samples in batches of {loader.batch_size} a batch "
                f"has one sample, of which BatchNorm {layer!r} sees one value per channel; "
                "choose another batch_size, or leave that batch out (drop_last)"
            )

    def _check_metrics(self) -> None:
        """Every watched metric must be one that the log will have."""
        known = ["train_loss"]
        for prefix, dataset in (("train", self.loader.dataset), ("val", self.validation)):
            if dataset is None or (prefix == "train" and not self.train_metrics):
                continue
            with_classes = ["loss", "accuracy", "macro_f1", *metrics.PER_CLASS]
            names = with_classes if self.trainer.has_classes(dataset) else ["loss"]
            known += [f"{prefix}_{name}" for name in names if f"{prefix}_{name}" not in known]
        watched = {
            "metric": self.metric,
            "early stopping metric": self.early_stopping and self.early_stopping.metric,
            "schedule metric": self.trainer.schedule.metric,
        }
        for what, name in watched.items():
            if name and name not in known:
                raise unknown(f"{what} (this run logs {', '.join(known)}):", name, known)
            self.extra |= {each for each in metrics.PER_CLASS if name and name.partition("_")[2] == each}

    # ---- the run ----

    def go(self, resume: bool, callbacks: Sequence[Callable[[Record], None]]) -> History:
        dataset = self.loader.dataset
        if dataset.preprocess is not None:
            self.trainer.net.preprocess = dataset.preprocess.to_dict()
        if dataset.class_names:
            self.trainer.net.class_names = list(dataset.class_names)
        with instruction_set(None):
            try:
                self._begin(resume)
                self._train(callbacks)
            finally:
                if self.log:
                    self.log.close()
        if self.restore_best:
            self._load_best()
        return self.history

    def _train(self, callbacks: Sequence[Callable[[Record], None]]) -> None:
        dataset = self.loader.dataset
        progress = progress_for(self.trainer.progress)
        per_epoch = len(self.loader) * self.loader.batch_size if self.loader.drop_last else len(dataset)
        progress.begin(self.epochs, per_epoch, self.position.epoch * per_epoch + self.position.samples)
        try:
            while self.position.epoch < self.epochs and not self.history.stopped_early:
                record = self._run_epoch(progress)
                progress.epoch(record["epoch"], self.epochs, record)
                for callback in callbacks:
                    callback(record)
        except DivergedError as error:
            if self.log:
                event = {"event": "diverged", "epoch": self.position.epoch + 1}
                self.log.event({**event, "step": error.step, "layer": error.layer, "message": str(error)})
            raise
        finally:
            progress.close()

    def _begin(self, resume: bool) -> None:
        trainer = self.trainer
        last = None
        if self.out and holds_run(self.out, resume):
            if (self.out / LAST).exists():
                last = checkpoint.read(self.out / LAST)
                self._check_same_run(last)
            else:
                self._check_same_config()
        trainer.begin_anew()
        # Instruction set and algorithms decide rounding: a resumed run keeps those that it was started with.
        if last is not None:
            trainer.choices = last.plan_choices["convolutions"]
            if last.plan_choices["isa"] in cnncore.available_isas():
                cnncore.set_isa(last.plan_choices["isa"])
        trainer.isa = cnncore.isa()
        session = trainer.open_session(min(self.loader.batch_size, len(self.loader.dataset)))
        self.plan_choices = plain(session.plan.choices)
        if last is not None:
            self._restore(last)
        if self.out:
            self.out.mkdir(parents=True, exist_ok=True)
            for stale in self.out.glob(".*.tmp"):  # left by a process that was killed while it wrote
                stale.unlink(missing_ok=True)
            if last is None:  # a run that ended before its first checkpoint may have left these
                for name in (BEST, RESULT):
                    (self.out / name).unlink(missing_ok=True)
            write_atomically(self.out / CONFIG, _to_yaml(trainer.config or self._settings()).encode())
        if self.log:
            self.log.restart(self.history.epochs)
            if trainer.initialized:
                self.log.event({"event": "initialized", **trainer.initialized})
            self._log_skipped(self.log)

    def _log_skipped(self, log: RunLog) -> None:
        """Say which images the sets lack; the parts of a split share theirs, which are told once."""
        told: list[tuple[str, ...]] = []
        for dataset in (self.loader.dataset, self.validation):
            if dataset is not None and dataset.skipped and dataset.skipped not in told:
                told.append(dataset.skipped)
                event = {"event": "skipped_images", "dataset": dataset.name, "count": len(dataset.skipped)}
                log.event({**event, "images": dataset.skipped})

    def _run_epoch(self, progress: Progress) -> Record:
        trainer, position = self.trainer, self.position
        trainer.epoch = position.epoch
        batches = len(self.loader)
        started = time.perf_counter()
        for x, y in self._batches():
            if trainer.before_step is not None:
                trainer.before_step()
            loss = trainer.step(x, y)
            position.loss_sum += loss * len(x)
            position.samples += len(x)
            position.batch += 1
            progress.step(len(x), loss)
            if self._checkpoint_is_due() and self.out and position.batch < batches:
                now = time.perf_counter()
                position.seconds += now - started
                started = now
                self._write_last()
        position.seconds += time.perf_counter() - started
        return self._end_epoch()

    def _checkpoint_is_due(self) -> bool:
        if self.checkpoint_every and self.trainer.steps % self.checkpoint_every == 0:
            return True
        wait = self.checkpoint_seconds
        return wait is not None and time.perf_counter() - self._written >= wait

    def _batches(self) -> Iterator[Batch]:
        """The rest of the epoch's batches; what it takes until they are there is added to the seconds waited."""
        batches = self.loader.epoch(self.position.epoch, self.position.batch)
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.position.waited += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    def _end_epoch(self) -> Record:
        position = self.position
        record: Record = {
            "epoch": position.epoch + 1,
            "step": self.trainer.steps,
            "learning_rate": self.trainer.last_rate,
            "train_loss": position.loss_sum / position.samples,
        }
        if self.train_metrics:
            measured = self.trainer.evaluate(self.loader.dataset, self.extra)
            record |= {f"train_{name}": value for name, value in measured.items() if name != "loss"}
        if self.validation is not None:
            measured = self.trainer.evaluate(self.validation, self.extra)
            record |= {f"val_{name}": value for name, value in measured.items()}
        record["seconds"] = round(position.seconds, 3)
        record["data_wait_seconds"] = round(position.waited, 3)
        record["images_per_second"] = round(position.samples / max(position.seconds, 1e-9), 1)
        self.trainer.schedule.observe(record)
        improved = self._note_best(record)
        self._note_stop(record)
        self.history.epochs.append(record)
        self._next_epoch()
        # Best before last: killed in between, the resumed run trains this epoch again and writes the same best.
        if improved:
            self._keep_best()
        if self.out:
            self._write_last()
        if self.log:
            self.log.append(record)
        return record

    def _next_epoch(self) -> None:
        position = self.position
        position.epoch += 1
        position.batch = position.samples = 0
        position.loss_sum = position.seconds = position.waited = 0.0

    def _note_best(self, record: Record) -> bool:
        value = record[self.metric]
        mode = metrics.direction(self.metric, self.trainer.mode)
        better = metrics.is_better(value, self.history.best_value, mode)
        if better:
            self.history.best_epoch, self.history.best_value = record["epoch"], value
        return better

    def _note_stop(self, record: Record) -> None:
        rule, position = self.early_stopping, self.position
        if rule is None:
            return
        metric = rule.metric or self.metric
        mode = metrics.direction(metric, rule.mode or (self.trainer.mode if rule.metric is None else None))
        if metrics.is_better(record[metric], position.stop_best, mode, rule.threshold):
            position.stop_best, position.stale = record[metric], 0
        else:
            position.stale += 1
        self.history.stopped_early = position.stale >= rule.patience

    # ---- checkpoints ----

    def _settings(self) -> Record:
        own: Record = {
            "order_seed": self.loader.seed,
            "batch_size": self.loader.batch_size,
            "drop_last": self.loader.drop_last,
            "augmentation": self.loader.description,
            "early_stopping": self.early_stopping and asdict(self.early_stopping),
            "train_metrics": self.train_metrics,
        }
        return plain({**self.trainer.settings(), **own})

    @cached_property
    def _data_hash(self) -> str:
        """SHA-256 of images and labels; only runs with a folder need it."""
        digest = hashlib.sha256()
        for dataset in (self.loader.dataset, self.validation):
            if dataset is not None:
                digest.update(np.ascontiguousarray(dataset.images).data)
                digest.update(np.ascontiguousarray(dataset.labels).data)
                if dataset.sample_weights is not None:
                    digest.update(dataset.sample_weights.data)
        return digest.hexdigest()

    def _write_last(self) -> None:
        trainer, position = self.trainer, self.position
        assert self.out is not None and trainer.session is not None
        position.step = trainer.steps
        position.history = asdict(self.history)
        position.schedule = trainer.schedule.state_dict()
        training: Record = {"settings": self._settings(), "data": self._data_hash, "position": asdict(position)}
        training["initialized"] = trainer.initialized
        content = Checkpoint.of(
            trainer.net, plan_choices=self.plan_choices, optimizer=trainer.session.state(), training=training
        )
        checkpoint.write(self.out / LAST, content)
        self._written = time.perf_counter()

    def _keep_best(self) -> None:
        content = Checkpoint.of(
            self.trainer.net,
            plan_choices=self.plan_choices,
            training={"epoch": self.history.best_epoch, self.metric: self.history.best_value},
        )
        if self.out:
            checkpoint.write(self.out / BEST, content)
        elif self.restore_best:
            self.best = content

    def _load_best(self) -> None:
        if self.out and (self.out / BEST).exists():
            checkpoint.read(self.out / BEST).restore_into(self.trainer.net)
        elif self.best is not None:
            self.best.restore_into(self.trainer.net)

    def _check_same_run(self, last: Checkpoint) -> None:
        """UserError unless the checkpoint belongs to a run of the same network, settings and data."""
        assert self.out is not None
        path = self.out / LAST
        if "position" not in last.training:
            raise UserError(f"{path}: this checkpoint holds no run that can be resumed")
        if last.graph != plain(self.trainer.net.to_config()):
            raise UserError(f"{path}: the run was started with another network")
        stored, now = last.training["settings"], self._settings()
        for key in now:
            if stored.get(key) != now[key]:
                raise UserError(f"{path}: the run was started with {key} = {stored.get(key)}, now it is {now[key]}")
        self._check_same_preprocess(last)
        if last.training["data"] != self._data_hash:
            raise UserError(f"{path}: the run was started with other data")

    def _check_same_preprocess(self, last: Checkpoint) -> None:
        """UserError where images are scaled otherwise: what is done to a batch is not in the data's hash."""
        assert self.out is not None
        stored, now = last.preprocess, plain(self.trainer.net.preprocess)
        if stored is None or now is None:
            return
        for key in dict.fromkeys([*now, *stored]):
            if stored.get(key) != now.get(key):
                raise UserError(
                    f"{self.out / LAST}: the run was started with preprocess.{key} = {stored.get(key)}, "
                    f"now it is {now.get(key)}"
                )

    def _check_same_config(self) -> None:
        """UserError unless config.yaml says that the run without a checkpoint was this one."""
        from engine.schema import read_yaml

        assert self.out is not None
        path = self.out / CONFIG
        if not path.is_file():
            raise UserError(f"{self.out}: holds files of a run but neither {LAST} nor {CONFIG}; choose another folder")
        stored, now = read_yaml(path), plain(self.trainer.config or self._settings())
        for key in dict.fromkeys([*now, *stored]):
            if key not in FREE_SETTINGS and stored.get(key) != now.get(key):
                raise UserError(f"{path}: the run was started with {key} = {stored.get(key)}, now it is {now.get(key)}")

    def _restore(self, last: Checkpoint) -> None:
        trainer = self.trainer
        assert trainer.session is not None
        self.position = Position(**last.training["position"])
        self.history = History(**self.position.history)
        last.restore_into(trainer.net)
        trainer.initialized = last.training.get("initialized")
        trainer.session.load_state(last.optimizer)
        trainer.schedule.load_state(self.position.schedule)
        trainer.steps = self.position.step
        if last.plan_choices != self.plan_choices:
            warnings.warn(
                f"the run was started with the instruction set {last.plan_choices['isa']} and a batch of "
                f"{last.plan_choices['batch']}, and goes on with {self.plan_choices['isa']} and "
                f"{self.plan_choices['batch']}: its bits will differ from those of an undisturbed run",
                stacklevel=2,
            )


def holds_run(folder: Path, resume: bool) -> bool:
    """Whether the folder holds anything of a run (RUN_FILES); UserError where it does and `resume` is not wished."""
    found = any((folder / name).is_file() and (folder / name).stat().st_size for name in RUN_FILES)
    if found and not resume:
        raise UserError(
            f"{folder}: this folder holds a run already; go on with it (--resume), or choose another folder (--out)"
        )
    return found


@contextmanager
def instruction_set(name: str | None) -> Iterator[None]:
    """Compute with this instruction set (None: the present one) for a while."""
    before = cnncore.isa()
    try:
        if name is not None:
            cnncore.set_isa(name)
        yield
    finally:
        cnncore.set_isa(before)


def plain(value: Any) -> Any:
    """The value in JSON's own types, as reading a checkpoint gives it."""
    return json.loads(json.dumps(value))


def _to_yaml(mapping: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(plain(mapping), sort_keys=False, allow_unicode=True)
