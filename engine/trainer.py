"""Training: one step on a batch, or a whole run with validation, checkpoints, a log and an exact resume."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine import checkpoint, metrics
from engine.checkpoint import Checkpoint
from engine.data.dataset import Dataset
from engine.data.loader import Loader
from engine.errors import DivergedError, UserError, unknown
from engine.files import write_atomically
from engine.losses import CrossEntropy
from engine.progress import Mode, Progress, progress_for
from engine.runlog import RunLog
from engine.schedules import Constant, Schedule

if TYPE_CHECKING:
    from engine.losses import Loss
    from engine.network import Network, TrainingSession
    from engine.optim import Optimizer

BEST, LAST, CONFIG = "best.safetensors", "last.safetensors", "config.yaml"
EVALUATION_CHUNK = 1024  # samples made float32 at a time

Data = Dataset | tuple[NDArray[Any], NDArray[Any]]
Record = dict[str, Any]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop after `patience` epochs in a row without a better metric (better by more than `threshold`).

    metric None: the trainer's. mode None: a loss is to fall, anything else to rise. NaN counts as worst.
    """

    patience: int
    metric: str | None = None
    mode: str | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1 or self.threshold < 0:
            raise UserError(
                f"early stopping needs patience >= 1 and threshold >= 0, got {self.patience} and {self.threshold}"
            )
        metrics.direction(self.metric or "", self.mode)


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
class _Position:
    """Where a run is: everything of it that a checkpoint must hold besides arrays; JSON-able."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    samples: int = 0
    seconds: float = 0.0
    stale: int = 0
    stop_best: float | None = None
    history: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)


class Trainer:
    """Trains a network.

    net         the network; it is updated in place
    schedule    learning rate over time (None: the optimiser's, always)
    out         run folder for checkpoints and logs (None: nothing is written)
    metric      picks the best epoch: any metric of the log (None: val_loss, or train_loss without validation)
    mode        "min" or "max" (None: a loss is to fall, anything else to rise)
    max_norm    bound on the Euclidean norm of the whole gradient (None: none)
    progress    "bar", "lines", "none", or "auto": a bar on a terminal, otherwise a line per epoch
    config      goes to config.yaml in the run folder (None: the trainer's own settings)

    The same arguments, data, plan, instruction set and build give the same bits, for any number of threads, and
    whether or not the run was interrupted and resumed.
    """

    def __init__(
        self,
        net: Network,
        optimizer: Optimizer,
        loss: Loss | None = None,
        schedule: Schedule | None = None,
        *,
        batch_size: int = 64,
        seed: int = 0,
        out: Path | str | None = None,
        metric: str | None = None,
        mode: str | None = None,
        max_norm: float | None = None,
        progress: Mode = "auto",
        config: Mapping[str, Any] | None = None,
    ):
        if batch_size < 1:
            raise UserError(f"batch_size must be 1 or more, got {batch_size}")
        if seed < 0:
            raise UserError(f"the seed must not be negative, got {seed}")
        metrics.direction("", mode)
        self.net = net
        self.optimizer = optimizer
        self.loss = CrossEntropy() if loss is None else loss
        self.schedule = schedule or Constant()
        self.batch_size = batch_size
        self.seed = seed
        self.out = None if out is None else Path(out)
        self.metric = metric
        self.mode = mode
        self.max_norm = max_norm
        self.progress: Mode = progress
        self.config = config
        self.steps = 0
        self.epoch = 0
        self._session: TrainingSession | None = None
        self._capacity = 0

    # ---- one step ----

    def step(self, x: NDArray[np.float32], y: NDArray[Any]) -> float:
        """One whole training step on a batch (forward, loss, backward, update); returns the mean loss.

        x float32 (n, C, H, W); y int64 (n,) or float32 (n, classes). UserError for anything else; DivergedError
        when the loss or a gradient is not finite (then nothing was updated).
        """
        session = self._session
        if session is None or len(x) > self._capacity:
            session = self._open_session(len(x))
        loss = session.step(x, y, self.learning_rate, self.steps, self.seed)
        self.steps += 1
        return loss

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return self.schedule.rate(self.optimizer.lr, self.steps, self.epoch)

    def _open_session(self, batch: int) -> TrainingSession:
        """A session for batches of up to `batch`; the optimiser's state of an earlier one moves over."""
        session = self.net.training_session(self.loss, self.optimizer, batch, max_norm=self.max_norm)
        if self._session is not None:
            session.load_state(self._session.state())
        self._session, self._capacity = session, batch
        return session

    # ---- a whole run ----

    def fit(
        self,
        train: Data | Loader,
        validation: Data | None = None,
        *,
        epochs: int,
        early_stopping: EarlyStopping | None = None,
        resume: bool = False,
        checkpoint_every: int | None = None,
        callbacks: Sequence[Callable[[Record], None]] = (),
        train_metrics: bool = False,
        restore_best: bool = False,
    ) -> History:
        """Train for `epochs` epochs, fewer with early stopping.

        With a run folder: last.safetensors holds the run's whole state after every epoch, and every
        `checkpoint_every` steps; best.safetensors the network of the best epoch. `resume` goes on from
        last.safetensors to the bits of an undisturbed run (or begins, when there is none yet); without it a folder
        that holds a run is refused. `train_metrics` also evaluates the training set after every epoch. Every callback
        gets each epoch's record. `restore_best` leaves the network with the weights of the best epoch, else the last.
        """
        loader = train if isinstance(train, Loader) else Loader(as_dataset(train), self.batch_size, seed=self.seed)
        held_out = None if validation is None else as_dataset(validation, "validation")
        if epochs < 1:
            raise UserError(f"epochs must be 1 or more, got {epochs}")
        if checkpoint_every is not None and checkpoint_every < 1:
            raise UserError(f"checkpoint_every must be 1 or more steps, got {checkpoint_every}")
        run = _Run(self, loader, held_out, epochs, early_stopping, checkpoint_every, train_metrics, restore_best)
        return run.go(resume, callbacks)

    def evaluate(self, data: Data) -> dict[str, float]:
        """Loss of the network on labelled samples, and accuracy and macro-F1 where the labels are classes."""
        dataset = as_dataset(data)
        total = 0.0
        predicted = np.empty(len(dataset), np.int64)
        for start in range(0, len(dataset), EVALUATION_CHUNK):
            part = slice(start, start + EVALUATION_CHUNK)
            images = np.ascontiguousarray(dataset.normalise(dataset.images[part]))
            loss, outputs = self.net.evaluate(images, dataset.labels[part], self.loss)
            total += loss * len(images)
            predicted[part] = outputs.reshape(len(images), -1).argmax(axis=1)
        result = {"loss": total / len(dataset)}
        if self._has_classes(dataset):
            soft = dataset.labels.ndim == 2
            truth: NDArray[Any] = dataset.labels.argmax(axis=1) if soft else dataset.labels
            result["accuracy"] = metrics.accuracy(truth, predicted)
            result["macro_f1"] = metrics.macro_f1(truth, predicted)
        return result

    def _has_classes(self, dataset: Dataset) -> bool:
        return dataset.labels.ndim == 1 or isinstance(self.loss, CrossEntropy)

    def settings(self) -> Record:
        """What decides the bits of a run, beside the data: in JSON's own types, for comparison on resume."""
        return _plain(
            {
                "optimizer": describe(self.optimizer),
                "loss": describe(self.loss),
                "schedule": describe(self.schedule),
                "seed": self.seed,
                "max_norm": self.max_norm,
                "metric": self.metric,
                "mode": self.mode,
            }
        )


class _Run:
    """One call of `fit`."""

    def __init__(
        self,
        trainer: Trainer,
        loader: Loader,
        validation: Dataset | None,
        epochs: int,
        early_stopping: EarlyStopping | None,
        checkpoint_every: int | None,
        train_metrics: bool,
        restore_best: bool,
    ):
        self.trainer = trainer
        self.loader = loader
        self.validation = validation
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.checkpoint_every = checkpoint_every
        self.train_metrics = train_metrics
        self.restore_best = restore_best
        self.out = trainer.out
        self.log = RunLog(self.out) if self.out else None
        self.metric = trainer.metric or ("val_loss" if validation is not None else "train_loss")
        self.history = History(self.metric)
        self.position = _Position()
        self.best: Checkpoint | None = None
        self.plan_choices: Record = {}
        self._check_data()
        self._check_metrics()

    # ---- checks before anything is written ----

    def _check_data(self) -> None:
        net = self.trainer.net
        for dataset in (self.loader.dataset, self.validation):
            if dataset is not None and dataset.sample_shape != tuple(net.input_shape):
                raise UserError(
                    f"{dataset.name}: images have shape {dataset.sample_shape}, "
                    f"but the network takes {tuple(net.input_shape)}"
                )

    def _check_metrics(self) -> None:
        """Every watched metric must be one that the log will have."""
        known = ["train_loss"]
        for prefix, dataset in (("train", self.loader.dataset), ("val", self.validation)):
            if dataset is None or (prefix == "train" and not self.train_metrics):
                continue
            names = ["loss", "accuracy", "macro_f1"] if self.trainer._has_classes(dataset) else ["loss"]
            known += [f"{prefix}_{name}" for name in names if f"{prefix}_{name}" not in known]
        watched = {
            "metric": self.metric,
            "early stopping metric": self.early_stopping and self.early_stopping.metric,
            "schedule metric": self.trainer.schedule.metric,
        }
        for what, name in watched.items():
            if name and name not in known:
                raise unknown(f"{what} (this run logs {', '.join(known)}):", name, known)

    # ---- the run ----

    def go(self, resume: bool, callbacks: Sequence[Callable[[Record], None]]) -> History:
        dataset = self.loader.dataset
        if dataset.preprocess is not None:
            self.trainer.net.preprocess = dataset.preprocess.to_dict()
        if dataset.class_names:
            self.trainer.net.class_names = list(dataset.class_names)
        self._begin(resume)
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
        if self.restore_best:
            self._load_best()
        return self.history

    def _begin(self, resume: bool) -> None:
        trainer = self.trainer
        trainer.epoch = 0
        last = None
        if self.out and holds_run(self.out, resume):
            last = checkpoint.read(self.out / LAST)
            self._check_same_run(last)
        session = trainer._open_session(min(self.loader.batch_size, len(self.loader.dataset)))
        self.plan_choices = _plain(session.plan.choices)
        if last is not None:
            self._restore(last)
        if self.out:
            self.out.mkdir(parents=True, exist_ok=True)
            for stale in self.out.glob(".*.tmp"):  # left by a process that was killed while it wrote
                stale.unlink(missing_ok=True)
            write_atomically(self.out / CONFIG, _to_yaml(trainer.config or self._settings()).encode())
        if self.log:
            self.log.restart(self.history.epochs)

    def _run_epoch(self, progress: Progress) -> Record:
        trainer, position = self.trainer, self.position
        trainer.epoch = position.epoch
        batches = len(self.loader)
        rate = trainer.learning_rate
        started = time.perf_counter()
        for x, y in self.loader.epoch(position.epoch, position.batch):
            rate = trainer.learning_rate
            loss = trainer.step(x, y)
            position.loss_sum += loss * len(x)
            position.samples += len(x)
            position.batch += 1
            progress.step(len(x), loss)
            due = self.checkpoint_every and trainer.steps % self.checkpoint_every == 0
            if due and self.out and position.batch < batches:
                now = time.perf_counter()
                position.seconds += now - started
                started = now
                self._write_last()
        position.seconds += time.perf_counter() - started
        return self._end_epoch(rate)

    def _end_epoch(self, rate: float) -> Record:
        position = self.position
        record: Record = {
            "epoch": position.epoch + 1,
            "step": self.trainer.steps,
            "learning_rate": rate,
            "train_loss": position.loss_sum / position.samples,
        }
        if self.train_metrics:
            measured = self.trainer.evaluate(self.loader.dataset)
            record |= {f"train_{name}": value for name, value in measured.items() if name != "loss"}
        if self.validation is not None:
            record |= {f"val_{name}": value for name, value in self.trainer.evaluate(self.validation).items()}
        record["seconds"] = round(position.seconds, 3)
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
        position.loss_sum = position.seconds = 0.0

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
            "batch_size": self.loader.batch_size,
            "drop_last": self.loader.drop_last,
            "augmentation": self.loader.description,
            "early_stopping": self.early_stopping and asdict(self.early_stopping),
            "train_metrics": self.train_metrics,
        }
        return _plain({**self.trainer.settings(), **own})

    @cached_property
    def _data_hash(self) -> str:
        """SHA-256 of images and labels; only runs with a folder need it."""
        digest = hashlib.sha256()
        for dataset in (self.loader.dataset, self.validation):
            if dataset is not None:
                digest.update(np.ascontiguousarray(dataset.images).data)
                digest.update(np.ascontiguousarray(dataset.labels).data)
        return digest.hexdigest()

    def _write_last(self) -> None:
        trainer, position = self.trainer, self.position
        assert self.out is not None and trainer._session is not None
        position.step = trainer.steps
        position.history = asdict(self.history)
        position.schedule = trainer.schedule.state_dict()
        training = {"settings": self._settings(), "data": self._data_hash, "position": asdict(position)}
        content = Checkpoint.of(
            trainer.net, plan_choices=self.plan_choices, optimizer=trainer._session.state(), training=training
        )
        checkpoint.write(self.out / LAST, content)

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
        if last.graph != _plain(self.trainer.net.to_config()):
            raise UserError(f"{path}: the run was started with another network")
        stored, now = last.training["settings"], self._settings()
        for key in now:
            if stored.get(key) != now[key]:
                raise UserError(f"{path}: the run was started with {key} = {stored.get(key)}, now it is {now[key]}")
        if last.training["data"] != self._data_hash:
            raise UserError(f"{path}: the run was started with other data")

    def _restore(self, last: Checkpoint) -> None:
        trainer = self.trainer
        assert trainer._session is not None
        self.position = _Position(**last.training["position"])
        self.history = History(**self.position.history)
        last.restore_into(trainer.net)
        trainer._session.load_state(last.optimizer)
        trainer.schedule.load_state(self.position.schedule)
        trainer.steps = self.position.step
        if last.plan_choices != self.plan_choices:
            warnings.warn(
                "the run goes on with another plan than it was started with (another processor or build): "
                "its bits will differ from those of an undisturbed run",
                stacklevel=2,
            )


def holds_run(folder: Path, resume: bool) -> bool:
    """Whether the folder holds a run to go on with; UserError where it does and `resume` is not wished."""
    found = (folder / LAST).exists()
    if found and not resume:
        raise UserError(
            f"{folder}: this folder holds a run already; go on with it (--resume), or choose another folder (--out)"
        )
    return found


def as_dataset(data: Data, name: str = "data") -> Dataset:
    """A Dataset as it is, or one made of a pair (images, labels)."""
    return data if isinstance(data, Dataset) else Dataset(name, data[0], data[1])


def describe(thing: Any) -> Record:
    """Class name and arguments of an optimiser, loss or schedule."""
    arguments = {each.name: getattr(thing, each.name) for each in dataclasses.fields(thing) if each.init}
    return {"name": type(thing).__name__, **arguments}


def _plain(value: Any) -> Any:
    """The value in JSON's own types, as reading a checkpoint gives it."""
    return json.loads(json.dumps(value))


def _to_yaml(mapping: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(_plain(mapping), sort_keys=False, allow_unicode=True)
