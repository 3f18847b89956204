"""A compiled training step with its optimiser state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.arguments import FLOAT32_LIMIT, integer, number
from engine.errors import UserError
from engine.losses import LABELS, TARGETS, Loss, checked_loss
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
from engine.network.programs import Compiled, Programs
from engine.optim import Optimizer, checked_optimizer
from engine.plan import TRAINING, Algorithm, Request
from engine.plan.memory import require_memory
from engine.plan.plan import Plan
from engine.program.limits import MOST_ELEMENTS

_FLOAT32 = np.dtype(np.float32)
_INT64 = np.dtype(np.int64)


class TrainingSession:
    """A compiled training step with its optimiser state. Made by `Network.training_session`."""

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
    ):
        if max_norm is not None:
            max_norm = number("training_session", "max_norm", max_norm, 0.0, math.inf, above=True)
        self.programs = programs
        self.loss = checked_loss("training_session", loss)
        self.optimizer = checked_optimizer("training_session", optimizer)
        self.batch = integer("training_session", "batch", batch, 1, MOST_ELEMENTS)
        self.max_norm = max_norm
        self.algorithm = algorithm
        self.frozen = frozen_layers(programs.topology, freeze)
        self.rates = rate_factors(programs.store.slots, learning_rates)
        self._largest_factor = max([1.0, *(factor for _, factor in self.rates)])
        check_decides(loss, programs.topology.output_shape)
        store = programs.store
        self._learning = {key: slot for key, slot in store.slots.items() if slot.layer not in self.frozen}
        self._store = store
        needed = len(optimizer.states) * store.data.nbytes
        require_memory(f"the state of {type(optimizer).__name__}", needed, "take a smaller network")
        self._states: Array = cnncore.aligned_zeros(len(optimizer.states) * store.count)
        self._saved_buffers = store.buffers.copy()
        self._compiled: dict[str, Compiled] = {}
        kind = next(iter(loss.ops))
        self._select(kind)
        self._input_shape = programs.topology.input_shape
        self._fewest = 2 if single_value_norm(programs.topology, self.frozen) else 1

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
        return self._current.program.elapsed

    @property
    def gradient_norm(self) -> float:
        """Euclidean norm of the last gradient before clipping (0.0 without max_norm)."""
        return self._current.program.gradient_norm

    def step(self, x: Array, y: NDArray[Any], learning_rate: float, step: int, seed: int) -> float:
        """One optimiser step on n <= batch samples; returns the mean loss before the update.

        x is float32 (n, C, H, W); y int64 (n,) or float32 (n, classes). `step` counts steps from 0 (Adam's bias
        correction and the draws of dropout depend on it). Raises UserError for bad input and DivergedError for a
        loss or gradient that is not finite: then nothing has been updated.
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
        current = self._current
        store = self._store
        if self._saved_buffers.size:
            self._saved_buffers[:] = store.buffers
        try:
            loss = current.program.run(len(x), (x, y), seed=seed, step=step, learning_rate=learning_rate)
        except cnncore.CoreError as error:
            explained = self.programs.explain(error, current, (x, y, None), seed=seed, step=step)
            store.buffers[:] = self._saved_buffers
            raise explained from None
        store.count_step()
        return loss

    def state(self) -> dict[str, Array]:
        """Copies of the optimiser's arrays in the public layouts, as "velocity.0.weights"; none of frozen layers."""
        count = self._store.count
        return {
            f"{name}.{key}": array
            for position, name in enumerate(self.optimizer.states)
            for key, array in read(self._learning, self._states[position * count : (position + 1) * count]).items()
        }

    def first_nonfinite(self) -> tuple[str, str] | None:
        """Name of the optimiser's first array that holds NaN or infinity, and key of its parameter. From an infinite
        moment on Adam never moves a weight again, and no loss shows it: `step` does not look, Trainer.step does."""
        if np.isfinite(self._states).all():
            return None
        count = self._store.count
        for position, name in enumerate(self.optimizer.states):
            for key, slot in self._learning.items():
                start = position * count + slot.offset
                if not np.isfinite(self._states[start : start + slot.count]).all():
                    return name, key
        return None

    def load_state(self, mapping: Mapping[str, Any]) -> None:
        """Store what `state` gave; UserError for an unknown, missing or misshapen array, and nothing is stored."""
        states = np.zeros_like(self._states)
        count = self._store.count
        known = {f"{name}.{key}" for name in self.optimizer.states for key in self._learning}
        unknown = [key for key in mapping if key not in known]
        if unknown:
            raise UserError(f"{type(self.optimizer).__name__} keeps no state {unknown[0]!r}")
        for position, name in enumerate(self.optimizer.states):
            part = {key.removeprefix(f"{name}."): array for key, array in mapping.items() if key.startswith(f"{name}.")}
            target = states[position * count : (position + 1) * count]
            write(self._learning, target, part, f"{name} of", strict=True)
        self._states[:] = states

    def _select(self, kind: str) -> None:
        """Make the program for this kind of targets the current one; both kinds share the optimiser's state."""
        if kind not in self._compiled:
            request = Request(TRAINING, self.batch, self.loss, kind, self.optimizer, self.max_norm, self.algorithm,
                              self.frozen, self.rates)  # fmt: skip
            self._compiled[kind] = self.programs.compile(request, self._states)
        self._current = self._compiled[kind]
        bounds = self.loss.target_range(self.programs.topology.output_shape)
        self._bounded = kind == TARGETS and bounds != (-math.inf, math.inf)
        self._target_dtype = _INT64 if kind == LABELS else _FLOAT32
        self._target_shape = self.loss.target_shape(kind, self.programs.topology.output_shape)

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
