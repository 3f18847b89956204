"""Running a quantised network in the core: one program with the layers in float32 and the integers between them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.layers.topology import INPUT
from engine.network.inputs import capacity, checked_input, nonfinite_error
from engine.network.network import Network
from engine.plan import INFERENCE, Request, finish
from engine.plan.constants import write_fold
from engine.plan.layout import flattened_maps
from engine.plan.lower import check_written, emit_output
from engine.plan.memory.available import require_memory, require_plan
from engine.plan.plan import Plan
from engine.program.code import EXTERNAL, INPUT_EXTERNAL, OUTPUT_EXTERNAL, Builder, Code, Tensor, Value
from engine.program.shapes import Shape, elements, needs_transpose, stored_shape
from engine.program.slots import Slot, total_floats
from engine.quantize.body import Body
from engine.quantize.lowering import Constants, Lowering

KEPT_PROGRAMS = 8  # as a network keeps
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """The float32 arrays of the layers at both ends, as one."""

    slots: dict[str, Slot]
    buffer_slots: dict[str, Slot]
    data: Array
    buffers: Array

    @classmethod
    def of(cls, parts: list[Network]) -> Part:
        """Those of the ends that there are, one behind the other."""
        slots: dict[str, Slot] = {}
        buffer_slots: dict[str, Slot] = {}
        for part in parts:
            for found, own in ((slots, part.store.slots), (buffer_slots, part.store.buffer_slots)):
                start = total_floats(found.values())
                found |= {key: replace(slot, offset=slot.offset + start) for key, slot in own.items()}
        data, buffers = (cnncore.aligned_zeros(total_floats(found.values())) for found in (slots, buffer_slots))
        for array, arrays in ((data, [p.store.data for p in parts]), (buffers, [p.store.buffers for p in parts])):
            start = 0
            for each in arrays:
                array[start : start + each.size] = each
                start += each.size
        return cls(slots, buffer_slots, data, buffers)


@dataclass(frozen=True)
class Lowered:
    """The ops, what the constants hold, and the weights before they were packed, by value."""

    code: Code
    constants: Constants
    weights: dict[int, NDArray[np.int8]]


@dataclass
class Compiled:
    """A plan with its program, and the constants, which the program reads."""

    plan: Plan
    program: cnncore.Program
    constants: Array


@dataclass(frozen=True)
class Call:
    """The last call that took one run: another like it needs no planning, and no checks but the core's."""

    input_shape: Shape
    batch_size: int
    output_shape: Shape
    compiled: Compiled


