"""A network: a graph of layers, its parameters, and the compiled plans that run it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.arguments import checked_seed, integer
from engine.build import require_matching_core
from engine.errors import DivergedError, UserError
from engine.finetune import frozen_layers, rate_factors
from engine.init import checked_initializer, draw
from engine.inputs import checked_input, checked_targets, label_error, nonfinite_error
from engine.layers import BatchNorm, Layer
from engine.layers.topology import Topology
from engine.losses import LABELS, CrossEntropy, Loss, MeanSquaredError
from engine.optim import Optimizer
from engine.parameters import ParameterStore, read, write
from engine.plan import EVALUATION, GRADIENTS, INFERENCE, TRAINING, Algorithm, Choices, Plan, Request, make_plan
from engine.plan.constants import write_filter, write_fold, write_segments
from engine.plan.update import learning_range
from engine.program.shapes import Shape, spatial
from engine.program.slots import Slot

require_matching_core()

Array = NDArray[np.float32]

_FLOAT32 = np.dtype(np.float32)
_INT64 = np.dtype(np.int64)

KEPT_PROGRAMS = 8  # compiled plans kept per network; each owns an arena


@dataclass
class Compiled:
    """A plan with its program and the constants that it reads."""

    plan: Plan
    program: cnncore.Program
    constants: Array
    version: int = -1  # of the parameters that the constants were made from


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


class Network:
    """Base of Sequential and Graph; also what `engine.graph.from_config` and `engine.load` give.

    topology      the graph; seed and initializer decide the first weights (see engine.init)
    preprocess    how a photograph becomes an input (engine.data.preprocess, as a dict), or None: a checkpoint's
    class_names   by label, or empty: a checkpoint's
    """

    preprocess: dict[str, Any] | None = None
    class_names: Sequence[str] = ()
    _last_prediction: Prediction | None = None

    def __init__(self, topology: Topology, *, seed: int = 0, initializer: str | Mapping[str, str] = "he_normal"):
        self.seed = checked_seed("network", seed)
        self.initializer = checked_initializer(initializer)
        self._setup(topology)

    def _setup(self, topology: Topology) -> None:
        self._topology = topology
        self._store = ParameterStore(topology)
        self._programs: OrderedDict[tuple[Any, ...], Compiled] = OrderedDict()
        self._last_prediction = None
        self._lock = threading.RLock()  # plans and folded constants, when several threads predict
        self.initialize(self.seed)

    # ---- what it is -------------------------------------------------------------------------------------------

    @property
    def topology(self) -> Topology:
        return self._topology

    @property
    def store(self) -> ParameterStore:
        """The packed parameters; plans and sessions share it."""
        return self._store

    @property
    def input_shape(self) -> Shape:
        """Per sample: (C, H, W) or (K,)."""
        return self.topology.input_shape

    @property
    def output_shape(self) -> Shape:
        """Per sample, in the public order."""
        return self.topology.output_shape

    @property
    def layers(self) -> dict[str, Layer]:
        """Name → layer, in the order in which they run."""
        return {node.name: node.layer for node in self.topology.nodes}

    @property
    def num_trainable(self) -> int:
        return sum(int(np.prod(slot.spec.shape)) for slot in self.store.slots.values())

    @property
    def num_parameters(self) -> int:
        """Trainable parameters and running statistics, as Keras counts."""
        return self.num_trainable + sum(int(np.prod(slot.spec.shape)) for slot in self.store.buffer_slots.values())

    @property
    def needs_two_samples(self) -> str | None:
        """Name of a BatchNorm with one value per channel and sample: training cannot have a batch of one sample."""
        return self.single_value_norm(())

    def single_value_norm(self, frozen: Sequence[str]) -> str | None:
        """The same when the layers of these names are frozen: those take no statistics of the batch."""
        learning = (node for node in self.topology.nodes if node.name not in frozen)
        norms = (node for node in learning if isinstance(node.layer, BatchNorm))
        return next((node.name for node in norms if spatial(node.shape) == 1), None)

    def to_config(self) -> dict[str, Any]:
        """JSON-able description of graph, shapes and arguments (not of the weights)."""
        return {**self.topology.to_config(), "seed": self.seed, "initializer": self.initializer}

    def summary(self) -> str:
        """A table of the layers with shapes and parameters, and totals with FLOPs and memory."""
        from engine.summary import render, summarize

        return render(summarize(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.layers)} layers, {self.num_parameters:,} parameters)"

    # ---- parameters -------------------------------------------------------------------------------------------

    def initialize(self, seed: int) -> None:
        """Draw all weights anew from `seed`; biases 0, BatchNorm weights 1, running statistics 0 and 1."""
        index = {node.name: position for position, node in enumerate(self.topology.nodes)}

        def drawn(slots: Mapping[str, Slot]) -> dict[str, Array]:
            return {
                key: draw(self.initializer, slot.kind, slot.spec, seed, index[slot.layer])
                for key, slot in slots.items()
            }

        self.store.write_parameters(drawn(self.store.slots), strict=True)
        self.store.write_buffers(drawn(self.store.buffer_slots), strict=True)

    def parameters(self) -> dict[str, Array]:
        """Copies of the trainable parameters in the public layouts: conv OIHW, linear (out, in), vectors (C,)."""
        return self.store.read_parameters()

    def buffers(self) -> dict[str, Array]:
        """Copies of the running statistics."""
        return self.store.read_buffers()

    def load_parameters(self, mapping: Mapping[str, Any], strict: bool = True) -> None:
        """Store parameters by name; `strict` refuses unknown and missing names. Nothing is stored on an error."""
        self.store.write_parameters(mapping, strict=strict)

    def load_buffers(self, mapping: Mapping[str, Any], strict: bool = True) -> None:
        """Store running statistics by name, as load_parameters does."""
        self.store.write_buffers(mapping, strict=strict)

    def save(self, path: Path | str) -> None:
        """Write a checkpoint of graph and weights, which `engine.load` reads."""
        from engine.checkpoint import save

        save(self, path)

    # ---- running it -------------------------------------------------------------------------------------------

    def predict(self, x: Array, batch_size: int = 256, algorithm: Algorithm = "auto") -> Array:
        """What the last layer gives for float32 images (n, C, H, W): float32 (n, *output_shape).

        `algorithm` as in `plan`.
        """
        last = self._last_prediction
        if last is not None and last.is_like(x, batch_size, algorithm):
            outputs = np.empty(last.output_shape, np.float32)
            self._run(last.compiled, x, None, outputs, 0)
            return outputs
        x = checked_input(x, self.input_shape)
        outputs = np.empty((len(x), *self.output_shape), np.float32)
        if len(x):
            compiled = self.compile(Request(INFERENCE, _capacity(len(x), batch_size), algorithm=algorithm))
            for start in range(0, len(x), compiled.plan.batch):
                part = slice(start, start + compiled.plan.batch)
                self._run(compiled, x[part], None, outputs[part], start)
            if len(x) <= compiled.plan.batch and isinstance(algorithm, str):
                self._last_prediction = Prediction(x.shape, batch_size, algorithm, outputs.shape, compiled)
        return outputs

    def evaluate(
        self, x: Array, y: NDArray[Any], loss: Loss, batch_size: int = 256, algorithm: Algorithm = "auto"
    ) -> tuple[float, Array]:
        """Mean loss over all samples, in inference mode, and the outputs as `predict` gives them."""
        x = checked_input(x, self.input_shape)
        targets, kind = checked_targets(y, len(x), loss, self.output_shape)
        if not len(x):
            raise UserError("evaluate needs at least one sample")
        capacity = _capacity(len(x), batch_size)
        compiled = self.compile(Request(EVALUATION, capacity, loss, kind, algorithm=algorithm))
        outputs = np.empty((len(x), *self.output_shape), np.float32)
        total = 0.0
        for start in range(0, len(x), compiled.plan.batch):
            part = slice(start, start + compiled.plan.batch)
            total += self._run(compiled, x[part], targets[part], outputs[part], start) * len(x[part])
        return total / len(x), outputs

    def loss_and_gradients(
        self, x: Array, y: NDArray[Any], loss: Loss, seed: int = 0, step: int = 0, algorithm: Algorithm = "auto"
    ) -> tuple[float, dict[str, Array]]:
        """Mean loss over the batch and its gradient by every parameter, in training mode.

        Dropout draws by (seed, step); batch normalisation uses the batch's statistics and updates the running ones.
        """
        x = checked_input(x, self.input_shape)
        targets, kind = checked_targets(y, len(x), loss, self.output_shape)
        if not len(x):
            raise UserError("loss_and_gradients needs at least one sample")
        if len(x) == 1 and self.needs_two_samples:
            raise _single_value(self.needs_two_samples)
        compiled = self.compile(Request(GRADIENTS, len(x), loss, kind, algorithm=algorithm))
        before = self.store.buffers.copy()
        try:
            value = self._run(compiled, x, targets, None, 0, seed=seed, step=step)
        except UserError:
            self.store.buffers[:] = before
            raise
        self.store.version += 1
        return value, read(self.store.slots, self.store.gradients)

    def training_session(
        self,
        loss: Loss,
        optimizer: Optimizer,
        batch: int,
        max_norm: float | None = None,
        algorithm: Algorithm = "auto",
        freeze: Sequence[str | int] | None = None,
        learning_rates: Mapping[Any, float] | None = None,
    ) -> TrainingSession:
        """One compiled training step (checks, forward, loss, backward, clipping, update) for up to `batch` samples.

        `freeze` and `learning_rates` as in engine.trainer.Trainer.
        """
        return TrainingSession(self, loss, optimizer, batch, max_norm, algorithm, freeze, learning_rates)

    # ---- plans ------------------------------------------------------------------------------------------------

    def plan(
        self,
        batch: int = 64,
        training: bool = False,
        loss: Loss | None = None,
        optimizer: Optimizer | None = None,
        max_norm: float | None = None,
        algorithm: Algorithm = "auto",
        tune: bool = False,
        freeze: Sequence[str | int] | None = None,
        learning_rates: Mapping[Any, float] | None = None,
    ) -> Plan:
        """The plan for batches of up to `batch` samples; `print` it to see it.

        Training plans take CrossEntropy (or MeanSquaredError, where the output is a map) unless a loss is given,
        and end with the gradients unless an optimizer is given.

        algorithm   of the convolutions: "auto" takes what the cost model finds fastest, "direct" the exact form
                    everywhere; `plan.choices["convolutions"]` of another plan repeats that plan's
        tune        measure on this machine instead of asking the cost model; the outcome may differ from run to run,
                    so keep `plan.choices`
        freeze, learning_rates   of a training plan, as in engine.trainer.Trainer
        """
        batch = integer("plan", "batch", batch, 1)
        if training and loss is None:
            loss = CrossEntropy() if len(self.output_shape) == 1 else MeanSquaredError()
        with_loss = EVALUATION if loss else INFERENCE
        mode = with_loss if not training else TRAINING if optimizer else GRADIENTS
        kind = next(iter(loss.ops)) if loss else LABELS
        frozen = frozen_layers(self.topology, freeze) if training else ()
        rates = rate_factors(self.store.slots, learning_rates) if training else ()
        stepping = optimizer if training else None
        request = Request(mode, batch, loss, kind, stepping, max_norm, algorithm, frozen, rates)
        return self._plan(self.tuned(request) if tune else request)

    def tuned_choices(
        self, loss: Loss, optimizer: Optimizer, batch: int, freeze: Sequence[str | int] | None = None
    ) -> Choices:
        """The algorithms that are the fastest in a training step of `batch` samples, measured just now."""
        return self.plan(batch, True, loss, optimizer, tune=True, freeze=freeze).choices["convolutions"]

    def tuned(self, request: Request) -> Request:
        """The request with the algorithms that were the fastest when all were measured just now."""
        from engine.plan.tune import measured_choices

        if request.algorithm != "auto":
            raise UserError(f"tune chooses the algorithms, but algorithm = {request.algorithm!r} does so too")
        direct = self._plan(replace(request, algorithm="direct"))
        return replace(request, algorithm=measured_choices(direct.code, request.batch, not request.trains))

    def _plan(self, request: Request) -> Plan:
        return make_plan(self.topology, self.store.slots, self.store.buffer_slots, request, cnncore.isa())

    def compile(self, request: Request, states: Array | None = None) -> Compiled:
        """The program of a request; those without optimiser states are kept for the next time."""
        with self._lock:
            key = (repr(request), cnncore.isa())
            if states is None and key in self._programs:
                self._programs.move_to_end(key)
                return self._programs[key]
            compiled = self._compile(request, states)
            if states is None:
                self._programs[key] = compiled
                if len(self._programs) > KEPT_PROGRAMS:
                    self._programs.popitem(last=False)
            return compiled

    def _compile(self, request: Request, states: Array | None) -> Compiled:
        plan = self._plan(request)
        constants = cnncore.aligned_zeros(-(-plan.constant_bytes // 4))
        spaces = {
            "parameters": self.store.data,
            "buffers": self.store.buffers,
            "constants": constants,
        }
        if request.trains:
            # What other programs left in the gradients of frozen layers must not reach the norm.
            own = cnncore.aligned_zeros(self.store.count) if request.frozen else None
            spaces["gradients"] = self.store.gradients if own is None else own
        if states is not None:
            spaces["states"] = states
        if plan.segments:
            write_segments(constants, plan.segments, cnncore.SEGMENT_DTYPE, plan.segments_offset)
        instructions, operands = plan.program_tables()
        used = {space: array for space, array in spaces.items() if array.size}
        program = cnncore.Program(instructions, operands, plan.batch, plan.arena_bytes, used, plan.alone, plan.brief)
        return Compiled(plan, program, constants)

    def refresh(self, compiled: Compiled) -> None:
        """Fold batch normalisation and transform weights anew where parameters or statistics have changed."""
        if compiled.version == self.store.version or not (compiled.plan.folds or compiled.plan.filters):
            return
        with self._lock:
            if compiled.version == self.store.version:
                return
            for fold in compiled.plan.folds:
                write_fold(
                    compiled.constants,
                    fold,
                    self.store.slots,
                    self.store.buffer_slots,
                    self.store.data,
                    self.store.buffers,
                )
            for made in compiled.plan.filters:
                write_filter(compiled.constants, made, self.store.data)
            compiled.version = self.store.version

    def _run(
        self,
        compiled: Compiled,
        x: Array,
        y: NDArray[Any] | None,
        outputs: Array | None,
        first: int,
        *,
        seed: int = 0,
        step: int = 0,
    ) -> float:
        self.refresh(compiled)
        try:
            return compiled.program.run(len(x), (x, y, outputs), seed=seed, step=step)
        except cnncore.CoreError as error:
            raise self.explain(error, compiled, (x, y, outputs), first, seed=seed, step=step) from None

    def explain(
        self,
        error: cnncore.CoreError,
        compiled: Compiled,
        externals: tuple[Array, NDArray[Any] | None, Array | None],
        first: int = 0,
        *,
        seed: int = 0,
        step: int = 0,
    ) -> Exception:
        """The error in the user's words; for NaN in loss or gradient the program runs again to find the layer."""
        x, y, _ = externals
        if error.status == "CNN_NONFINITE_INPUT":
            return nonfinite_error(x, x[:0] if y is None else y, first)
        if error.status == "CNN_LABEL_OUT_OF_RANGE":
            assert y is not None
            return label_error(y, self.output_shape[0], first)
        if error.status not in ("CNN_NONFINITE_LOSS", "CNN_NONFINITE_GRADIENT"):
            return error
        layer = self._culprit(compiled, externals, seed, step)
        if error.status == "CNN_NONFINITE_LOSS":
            return DivergedError(step, layer, "loss")
        first, _ = learning_range(self.store.slots, compiled.plan.request.frozen)
        key = self.store.key_at(first + error.detail)
        return DivergedError(step, layer or self.store.slots[key].layer, f"gradient of {key}")

    def _culprit(
        self,
        compiled: Compiled,
        externals: tuple[Array, NDArray[Any] | None, Array | None],
        seed: int,
        step: int,
    ) -> str | None:
        """Name of the first layer whose output is not finite; None where only the loss is."""
        try:
            compiled.program.run(len(externals[0]), externals, seed=seed, step=step, check_outputs=True)
        except cnncore.CoreError as error:
            if error.status == "CNN_NONFINITE_OUTPUT":
                name = compiled.plan.instructions[error.detail].layer.split("+")[0]
                return name if name in self.layers else None
        return None


