"""One run of a trainer: its epochs, its checkpoints and log, and going on where a killed run was cut off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property

import cnncore

from engine.data.choose import weights
from engine.data.dataset import Dataset
from engine.data.loader import Batch, Loader
from engine.errors import DivergedError, UserError
from engine.files import write_atomically
from engine.network import checkpoint
from engine.network.load import restore
from engine.training import metrics
from engine.training.checks import (
    check_classes,
    check_data,
    check_last_batch,
    check_same_values,
    keep_preprocess,
    names_in_log,
    warn_of_scales,
    warn_of_statistics,
    watched_per_class,
)
from engine.training.folder import BEST, CONFIG, LAST, PREVIOUS, RESULT, TRAINERS_KEY, remove_unfinished
from engine.training.history import History, Position, Record
from engine.training.progress import Progress, progress_for
from engine.training.resume import (
    check_length,
    check_same_config,
    check_same_run,
    config_as_trained,
    data_record,
    find_last,
    holds_run,
    instruction_set,
    plain,
    run_hash,
    to_yaml,
    warn_of_other_choices,
)
from engine.training.runlog import RunLog
from engine.training.schedules import EarlyStopping
from engine.training.state import with_versions
from engine.training.stepper import Stepper


class Run:
    """One call of `fit`."""

    def __init__(
        self,
        trainer: Stepper,
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
        # Labels of both are numbered as the outputs of the network will be.
        self.validation = None if validation is None else validation.with_classes(loader.dataset.class_names)
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
        self.best: checkpoint.Checkpoint | None = None
        self.plan_choices: Record = {}
        check_data(trainer, (self.loader.dataset, self.validation))
        check_classes(trainer, self.loader.dataset)
        check_last_batch(trainer, self.loader)
        trainer.set_length(epochs, len(self.loader))
        self.extra = watched_per_class(self._logged(), self._watched())

    def _logged(self) -> list[str]:
        """The metrics that the log will have."""
        return names_in_log(self.trainer, self.loader.dataset if self.train_metrics else None, self.validation)

    def _watched(self) -> dict[str, str | None]:
        """The metrics that something decides by, and what that is."""
        stop = self.early_stopping.metric if self.early_stopping else None
        schedule = self.trainer.schedule.metric
        return {"metric": self.metric, "early stopping metric": stop, "schedule metric": schedule}

    # ---- the run ----

    def go(self, resume: bool, callbacks: Sequence[Callable[[Record], None]]) -> History:
        dataset = self.loader.dataset
        keep_preprocess(self.trainer.net, dataset)
        warn_of_scales(dataset, self.validation)
        if dataset.class_names:
            self.trainer.net.name_classes(dataset.class_names)  # check_classes has told of outputs without one
        with instruction_set(None):
            try:
                self._begin(resume)
                self._train(callbacks)
                warn_of_statistics(self.trainer)
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
            while not self._has_ended():
                record = self._run_epoch(progress)
                progress.epoch(record["epoch"], self.epochs, record)
                for callback in callbacks:
                    callback(dict(record))  # a copy for each: what one does to it is its own affair
        except DivergedError as error:
            if self.log:
                event = {"event": "diverged", "epoch": self.position.epoch + 1}
                self.log.event({**event, "step": error.step, "layer": error.layer, "message": str(error)})
            raise
        finally:
            progress.close()

    def _has_ended(self) -> bool:
        return self.position.epoch >= self.epochs or self.history.stopped_early

    def _begin(self, resume: bool) -> None:
        trainer = self.trainer
        last = found = None
        if self.out and holds_run(self.out, resume):
            found = find_last(self.out)
            if found.last is not None:
                check_length(found.path, found.last, self.epochs)
                check_same_run(found.path, found.last, trainer.net, self._settings(), self._data)
                check_same_values(found.path, found.last.preprocess, trainer.net.preprocess, self.loader.dataset)
            else:
                check_same_config(self.out, trainer.config or self._settings(), trainer.free_keys)
            last = found.take()
        if last is None and trainer.initialize_from is not None and trainer.initialized is None:
            raise UserError(f"{self.out}: its checkpoint was removed while the run began; start it again")
        trainer.begin_anew()
        # Instruction set and algorithms decide rounding: a resumed run keeps those that it was started with.
        if last is not None:
            trainer.choices = last.plan_choices["convolutions"]
            if last.plan_choices["isa"] in cnncore.available_isas():
                cnncore.set_isa(last.plan_choices["isa"])
        trainer.isa = cnncore.isa()
        try:
            session = trainer.open_session(min(self.loader.batch_size, len(self.loader.dataset)))
            self.plan_choices = plain(session.plan.choices)
            if last is not None:
                self._restore(last)
        except UserError as error:
            raise error if last is None else UserError(f"{self.out}/{LAST}: {error}") from None
        trainer.used_libraries = self.position.libraries = with_versions(self.position.libraries, trainer.libraries)
        if found is not None and found.lost_best and last is not None:
            self._keep_best()
        if self.out and self.log:
            checkpoint.warn_of_own_layers(trainer.net)
            self.out.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self.out)
            if last is None:  # a run that ended before its first checkpoint may have left these
                for name in (BEST, RESULT):
                    (self.out / name).unlink(missing_ok=True)
            config = trainer.config or self._settings()
            if self._has_ended():
                config = config_as_trained(self.out, config, trainer.free_keys)
            self.log.restart(self.history.epochs)  # first: what lies there without a log is no run's (`holds_run`)
            write_atomically(self.out / CONFIG, to_yaml(config).encode())
            if trainer.initialized:
                self.log.event({"event": "initialized", **trainer.initialized})
            self.log.skipped_images((self.loader.dataset, self.validation))

    def _run_epoch(self, progress: Progress) -> Record:
        trainer, position = self.trainer, self.position
        trainer.epoch = position.epoch
        batches = len(self.loader)
        started = time.perf_counter()
        for x, y in self._batches():
            if trainer.before_step is not None:
                trainer.before_step()
            with self.loader.named(position.epoch, position.batch):
                loss = trainer.step(x, y)
            position.loss_sum += loss * len(x)
            position.samples += len(x)
            position.batch += 1
            progress.step(len(x), loss)
            if self._checkpoint_is_due() and self.out and position.batch < batches:
                now = time.perf_counter()
                position.seconds += now - started
                started = now
                self._check_weights()
                self._write_last()
        position.seconds += time.perf_counter() - started
        return self._end_epoch()

    def _checkpoint_is_due(self) -> bool:
        every, wait = self.checkpoint_every, self.checkpoint_seconds
        by_steps = every is not None and self.trainer.steps % every == 0
        return by_steps or (wait is not None and time.perf_counter() - self._written >= wait)

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
        self._check_weights()
        if self.trainer.session is not None:
            self.trainer.session.show_averaged()
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
            measured = self.trainer.validate(self.validation, self.extra)
            record |= {f"val_{name}": value for name, value in measured.items()}
        record["seconds"] = round(position.seconds, 3)
        record["data_wait_seconds"] = round(position.waited, 3)
        record["images_per_second"] = round(position.samples / max(position.seconds, 1e-9), 1)
        self.trainer.schedule.observe(dict(record))
        improved = self._note_best(record)
        self._note_stop(record)
        self.history.epochs.append(record)
        position.next_epoch()
        # Best before last: killed in between, the resumed run trains this epoch again and writes the same best.
        if improved:
            self._keep_best()
        if self.out:
            self._write_last()
        if self.log:
            self.log.append(record)
        return record

    def _check_weights(self) -> None:
        """DivergedError where the last update left weights that are not finite: no step has seen them yet."""
        self.trainer.check_weights(self.trainer.steps - 1, "updated ")

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
            TRAINERS_KEY: self.loader.seed,
            "batch_size": self.loader.batch_size,
            "drop_last": self.loader.drop_last,
            "augmentation": self.loader.description,
            "early_stopping": self.early_stopping and asdict(self.early_stopping),
            "train_metrics": self.train_metrics,
        }
        return plain({**self.trainer.settings(), **own})

    @cached_property
    def _data(self) -> Record:
        """Only runs with a folder need it."""
        return data_record(self.loader.dataset, self.validation)

    def _write_last(self) -> None:
        trainer, position = self.trainer, self.position
        assert self.out is not None and trainer.session is not None
        position.step = trainer.steps
        position.history = asdict(self.history)
        position.schedule = trainer.schedule.state_dict()
        training: Record = {"settings": self._settings(), **self._data, "position": asdict(position)}
        training["initialized"] = trainer.initialized
        with trainer.session.averaged():
            state = trainer.session.state()
            content = checkpoint.Checkpoint.of(
                trainer.net, plan_choices=self.plan_choices, optimizer=state, training=training
            )
        checkpoint.write(self.out / LAST, content, keep=self.out / PREVIOUS)
        self._written = time.perf_counter()

    def _keep_best(self) -> None:
        training: Record = {"epoch": self.history.best_epoch, self.metric: self.history.best_value}
        content = checkpoint.Checkpoint.of(self.trainer.net, plan_choices=self.plan_choices, training=training)
        if self.out:
            training["run"] = run_hash(self._settings(), self._data["data"])
            self.history.best_hash = checkpoint.stored_hash(content)
            checkpoint.write(self.out / BEST, content)
        elif self.restore_best:
            self.best = content

    def _load_best(self) -> None:
        best = checkpoint.read(self.out / BEST) if self.out and self.history.best_epoch else self.best
        if best is not None:
            restore(self.trainer.net, best)

    def _restore(self, last: checkpoint.Checkpoint) -> None:
        trainer = self.trainer
        assert trainer.session is not None
        self.position = Position(**last.training["position"])
        self.history = History(**self.position.history)
        fresh = trainer.net.store.fresh  # of the network that the run began with
        trainer.session.show_averaged()  # as the checkpoint has them
        restore(trainer.net, last)
        trainer.net.store.fresh = {key: since - self.position.step for key, since in fresh.items()}
        trainer.initialized = last.training.get("initialized")
        trainer.session.load_state(last.optimizer)
        trainer.schedule.load_state(self.position.schedule)
        trainer.steps = self.position.step
        warn_of_other_choices(last.plan_choices, self.plan_choices)