class Execution:
    """The programs of a quantised network: those whose output is the network's, and those that end before its tail."""

    def __init__(self, body: Body, head: Network | None, tail: Network | None):
        self.body, self.head, self.tail = body, head, tail
        self.input_shape = body.topology.input_shape if head is None else head.input_shape
        self.part = Part.of([each for each in (head, tail) if each is not None])
        self._kept: OrderedDict[tuple[Any, ...], Compiled] = OrderedDict()
        self._lowered: dict[tuple[bool, bool], Lowered] = {}  # by whole, and Winograd's algorithm
        self._last: dict[bool, Call] = {}  # of the whole network, and of what comes before its tail
        self._lock = threading.RLock()

    def run(self, x: Any, batch_size: int, whole: bool) -> Array:
        """Float32 outputs of the whole network, or what its last codes stand for."""
        last = self._last.get(whole)
        if last is not None and last.batch_size == batch_size and last.compiled.program.takes(x, last.input_shape):
            outputs: Array = np.empty(last.output_shape, np.float32)
            _run(last.compiled, x, outputs, 0)
            return outputs
        x = checked_input(x, self.input_shape)
        inner = self.body.topology.output_shape
        shape = (len(x), *(inner if self.tail is None or not whole else self.tail.output_shape))
        require_memory(f"an output of shape {shape}", 4 * elements(shape), "take fewer samples at a time")
        outputs = np.empty(shape, np.float32)
        if not len(x):
            return outputs
        compiled = self.compile(capacity(len(x), batch_size), whole)
        for start in range(0, len(x), compiled.plan.batch):
            part = slice(start, start + compiled.plan.batch)
            _run(compiled, x[part], outputs[part], start)
        if len(x) <= compiled.plan.batch:
            self._last[whole] = Call(x.shape, batch_size, shape, compiled)
        return outputs

    def compile(self, batch: int, whole: bool, algorithm: str = "auto") -> Compiled:
        """The program for batches of up to so many samples, kept for the next time; "direct" is the same on every
        machine. UserError where the machine has too little memory for it."""
        with self._lock:
            key = (batch, whole, cnncore.isa(), _takes_winograd(algorithm))
            if key not in self._kept:
                self._kept[key] = self._compile(batch, whole, algorithm)
                if len(self._kept) > KEPT_PROGRAMS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def lowered(self, whole: bool, algorithm: str = "auto") -> Lowered:
        """The ops, which are the same for any batch."""
        key = whole, _takes_winograd(algorithm)
        with self._lock:
            if key not in self._lowered:
                self._lowered[key] = self._lower(*key)
            return self._lowered[key]

    def plan(self, batch: int, whole: bool, algorithm: str = "auto") -> Plan:
        """The plan for batches of up to so many samples."""
        request, part = Request(INFERENCE, batch, algorithm="direct"), self.part
        code = self.lowered(whole, algorithm).code
        return finish(code, part.slots, part.buffer_slots, request, cnncore.isa())

    def _compile(self, batch: int, whole: bool, algorithm: str) -> Compiled:
        plan = self.plan(batch, whole, algorithm)
        require_plan(plan.footprint, plan.arena, plan.request.mode, cnncore.get_num_threads())
        part = self.part
        constants = cnncore.aligned_zeros(-(-plan.constant_bytes // 4))
        held = constants.view(np.uint8)
        for offset, array in self.lowered(whole, algorithm).constants:
            held[offset : offset + array.nbytes] = array.view(np.uint8)
        for fold in plan.folds:
            write_fold(constants, fold, part.slots, part.buffer_slots, part.data, part.buffers)
        spaces = {"parameters": part.data, "buffers": part.buffers, "constants": constants}
        return Compiled(plan, plan.program(spaces), constants)

    def _lower(self, whole: bool, winograd: bool) -> Lowered:
        builder = Builder(False, {**self.part.slots, **self.part.buffer_slots}, layer=INPUT)
        source = Tensor(builder.new(Value(self.input_shape, EXTERNAL, INPUT_EXTERNAL)), self.input_shape)
        builder.emit("check_finite", {"count": elements(self.input_shape), "slope": 0.0}, src=source)
        stored = self.head is not None
        if self.head is not None:
            first = builder.to_stored(source) if needs_transpose(source.shape) else source
            source = _emit_floats(builder, self.head, first)
        lowering = Lowering(builder, self.body, winograd)
        codes = lowering.run(source, stored)
        builder.layer = "output"
        if self.tail is not None and whole:
            logits = Tensor(builder.new(Value(stored_shape(codes.shape))), codes.shape)
            lowering.dequantised(codes, logits.value)
            last = _emit_floats(builder, self.tail, logits)
            builder.layer = "output"
            output = emit_output(builder, last).value
        else:
            output = self._emit_numbers(lowering, codes)
        check_written(builder)
        code = Code(tuple(builder.values), tuple(builder.instructions), output)
        return Lowered(code, lowering.constants, lowering.weights)

    def _emit_numbers(self, lowering: Lowering, codes: Tensor) -> int:
        """What the codes stand for into the caller's array; they are transposed as bytes, which are fewer."""
        shape: Shape = codes.shape
        if needs_transpose(shape):
            codes = lowering.transposed("nhwc_to_nchw_int8", codes, shape)
        output = lowering.builder.new(Value(shape, EXTERNAL, OUTPUT_EXTERNAL))
        lowering.dequantised(codes, output)
        return output


def _takes_winograd(algorithm: str) -> bool:
    """Whether products are of 16 bits, two to an instruction: of bytes it is four, and no algorithm saves as much. Sets
    of instructions that were not measured take none."""
    return algorithm == "auto" and cnncore.isa() in ("avx2", "avx512") and not cnncore.uses_vnni()


def _run(compiled: Compiled, x: Array, outputs: Array, first: int) -> None:
    """Samples that fit into one run; `first` numbers them in messages."""
    try:
        compiled.program.run(len(x), (x, None, outputs))
    except cnncore.CoreError as error:
        if error.status != "CNN_NONFINITE_INPUT":
            raise
        raise nonfinite_error(x, x[:0], first) from None


def _emit_floats(builder: Builder, part: Network, source: Tensor) -> Tensor:
    """The layers of one end."""
    tensors = {INPUT: source}
    free, _ = flattened_maps(part.topology)
    for node in part.topology.nodes:
        builder.layer = node.name
        builder.flatten_is_alias = node.name in free
        tensors[node.name] = node.layer.lower(builder, [tensors[name] for name in node.inputs])
    return tensors[part.topology.output]