class TrainingSession:
    """A compiled training step with its optimiser state. Made by `Network.training_session`."""

    def __init__(
        self,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        batch: int,
        max_norm: float | None = None,
        algorithm: Algorithm = "auto",
        freeze: Sequence[str | int] | None = None,
        learning_rates: Mapping[Any, float] | None = None,
    ):
        if max_norm is not None and not max_norm > 0:
            raise UserError(f"max_norm must be above 0, not {max_norm!r}")
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.batch = integer("training_session", "batch", batch, 1)
        self.max_norm = max_norm
        self.algorithm = algorithm
        self.frozen = frozen_layers(network.topology, freeze)
        self.rates = rate_factors(network.store.slots, learning_rates)
        store = network.store
        self._learning = {key: slot for key, slot in store.slots.items() if slot.layer not in self.frozen}
        self._store = store
        self._states: Array = cnncore.aligned_zeros(len(optimizer.states) * store.count)
        self._saved_buffers = store.buffers.copy()
        self._compiled: dict[str, Compiled] = {}
        kind = next(iter(loss.ops))
        self._select(kind)
        self._input_shape = network.input_shape
        self._fewest = 2 if network.single_value_norm(self.frozen) else 1

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
        current = self._current
        store = self._store
        if self._saved_buffers.size:
            self._saved_buffers[:] = store.buffers
        try:
            loss = current.program.run(len(x), (x, y), seed=seed, step=step, learning_rate=learning_rate)
        except cnncore.CoreError as error:
            explained = self.network.explain(error, current, (x, y, None), seed=seed, step=step)
            store.buffers[:] = self._saved_buffers
            raise explained from None
        store.version += 1
        return loss

    def state(self) -> dict[str, Array]:
        """Copies of the optimiser's arrays in the public layouts, as "velocity.0.weights"; none of frozen layers."""
        count = self._store.count
        return {
            f"{name}.{key}": array
            for position, name in enumerate(self.optimizer.states)
            for key, array in read(self._learning, self._states[position * count : (position + 1) * count]).items()
        }

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
            self._compiled[kind] = self.network.compile(request, self._states)
        self._current = self._compiled[kind]
        self._target_dtype = _INT64 if kind == LABELS else _FLOAT32
        self._target_shape = self.loss.target_shape(kind, self.network.output_shape)

    def _checked(self, x: Any, y: Any) -> tuple[Array, NDArray[Any]]:
        """Whatever the quick look in `step` did not accept: convert it or say what is wrong with it."""
        x = checked_input(x, self._input_shape)
        if not 0 < len(x) <= self.batch:
            raise UserError(f"the batch has {len(x)} samples, but this session takes 1 to {self.batch}")
        if len(x) < self._fewest:
            raise _single_value(str(self.network.single_value_norm(self.frozen)))
        y, kind = checked_targets(y, len(x), self.loss, self.network.output_shape)
        self._select(kind)
        return x, y


def _single_value(layer: str) -> UserError:
    return UserError(
        f"the batch has one sample, so BatchNorm {layer!r} sees one value per channel and has no variance: "
        "training needs two samples or more"
    )


def _capacity(samples: int, batch_size: int) -> int:
    """Largest batch to plan for: the batch size, or the power of two that holds fewer samples."""
    batch_size = integer("predict", "batch_size", batch_size, 1)
    return min(batch_size, 1 << (samples - 1).bit_length())
