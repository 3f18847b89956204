"""A compiled training step with its optimiser state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.arguments import FLOAT32_LIMIT, integer, number
from engine.errors import UserError, unknown
from engine.losses import LABELS, TARGETS, Loss, StoppedError, checked_loss
from engine.network.finetune import frozen_layers, rate_factors
from engine.network.inputs import (
    check_decides,
    check_targets,
    checked_input,
    checked_targets,
    single_value_error,
    single_value_norm,
)
from engine.network.parameters import Array, read, write
from engine.network.programs import Compiled, Programs, checked_memory
from engine.optim import Optimizer, checked_optimizer
from engine.plan import TRAINING, Algorithm, Request
from engine.plan.memory.available import require_memory
from engine.plan.plan import Plan
from engine.plan.request import AVERAGES, SMALL, USUAL, StateLayout
from engine.program.limits import MOST_ELEMENTS
from engine.program.slots import Slot, total_floats

_FLOAT32 = np.dtype(np.float32)
_INT64 = np.dtype(np.int64)


class TrainingSession:
    """A compiled training step with its optimiser state. Made by `Network.training_session`.

    freeze, learning_rates   as in engine.training.trainer.Trainer
    average   kind of averages of all weights and running statistics that are kept, ema or lookahead (see
              engine.training.average.Average; None: none). They begin as what the network holds at the first step
    parts     passes in which a batch is computed: the activations of one are in memory at a time. Gradients are added
              up, weighted by the samples, before they are clipped and used. Dropout draws as for the whole batch; batch
              normalisation sees a part at a time
    memory    "small": a step takes half the memory of activations or little more, by computing again what is not kept
              (see engine.plan.memory.less), or by such parts where no layer sees the whole batch
    """

    def __init__(
        self,
        programs: Programs,
        loss: Loss,
        optimizer: Optimizer,
        batch: int,
        max_norm: float | None = None,
        algorithm: Algorithm = "auto",
        freeze: Sequence[str | int] | None = None,
        learning_rates: Mapping[Any, float] | None = None,
        average: str | None = None,
        parts: int = 1,
        memory: str = USUAL,
    ):
        if max_norm is not None:
            max_norm = number("training_session", "max_norm", max_norm, 0.0, math.inf, above=True)
        self.programs = programs
        self.loss = checked_loss("training_session", loss)
        self.optimizer = checked_optimizer("training_session", optimizer)
        self.batch = integer("training_session", "batch", batch, 1, MOST_ELEMENTS)
        self.max_norm = max_norm
        self.algorithm = algorithm
        if average is not None and average not in AVERAGES:
            raise unknown("average", average, AVERAGES)
        self.average = average
        self.parts = integer("training_session", "parts", parts, 1)
        self.memory = checked_memory(memory)
        self.frozen = frozen_layers(programs.topology, freeze)
        self.learning_rates = learning_rates
        self.rates = rate_factors(programs.store.slots, learning_rates)
        self._largest_factor = max([1.0, *(factor for _, factor in self.rates)]) * self.optimizer.largest_rate
        check_decides(loss, programs.topology.output_shape)
        store = programs.store
        self._learning = {key: slot for key, slot in store.slots.items() if slot.layer not in self.frozen}
        self._store = store
        self._fewest = 2 if single_value_norm(programs.topology, self.frozen) else 1
        if self.memory == SMALL:
            part = self._request(next(iter(loss.ops)), -(-self.batch // self.parts))
            chosen = programs.in_less(part)  # by windows or by parts, not by both: each has its limit on the time
            self.parts, self.memory = self.parts * chosen.parts, chosen.memory
        # Parts of one size, as far as that goes; of few samples there are fewer parts, each of the fewest or more.
        self._capacity = min(self.batch, max(-(-self.batch // self.parts), 2 * self._fewest - 1))
        names = optimizer.states
        self._layout = StateLayout.of(names, store.count, store.buffers.size, average is not None, self.parts > 1)
        require_memory(f"the state of {type(optimizer).__name__}", 4 * self._layout.total, "take a smaller network")
        self._states: Array = cnncore.aligned_zeros(self._layout.total)
        self._elapsed = 0.0
        self._averaging = False  # the averages have begun
        self._averaged = False  # the network holds the averages, and the states the live weights
        self._saved_buffers = store.buffers.copy()
        self._compiled: dict[str, Compiled] = {}
        kind = next(iter(loss.ops))
        self._select(kind)
        self._input_shape = programs.topology.input_shape

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: the optimiser's state, and no program, since these are bound to memory."""
        kind = next(kind for kind, compiled in self._compiled.items() if compiled is self._current)
        kept = {key: value for key, value in self.__dict__.items() if key not in ("_compiled", "_current")}
        return {**kept, "_states": self._states.copy(), "_saved_buffers": self._saved_buffers.copy(), "kind": kind}

    def __setstate__(self, state: dict[str, Any]) -> None:
        kind = state.pop("kind")
        self.__dict__.update(state)
        self._states = cnncore.aligned_zeros(state["_states"].size)
        self._states[:] = state["_states"]
        self._compiled = {}
        self._select(kind)

    @property
    def plan(self) -> Plan:
        """The plan of the current kind of targets."""
        return self._current.plan

    @property
    def compiled(self) -> Compiled:
        """The plan and program of the current kind of targets."""
        return self._current

    @property
    def elapsed(self) -> float:
        """Seconds that the last step spent in C."""
        return self._elapsed

    @property
    def gradient_norm(self) -> float:
        """Euclidean norm of the last gradient before clipping (0.0 without max_norm)."""
        return self._current.program.gradient_norm

    def step(
        self, x: Array, y: NDArray[Any], learning_rate: float, step: int, seed: int, average: float = -1.0
    ) -> float:
        """One optimiser step on n <= batch samples; returns the mean loss before the update.

        x is float32 (n, C, H, W); y int64 (n,) or float32 (n, classes). `step` counts steps from 0 (Adam's bias
        correction and the draws of dropout depend on it). Raises UserError for bad input and DivergedError for a
        loss or gradient that is not finite: then nothing has been updated. `average` is the weight of the old values in
        the averages; below 0 they rest.
        """
        if not (
            type(x) is type(y) is np.ndarray
            and x.dtype is _FLOAT32
            and x.shape[1:] == self._input_shape
            and self._fewest <= len(x) <= self.batch
            and y.dtype is self._target_dtype
            and y.shape == (len(x), *self._target_shape)
            and x.flags.c_contiguous
            and y.flags.c_contiguous
        ):
            x, y = self._checked(x, y)
        if self._bounded:
            check_targets(y, self.loss, self.programs.topology.output_shape)
        if not 0.0 <= learning_rate * self._largest_factor < FLOAT32_LIMIT:
            self._refuse_rate(learning_rate)
        if self._layout.average is not None:
            self._begin_average()
            self.show_live()
        store = self._store
        if self._saved_buffers.size:
            self._saved_buffers[:] = store.buffers
        self._elapsed, samples = 0.0, len(x)
        if self.parts == 1:
            loss = self._pass(x, y, 0, samples, learning_rate, step, seed, average)
        else:
            loss, parts = 0.0, min(self.parts, max(samples // self._fewest, 1))
            for part in range(parts):
                first, last = samples * part // parts, samples * (part + 1) // parts
                share, settings = (last - first) / samples, (learning_rate, step, seed, average)
                loss += share * self._pass(x[first:last], y[first:last], first, samples, *settings)
        store.count_step()
        return loss

    def _pass(
        self, x: Array, y: NDArray[Any], first: int, samples: int, rate: float, step: int, seed: int, average: float
    ) -> float:
        """The loss of one part of a batch, which begins at `first` of all samples; the last one's pass also updates."""
        current, count = self._current, len(x)
        try:
            loss = current.whole.run(
                count, (x, y), seed=seed, step=step, learning_rate=rate, average=average,
                first_sample=first, share=count / samples, more=first + count < samples,
            )  # fmt: skip
        except (cnncore.CoreError, StoppedError) as error:
            explained = self.programs.explain(error, current, (x, y, None), first, seed=seed, step=step)
            self._store.buffers[:] = self._saved_buffers
            raise explained from None
        except BaseException:  # of a loss that a user wrote: whatever it is, the step has not been
            self._store.buffers[:] = self._saved_buffers
            raise
        self._elapsed += current.whole.elapsed
        return loss

    def _begin_average(self) -> None:
        """The averages start as what the network holds before the first step."""
        if not self._averaging:
            self._averaging = True
            parameters, statistics = self._averages()
            parameters[:], statistics[:] = self._store.data, self._store.buffers

    def _averages(self) -> tuple[Array, Array]:
        """The averaged parameters and running statistics, where they lie in the states."""
        store, start = self._store, self._layout.average
        assert start is not None
        end = start + store.count
        return self._states[start:end], self._states[end : end + store.buffers.size]

    def show_averaged(self) -> None:
        """Let the network hold the averages, to evaluate or save it, until the next step or `show_live`; the live
        weights lie in the state meanwhile. Without averages nothing happens."""
        if self._layout.average is not None and not self._averaged:
            self._begin_average()
            self._exchange()

    def show_live(self) -> None:
        """Let the network hold the weights that are trained."""
        if self._averaged:
            self._exchange()

    def _exchange(self) -> None:
        for own, other in zip((self._store.data, self._store.buffers), self._averages(), strict=True):
            own[:], other[:] = other.copy(), own.copy()
        self._store.version += 1
        self._averaged = not self._averaged

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """`show_averaged` for a block, then what was before."""
        before = self._averaged
        self.show_averaged()
        try:
            yield
        finally:
            if not before:
                self.show_live()

    def take_over(self, other: TrainingSession) -> None:
        """Go on where a session of another batch, else the same, has come to."""
        shown = other._averaged
        other.show_live()
        self.load_state(other.state())
        if shown:
            self.show_averaged()

    def _arrays(self) -> list[tuple[str, Mapping[str, Slot], Array]]:
        """(name, what it is of, where it lies) of the arrays that outlive a step."""
        found: list[tuple[str, Mapping[str, Slot], Array]] = [
            (name, self._learning, self._states[place:]) for name, place in self._layout.optimizer.items()
        ]
        if self._layout.average is not None:
            name = "live" if self._averaged else "average"
            slots = self._store.slots, self._store.buffer_slots
            names = name, f"{name}_statistics"
            found += list(zip(names, slots, self._averages(), strict=True))
        return found

    def state(self) -> dict[str, Array]:
        """Copies of the optimiser's arrays in the public layouts, as "velocity.0.weights"; none of frozen layers. With
        averages also these, as "average.0.weights" and "average_statistics.1.running_mean", or, while the network holds
        them, the live weights, as "live.0.weights" and "live_statistics.1.running_mean"."""
        if self._layout.average is not None:
            self._begin_average()
        return {
            f"{name}.{key}": each for name, slots, data in self._arrays() for key, each in read(slots, data).items()
        }

    def first_nonfinite(self) -> tuple[str, str] | None:
        """Name of the first array of the state that holds NaN or infinity, and key of its parameter. From an infinite
        moment on Adam never moves a weight again, and no loss shows it: `step` does not look, Trainer.step does."""
        if np.isfinite(self._states).all():
            return None
        for name, slots, data in self._arrays():
            for key, slot in slots.items():
                if not np.isfinite(data[slot.offset : slot.offset + slot.count]).all():
                    return name, key
        return None

    def load_state(self, mapping: Mapping[str, Any]) -> None:
        """Store what `state` gave; UserError for an unknown, missing or misshapen array, and nothing is stored."""
        arrays = self._arrays()
        known = {f"{name}.{key}" for name, slots, _ in arrays for key in slots}
        unknown_keys = [key for key in mapping if key not in known]
        if unknown_keys:
            raise UserError(f"{type(self.optimizer).__name__} keeps no state {unknown_keys[0]!r}")
        checked = []
        for name, slots, data in arrays:
            part = {key.removeprefix(f"{name}."): array for key, array in mapping.items() if key.startswith(f"{name}.")}
            target = np.zeros(total_floats(slots.values()), np.float32)
            write(slots, target, part, f"{name} of", strict=True)
            checked.append((data, target))
        for data, target in checked:
            data[: target.size] = target
        self._averaging = True

    def _select(self, kind: str) -> None:
        """Make the program for this kind of targets the current one; both kinds share the optimiser's state."""
        if kind not in self._compiled:
            request = replace(self._request(kind, self._capacity), parts=self.parts, memory=self.memory)
            self._compiled[kind] = self.programs.compile(request, self._states)
        self._current = self._compiled[kind]
        bounds = self.loss.target_range(self.programs.topology.output_shape)
        looks = type(self.loss).wrong_target is not Loss.wrong_target
        self._bounded = kind == TARGETS and (looks or bounds != (-math.inf, math.inf))
        self._target_dtype = _INT64 if kind == LABELS else _FLOAT32
        self._target_shape = self.loss.target_shape(kind, self.programs.topology.output_shape) or ()

    def _request(self, kind: str, batch: int) -> Request:
        return Request(TRAINING, batch, self.loss, kind, self.optimizer, self.max_norm, self.algorithm, self.frozen,
                       self.rates, self.average)  # fmt: skip

    def _refuse_rate(self, learning_rate: Any) -> NoReturn:
        """Say what is wrong with a rate that, times the largest factor on it, is none in float32."""
        number("training step", "learning rate", learning_rate, 0.0, math.inf)
        largest = learning_rate * self._largest_factor
        number("training step", f"learning rate times {self._largest_factor:g}", largest, 0.0, math.inf)
        raise AssertionError("the rate is a good one")

    def _checked(self, x: Any, y: Any) -> tuple[Array, NDArray[Any]]:
        """Whatever the quick look in `step` did not accept: convert it or say what is wrong with it."""
        x = checked_input(x, self._input_shape)
        if not 0 < len(x) <= self.batch:
            raise UserError(f"the batch has {len(x)} samples, but this session takes 1 to {self.batch}")
        if len(x) < self._fewest:
            raise single_value_error(str(single_value_norm(self.programs.topology, self.frozen)))
        y, kind = checked_targets(y, len(x), self.loss, self.programs.topology.output_shape)
        self._select(kind)
        return x, y
