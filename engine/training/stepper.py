"""One training step at a time: network, optimiser, loss and schedule."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.arguments import checked_seed, instance, integer, is_real, number, truth
from engine.data.dataset import Data, Dataset, as_dataset
from engine.errors import DivergedError, SampleError, UserError, unknown
from engine.losses import CrossEntropy, CustomLoss, LabelMaps, Loss, checked_loss
from engine.network.finetune import ends_of_learning, factors_at, frozen_layers, rate_factors
from engine.network.inputs import check_probabilities, warn_of_nameless
from engine.network.network import Network
from engine.network.programs import checked_memory
from engine.network.session import TrainingSession
from engine.optim import Optimizer, checked_optimizer
from engine.plan import Algorithm, Choices
from engine.plan.request import USUAL
from engine.training import metrics
from engine.training.average import RESTS, Average
from engine.training.history import Record
from engine.training.progress import MODES, Mode
from engine.training.resume import plain
from engine.training.schedules import Constant, Schedule
from engine.training.tracking import Tracker

# Steps between two looks at weights and state, which no loss shows when they become infinite: one look reads all of
# them, as an update does.
LOOK_EVERY = 128


class Measure(Protocol):
    """Further metrics of a labelled set, beside those of `Stepper.evaluate`.

    each_epoch   the names of those that a run's log has of the validation samples after every epoch
    """

    @property
    def each_epoch(self) -> Sequence[str]: ...

    def __call__(self, net: Network, dataset: Dataset, algorithm: Algorithm, /) -> dict[str, float]: ...


class Stepper:
    """What takes one training step after the other; its arguments are documented in `engine.training.trainer.Trainer`.

    It owns the session, counts the steps, and evaluates. A run (engine.training.run) drives it.
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
        algorithm: Algorithm = "auto",
        tune: bool = False,
        freeze: Sequence[str | int] | None = None,
        learning_rates: Mapping[Any, float] | None = None,
        freeze_after: Mapping[Any, int] | None = None,
        average: Average | None = None,
        accumulate: int = 1,
        memory: str = USUAL,
        progress: Mode = "auto",
        config: Mapping[str, Any] | None = None,
    ):
        metrics.direction("", mode)
        if metric is not None:
            instance("Trainer", "metric", metric, str, "the name of a metric")
        if max_norm is not None:
            max_norm = number("Trainer", "max_norm", max_norm, 0.0, math.inf, above=True)
        if progress not in MODES:
            raise unknown("progress", progress, MODES)
        if not isinstance(algorithm, Mapping) and algorithm not in ("auto", "direct"):
            raise unknown("algorithm", algorithm, ("auto", "direct"))
        self.net = instance("Trainer", "net", net, Network, "a network such as Sequential(…)")
        self.optimizer = checked_optimizer("Trainer", optimizer)
        self.loss = CrossEntropy() if loss is None else checked_loss("Trainer", loss)
        first = Constant() if schedule is None else schedule
        what = "a schedule such as Cosine(total=1000)"
        self._first_schedule = copy.deepcopy(instance("Trainer", "schedule", first, Schedule, what))
        self._length: tuple[int, int] | None = None  # of the run, in epochs and steps of each
        self._total: int | None = None  # steps of the run
        self.schedule = self._new_schedule()
        self.batch_size = integer("Trainer", "batch_size", batch_size, 1)
        self.seed = checked_seed("Trainer", seed)
        self.out = None if out is None else Path(out)
        self.metric = metric
        self.mode = mode
        self.max_norm = max_norm
        self.algorithm = algorithm
        self.tune = truth("Trainer", "tune", tune)
        self.freeze = freeze
        self.learning_rates = learning_rates
        self.average = average
        if average is not None:
            instance("Trainer", "average", average, Average, "an average such as Average(decay=0.999)")
        self.accumulate = integer("Trainer", "accumulate", accumulate, 1)
        self.memory = checked_memory(memory)
        self.frozen = frozen_layers(net.topology, freeze)
        store = net.store
        self.ends = ends_of_learning(store.slots, freeze_after, self.frozen, learning_rates, store.buffer_slots)
        self.choices: Choices | None = None  # algorithms of the last run, training and evaluation alike
        self.progress: Mode = progress
        self.config = _checked_config(config)
        self.free_keys: Collection[str] = ()  # keys of `config` in which a run may differ from the one it goes on from
        self.libraries: Mapping[str, str] = {}  # versions of those that decide bytes of what is prepared
        self.used_libraries: Mapping[str, list[str]] = {}  # the same of the last run, from its beginning on
        self.trackers: Sequence[Tracker] = ()  # what hears the log of a run with a folder
        self.before_step: Callable[[], None] | None = None  # called by a run; what it raises ends the run there
        self.measure: Measure | None = None  # what else is measured of validation and test samples
        self.steps = 0
        self.last_rate = 0.0
        self.epoch = 0
        self.isa: str | None = None  # instruction set of the last run
        self.initialize_from: Record | None = None  # the section of the configuration that a transfer followed
        self.whitened: Record | None = None  # the section of the configuration by which first filters were made
        self.initialized: Record | None = None  # what the transfer did (its Report): goes to the record
        self.session: TrainingSession | None = None
        self._capacity = 0
        self._holds = False  # its run folder, for this process
        self._free = [None]  # empty while a run goes on: to take the one element is one act, whatever other threads do

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy, which train nothing."""
        return {**self.__dict__, "_free": [None]}

    def step(self, x: NDArray[np.float32], y: NDArray[Any]) -> float:
        """One whole training step on a batch (forward, loss, backward, update); returns the mean loss.

        x float32 (n, C, H, W); y int64 (n,) or float32 (n, classes). UserError for anything else; DivergedError
        when the loss or a gradient is not finite (then nothing was updated), and, seen every LOOK_EVERY steps and in
        `evaluate`, when the weights or the optimiser's state are not (then they are lost).
        """
        session = self.session
        rates = factors_at(self.learning_rates, self.ends, self.epoch)
        if session is None or len(x) > self._capacity or session.learning_rates != rates:
            session = self.open_session(max(len(x), self._capacity))
        rate = self.schedule.rate(self.optimizer.lr, self.steps, self.epoch)
        self.last_rate = float(rate) if is_real(rate) else rate  # the session refuses what is no number
        decay = RESTS if self.average is None else self.average.at(self.steps, self._total)
        loss = session.step(x, y, self.last_rate, self.steps, self.seed, decay)
        self.steps += 1
        if self.steps % LOOK_EVERY == 0:
            self.check_weights(self.steps - 1, "updated ")
        return loss

    def open_session(self, batch: int) -> TrainingSession:
        """A session for batches of up to `batch`; the optimiser's state of an earlier one moves over."""
        algorithm = self.algorithm if self.choices is None else self.choices
        if self.tune and self.choices is None:
            part = -(-batch // self.accumulate)
            algorithm = self.net.tuned_choices(self.loss, self.optimizer, part, self.freeze)
        session = self.net.training_session(
            self.loss, self.optimizer, batch, self.max_norm, algorithm, self.freeze,
            factors_at(self.learning_rates, self.ends, self.epoch), self.average.kind if self.average else None,
            self.accumulate, self.memory,
        )  # fmt: skip
        if self.session is not None:
            session.take_over(self.session)
        self.session, self._capacity, self.choices = session, batch, session.plan.choices["convolutions"]
        self.net.trained_by = None if self.loss.of_classes else type(self.loss).__name__
        return session

    def set_length(self, epochs: int, steps: int) -> None:
        """Tell the schedule, which begins anew, how long the run will be: `epochs` epochs of `steps` steps each."""
        self._length, self._total = (epochs, steps), epochs * steps
        self.schedule = self._new_schedule()

    def _new_schedule(self) -> Schedule:
        schedule = copy.deepcopy(self._first_schedule)
        return schedule if self._length is None else schedule.for_run(*self._length)

    def begin_anew(self) -> None:
        """Forget steps, optimiser state and what the schedule remembers; the weights stay as they are."""
        self.schedule = self._new_schedule()
        self.session, self._capacity, self.choices = None, 0, None
        self.steps = self.epoch = 0
        self.last_rate = 0.0

    def evaluate(self, data: Data, extra: Collection[str] = ()) -> dict[str, float]:
        """Loss of the network on labelled samples, and accuracy and macro-F1 where the labels are classes, or pixel
        accuracy and mean IoU where they are maps of classes.

        `extra`: which of engine.training.metrics.PER_CLASS to give as well. Weights of samples or classes do not count.
        Labels are matched by name where both the set and the network have class names, and bytes that do not say what
        is done to them are normalised as the network's preprocess says (to 0..1 where it has none).
        UserError for a class that the network does not know; DivergedError, with the step reached, where the loss or an
        output is not finite.
        """
        dataset = as_dataset(data).prepared_as(self.net.preprocess).with_classes(self.net.class_names)
        if not self.net.class_names and len(self.net.output_shape) == 1:  # else it was told when they got their names
            warn_of_nameless(f"{dataset.name}: the network has", dataset.class_names, self.net.output_shape[0])
        self.check_weights(self.steps, during=dataset.name)
        algorithm = self.algorithm if self.choices is None else self.choices
        try:
            check_probabilities(dataset.labels, self.loss)
        except SampleError as error:
            raise error.at(error.sample, dataset.name) from None
        total = counted = 0.0
        predicted = np.empty(len(dataset), np.int64)
        classes, maps = self.has_classes(dataset), self.has_pixels(dataset)
        matrix = np.zeros((self.net.output_shape[0],) * 2, np.int64) if maps else None
        chunk = metrics.evaluation_chunk(self.net.output_shape)
        for start in range(0, len(dataset), chunk):
            part = slice(start, start + chunk)
            images = np.ascontiguousarray(dataset.normalise(dataset.images[part]))
            try:
                loss, outputs = self.net.evaluate(images, dataset.labels[part], self.loss, algorithm=algorithm)
            except DivergedError as error:
                raise DivergedError(self.steps, error.layer, error.what, dataset.name) from None
            except SampleError as error:
                raise error.at(start + error.sample, dataset.name) from None
            weight = self.loss.weight(dataset.labels[part])
            total, counted = total + loss * weight, counted + weight
            try:
                if matrix is not None and isinstance(self.loss, LabelMaps):
                    labels = dataset.labels[part]
                    matrix += metrics.pixel_confusion(labels, outputs, self.loss.counts(labels))
                elif classes:
                    predicted[part] = metrics.predicted_classes(outputs)
            except UserError:  # where the loss is finite all the same
                raise DivergedError(self.steps, None, "output", dataset.name) from None
        result = {"loss": total / counted if counted else 0.0}
        if matrix is not None:
            result["pixel_accuracy"], result["mean_iou"] = metrics.pixel_accuracy(matrix), metrics.mean_iou(matrix)
        if classes:
            soft = dataset.labels.ndim == 2
            truth: NDArray[Any] = metrics.predicted_classes(dataset.labels) if soft else dataset.labels
            result["accuracy"] = metrics.accuracy(truth, predicted)
            result["macro_f1"] = metrics.macro_f1(truth, predicted)
            if extra:
                measured = metrics.per_class(truth, predicted)
                result |= {name: measured[name] for name in metrics.PER_CLASS if name in extra}
        return result

    def further(self, data: Dataset) -> dict[str, float]:
        """What `measure` says of labelled samples, by name; nothing without one. DivergedError as of `evaluate`."""
        if self.measure is None:
            return {}
        algorithm = self.algorithm if self.choices is None else self.choices
        dataset = data.with_classes(self.net.class_names)
        self.check_weights(self.steps, during=dataset.name)
        return self.measure(self.net, dataset, algorithm)

    def validate(self, data: Dataset, extra: Collection[str] = ()) -> dict[str, float]:
        """What a run's log has of the validation samples after every epoch."""
        return self.evaluate(data, extra) | (self.further(data) if self.each_epoch else {})

    @property
    def each_epoch(self) -> Sequence[str]:
        """The names of what `measure` says of the validation samples after every epoch."""
        return () if self.measure is None else self.measure.each_epoch

    def check_weights(self, step: int, prefix: str = "", during: str | None = None) -> None:
        """DivergedError, at this step, where a parameter, a running statistic or the optimiser's state is NaN or
        infinite: that need not show in any loss."""
        store = self.net.store
        key = store.first_nonfinite()
        if key is not None:
            slot = store.slots.get(key) or store.buffer_slots[key]
            raise DivergedError(step, slot.layer, f"{prefix}{key}", during)
        found = None if self.session is None else self.session.first_nonfinite()
        if found is not None:
            name, key = found
            raise DivergedError(step, store.slots[key].layer, f"{prefix}{name} of {key}", during)

    def has_pixels(self, dataset: Dataset) -> bool:
        """Whether every pixel has a label, so that their accuracy and the mean IoU mean something."""
        return isinstance(self.loss, LabelMaps) and dataset.labels.ndim == 3

    def has_classes(self, dataset: Dataset) -> bool:
        """Whether the labels stand for classes, so that accuracy and macro-F1 mean something."""
        labels, outputs = dataset.labels, self.net.output_shape
        if isinstance(self.loss, CustomLoss):  # whose whole numbers may be anything
            return labels.ndim == len(outputs) == 1 and labels.min() >= 0 and labels.max() < outputs[0]
        return not self.has_pixels(dataset) and (labels.ndim == 1 or isinstance(self.loss, CrossEntropy))

    def settings(self) -> Record:
        """What decides the bits of a run, beside the data: in JSON's own types, for comparison on resume."""
        return plain(
            {
                "initialize_from": self.initialize_from,
                "whiten": self.whitened,
                "each_epoch": list(self.each_epoch) or None,
                "optimizer": describe(self.optimizer),
                "loss": describe(self.loss),
                "schedule": describe(self.schedule),
                "seed": self.seed,
                "max_norm": self.max_norm,
                "freeze": list(self.frozen) or None,
                "learning_rates": dict(rate_factors(self.net.store.slots, self.learning_rates)) or None,
                "freeze_after": dict(self.ends) or None,
                "average": self.average.describe(self._total) if self.average else None,
                "accumulate": self.accumulate if self.accumulate > 1 else None,
                "memory": self.memory if self.memory != USUAL else None,
                "algorithm": "tuned" if self.tune else self.algorithm,
                "metric": self.metric,
                "mode": self.mode,
            }
        )


def _checked_config(config: Any) -> Mapping[str, Any] | None:
    """The mapping, or None; UserError for what cannot be written to config.yaml."""
    try:
        writable = config is None or isinstance(plain(config), dict)
    except (TypeError, ValueError):
        writable = False
    if not writable:
        raise UserError(f"Trainer: config must be a mapping of what YAML can hold, not {config!r}")
    return config


def _same(value: Any) -> Any:
    return value


def describe(thing: Any) -> Record:
    """Class name and arguments of an optimiser, loss or schedule; those that came later only where they are set."""
    fields = [each for each in dataclasses.fields(thing) if each.init]
    told = [each for each in fields if not each.metadata.get("later") or getattr(thing, each.name) != each.default]
    arguments = {
        each.name: each.metadata.get("told", _same)(getattr(thing, each.name)) for each in told if each.compare
    }
    inner = {name: describe(value) for name, value in arguments.items() if isinstance(value, Schedule)}
    return {"name": type(thing).__name__, **arguments, **inner}
