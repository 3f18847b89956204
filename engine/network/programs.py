"""A network's plans as programs: compiled once, kept, refreshed when weights change, and their errors explained."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.arguments import integer, number
from engine.errors import DivergedError, UserError, unknown
from engine.layers.topology import Topology
from engine.losses import (
    LABELS,
    CrossEntropy,
    Loss,
    MeanSquaredError,
    NumPyLoss,
    StoppedError,
    checked_loss,
)
from engine.network.finetune import frozen_layers, rate_factors
from engine.network.inputs import label_error, nonfinite_error
from engine.network.parameters import Array, ParameterStore
from engine.optim import Optimizer, checked_optimizer
from engine.plan import EVALUATION, GRADIENTS, INFERENCE, SMALL, TRAINING, Algorithm, Request, make_plan
from engine.plan.constants import write_filter, write_fold, write_segments
from engine.plan.lower import check_sizes
from engine.plan.memory.available import require_plan
from engine.plan.memory.less import AIM, LEAST_SPEED, sees_the_whole_batch
from engine.plan.plan import Plan
from engine.plan.request import MEMORY, USUAL
from engine.plan.update import learning_range
from engine.program.limits import MOST_ELEMENTS
from engine.program.shapes import Shape

KEPT_PROGRAMS = 8  # compiled plans kept per network; each owns an arena


@dataclass
class Compiled:
    """A plan with its program and the constants that it reads."""

    plan: Plan
    program: cnncore.Program
    constants: Array
    gradients: Array | None = None  # where the program puts them; None: none, or with those of the store
    scores_shape: Shape = ()  # of a sample, for a loss that NumPy computes
    version: int = -1  # of the parameters that the constants were made from
    halves: float = 0.0  # seconds in C of the last run of which NumPy computed the loss
    checked: bool = False  # the gradient of a user's loss has been held against differences
    lock: threading.Lock = field(default_factory=threading.Lock)  # while NumPy computes, another run has to wait

    def __post_init__(self) -> None:
        # What runs all of it: callers need not know who computes the loss.
        self.whole: cnncore.Program | Compiled = self if self.plan.handover is not None else self.program

    def run(self, batch: int, externals: Sequence[NDArray[Any] | None], **settings: Any) -> float:
        """Run the program as cnncore.Program.run does, where NumPy computes the loss, between the forward and the
        backward half; the loss. StoppedError where what it is given or gives is not finite.
        """
        handover, loss = self.plan.handover, self.plan.request.loss
        assert handover is not None and isinstance(loss, NumPyLoss)
        x, y, outputs = (*externals, None)[:3]
        assert y is not None
        scores, gradient = np.empty((2, batch, *self.scores_shape), np.float32)
        given = x, None, outputs, scores, gradient
        with self.lock:
            self.program.run(batch, given, until=handover, **settings)
            elapsed = self.program.elapsed
            due = self.plan.request.trains and not self.checked
            if due and np.isfinite(scores).all():
                loss.check_gradient(scores, y[:batch])
                self.checked = True
            value, gradient[:] = loss.measure(scores, y[:batch])
            if self.plan.request.trains:
                self.program.run(batch, given, first=handover, **settings)
                elapsed += self.program.elapsed
        self.halves = elapsed
        return value

    @property
    def elapsed(self) -> float:
        """Seconds in C of the last run of both halves."""
        return self.halves


class Programs:
    """The programs of one network; they share the arrays of its store."""

    def __init__(self, topology: Topology, store: ParameterStore):
        self.topology = topology
        self.store = store
        self._kept: OrderedDict[tuple[Any, ...], Compiled] = OrderedDict()
        self._lock = threading.RLock()  # kept programs and folded constants, when several threads predict

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: programs are bound to memory, so a copy compiles its own."""
        return {"topology": self.topology, "store": self.store}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.topology, self.store = state["topology"], state["store"]
        self._kept, self._lock = OrderedDict(), threading.RLock()

    def plan(self, request: Request) -> Plan:
        """The plan of a request, on the instruction set that is chosen now."""
        return make_plan(self.topology, self.store.slots, self.store.buffer_slots, request, cnncore.isa())

    def plan_for(
        self,
        batch: int,
        training: bool,
        loss: Loss | None,
        optimizer: Optimizer | None,
        max_norm: float | None,
        algorithm: Algorithm,
        tune: bool,
        freeze: Sequence[str | int] | None,
        learning_rates: Mapping[Any, float] | None,
        memory: str,
    ) -> Plan:
        """`plan` in the words of `Network.plan`."""
        batch = integer("plan", "batch", batch, 1, MOST_ELEMENTS)
        if max_norm is not None:
            number("plan", "max_norm", max_norm, 0.0, math.inf, above=True)
        loss = None if loss is None else checked_loss("plan", loss)
        optimizer = None if optimizer is None else checked_optimizer("plan", optimizer)
        if training and loss is None:
            loss = CrossEntropy() if len(self.topology.output_shape) == 1 else MeanSquaredError()
        with_loss = EVALUATION if loss else INFERENCE
        mode = with_loss if not training else TRAINING if optimizer else GRADIENTS
        kind = next(iter(loss.ops)) if loss else LABELS
        frozen = frozen_layers(self.topology, freeze) if training else ()
        rates = rate_factors(self.store.slots, learning_rates) if training else ()
        stepping = optimizer if training else None
        request = Request(mode, batch, loss, kind, stepping, max_norm, algorithm, frozen, rates)
        if checked_memory(memory) == SMALL and training:
            request = self.in_less(request)
        plan = self.plan(self.tuned(request) if tune else request)
        check_sizes(plan.code, request.batch)
        return plan

    def in_less(self, request: Request) -> Request:
        """The request of a training step that takes less memory: of parts of the batch, which come one after the other,
        or, where the whole batch decides what normalises it, of one that computes again what it does not keep."""
        whole, small = self.plan(request), replace(request, memory=SMALL)
        plan = self.plan(small)
        if plan.arena_bytes <= AIM * whole.arena_bytes or sees_the_whole_batch(whole.code):
            return small
        smallest, least = small, plan.arena_bytes
        for parts in range(2, request.batch + 1):
            tried = replace(request, batch=-(-request.batch // parts), parts=parts)
            plan = self.plan(tried)
            if LEAST_SPEED * plan.step_estimate > whole.step_estimate:
                break
            if plan.arena_bytes < least:
                smallest, least = tried, plan.arena_bytes
            if plan.arena_bytes <= AIM * whole.arena_bytes:
                break
        return smallest

    def tuned(self, request: Request) -> Request:
        """The request with the algorithms that were the fastest when all were measured just now."""
        from engine.plan.tune import measured_choices  # a prediction starts faster without it

        if request.algorithm != "auto":
            raise UserError(f"tune chooses the algorithms, but algorithm = {request.algorithm!r} does so too")
        direct = self.plan(replace(request, algorithm="direct", memory=USUAL))
        _require(direct)
        return replace(request, algorithm=measured_choices(direct.code, request.batch, not request.trains))

    def compile(self, request: Request, states: Array | None = None) -> Compiled:
        """The program of a request; those without optimiser states are kept for the next time. UserError, before
        anything is allocated, where the machine has too little memory for it."""
        with self._lock:
            own = request.loss if isinstance(request.loss, NumPyLoss) else None  # two functions may have one name
            key = (repr(request), own, cnncore.isa())
            if states is None and key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            compiled = self._compile(request, states)
            if states is None:
                self._kept[key] = compiled
                if len(self._kept) > KEPT_PROGRAMS:
                    self._kept.popitem(last=False)
            return compiled

    def _compile(self, request: Request, states: Array | None) -> Compiled:
        plan = self.plan(request)
        _require(plan)
        constants = cnncore.aligned_zeros(-(-plan.constant_bytes // 4))
        spaces = {
            "parameters": self.store.data,
            "buffers": self.store.buffers,
            "constants": constants,
        }
        own: Array | None = None
        if request.trains:
            # What other programs left in the gradients of frozen layers must not reach the norm.
            own = cnncore.aligned_zeros(self.store.count) if request.frozen else None
            spaces["gradients"] = self.store.gradients if own is None else own
        if states is not None:
            spaces["states"] = states
        if plan.segments:
            write_segments(constants, plan.segments, cnncore.SEGMENT_DTYPE, plan.segments_offset)
        return Compiled(plan, plan.program(spaces), constants, own, self.topology.output_shape)

    def refresh(self, compiled: Compiled) -> None:
        """Fold batch normalisation and transform weights anew where parameters or statistics have changed."""
        if compiled.version == self.store.version:
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

    def run(
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
        """Run a program that is up to date; the loss, where it has one. `first` numbers the samples in messages."""
        if compiled.version != self.store.version:
            self.refresh(compiled)
        try:
            return compiled.whole.run(len(x), (x, y, outputs), seed=seed, step=step)
        except (cnncore.CoreError, StoppedError) as error:
            raise self.explain(error, compiled, (x, y, outputs), first, seed=seed, step=step) from None

    def explain(
        self,
        error: cnncore.CoreError | StoppedError,
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
            return label_error(y, self.topology.output_shape[0], first, compiled.plan.request.loss)
        if error.status not in ("CNN_NONFINITE_LOSS", "CNN_NONFINITE_GRADIENT"):
            return error
        layer = self._culprit(compiled, externals, seed, step, first)
        if error.status == "CNN_NONFINITE_LOSS":
            return DivergedError(step, layer, error.what if isinstance(error, StoppedError) else "loss")
        assert isinstance(error, cnncore.CoreError)
        first, _ = learning_range(self.store.slots, compiled.plan.request.frozen)
        key = self.store.key_at(first + error.detail)
        return DivergedError(step, layer or self.store.slots[key].layer, f"gradient of {key}")

    def _culprit(
        self,
        compiled: Compiled,
        externals: tuple[Array, NDArray[Any] | None, Array | None],
        seed: int,
        step: int,
        first: int,
    ) -> str | None:
        """Name of the first layer whose output is not finite; None where only the loss is."""
        named = _first_nonfinite(compiled, externals, seed, step, first)
        if named is not None and "+" in named:  # one op for several layers: with an op for each it shows which
            request = replace(compiled.plan.request, optimizer=None, max_norm=None, fused=False)
            mode = GRADIENTS if request.mode == TRAINING else request.mode
            apart = self._compile(replace(request, mode=mode), None)
            self.refresh(apart)
            named = _first_nonfinite(apart, externals, seed, step, first) or named.split("+")[0]
        return named if any(node.name == named for node in self.topology.nodes) else None


def checked_memory(memory: Any) -> str:
    """How much memory a training step may take; UserError for what is no such word."""
    if memory not in MEMORY:
        raise unknown("memory", memory, MEMORY)
    return str(memory)


def _require(plan: Plan) -> None:
    """UserError where the machine has too little memory for the plan."""
    require_plan(plan.footprint, plan.arena, plan.request.mode, cnncore.get_num_threads())


def _first_nonfinite(
    compiled: Compiled, externals: tuple[Array, NDArray[Any] | None, Array | None], seed: int, step: int, first: int
) -> str | None:
    """What the plan calls the layer, or the layers, of the first instruction whose output is not finite."""
    try:
        compiled.whole.run(
            len(externals[0]), externals, seed=seed, step=step, first_sample=first, more=True, check_outputs=True
        )
    except StoppedError:
        return None
    except cnncore.CoreError as error:
        if error.status == "CNN_NONFINITE_OUTPUT":
            return compiled.plan.instructions[error.detail].layer
    return None
