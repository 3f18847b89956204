"""Running a network's programs on the caller's arrays: predictions, the loss over samples, gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UserError
from engine.losses import Loss
from engine.network.finetune import frozen_layers
from engine.network.inputs import capacity, checked_input, checked_targets, single_value_error, single_value_norm
from engine.network.parameters import Array, read
from engine.network.programs import Compiled, Programs
from engine.plan import EVALUATION, GRADIENTS, INFERENCE, Algorithm, Request
from engine.plan.memory.available import require_memory


@dataclass(frozen=True)
class Prediction:
    """The last call of `predict` that took one run: another like it needs no planning and no checks but these."""

    input_shape: tuple[int, ...]
    batch_size: int
    algorithm: str
    output_shape: tuple[int, ...]
    compiled: Compiled

    def is_like(self, x: Any, batch_size: int, algorithm: Algorithm) -> bool:
        return (
            batch_size == self.batch_size
            and algorithm == self.algorithm
            and self.compiled.program.takes(x, self.input_shape)
        )


class Execution:
    """Runs the programs of one network; `Network` documents the methods."""

    def __init__(self, programs: Programs):
        self.programs = programs
        self.store = programs.store
        self.input_shape = programs.topology.input_shape
        self.output_shape = programs.topology.output_shape
        self._last: Prediction | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: the last call's program stays behind."""
        return {**self.__dict__, "_last": None}

    def predict(self, x: Array, batch_size: int = 256, algorithm: Algorithm = "auto") -> Array:
        last = self._last
        if last is not None and last.is_like(x, batch_size, algorithm):
            outputs = np.empty(last.output_shape, np.float32)
            self.programs.run(last.compiled, x, None, outputs, 0)
            return outputs
        x = checked_input(x, self.input_shape)
        outputs = self._outputs(len(x))
        if len(x):
            compiled = self.programs.compile(Request(INFERENCE, capacity(len(x), batch_size), algorithm=algorithm))
            for start in range(0, len(x), compiled.plan.batch):
                part = slice(start, start + compiled.plan.batch)
                self.programs.run(compiled, x[part], None, outputs[part], start)
            if len(x) <= compiled.plan.batch and isinstance(algorithm, str):
                self._last = Prediction(x.shape, batch_size, algorithm, outputs.shape, compiled)
        return outputs

    def _outputs(self, samples: int) -> Array:
        shape = (samples, *self.output_shape)
        require_memory(f"an output of shape {shape}", 4 * math.prod(shape), "take fewer samples at a time")
        return np.empty(shape, np.float32)

    def evaluate(
        self, x: Array, y: NDArray[Any], loss: Loss, batch_size: int = 256, algorithm: Algorithm = "auto"
    ) -> tuple[float, Array]:
        x = checked_input(x, self.input_shape)
        targets, kind = checked_targets(y, len(x), loss, self.output_shape)
        if not len(x):
            raise UserError("evaluate needs at least one sample")
        size = capacity(len(x), batch_size)
        compiled = self.programs.compile(Request(EVALUATION, size, loss, kind, algorithm=algorithm))
        outputs = self._outputs(len(x))
        total = counted = 0.0
        for start in range(0, len(x), compiled.plan.batch):
            part = slice(start, start + compiled.plan.batch)
            weight = loss.weight(targets[part])
            total += self.programs.run(compiled, x[part], targets[part], outputs[part], start) * weight
            counted += weight
        return (total / counted if counted else 0.0), outputs

    def loss_and_gradients(
        self, x: Array, y: NDArray[Any], loss: Loss, seed: int = 0, step: int = 0, algorithm: Algorithm = "auto",
        freeze: Sequence[str | int] | None = None,
    ) -> tuple[float, dict[str, Array]]:  # fmt: skip
        """`freeze`: layers that are taken as they are (see engine.training.trainer.Trainer) and have no gradients."""
        x = checked_input(x, self.input_shape)
        targets, kind = checked_targets(y, len(x), loss, self.output_shape)
        if not len(x):
            raise UserError("loss_and_gradients needs at least one sample")
        frozen = frozen_layers(self.programs.topology, freeze)
        norm = single_value_norm(self.programs.topology, frozen)
        if len(x) == 1 and norm:
            raise single_value_error(norm)
        compiled = self.programs.compile(Request(GRADIENTS, len(x), loss, kind, algorithm=algorithm, frozen=frozen))
        before = self.store.buffers.copy()
        try:
            value = self.programs.run(compiled, x, targets, None, 0, seed=seed, step=step)
        except BaseException:  # also what a user's own loss raises
            self.store.buffers[:] = before
            raise
        self.store.count_step()
        learning = {key: slot for key, slot in self.store.slots.items() if slot.layer not in frozen}
        return value, read(learning, self.store.gradients if compiled.gradients is None else compiled.gradients)
