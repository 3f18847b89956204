"""From layers to ops: the forward pass of a network, its checks and its loss, one instruction at a time."""

from __future__ import annotations

from collections.abc import Mapping

import cnncore

from engine.errors import UserError
from engine.layers.topology import INPUT, Node, Topology
from engine.losses import LABELS, Loss, NumPyLoss
from engine.plan.layout import flattened_maps
from engine.plan.request import Request
from engine.program.code import (
    ARENA,
    EXTERNAL,
    INPUT_EXTERNAL,
    OUTPUT_EXTERNAL,
    SCORES_EXTERNAL,
    TARGETS_EXTERNAL,
    Builder,
    Code,
    Tensor,
    Value,
)
from engine.program.shapes import Shape, elements, needs_transpose
from engine.program.slots import Slot


def absorbed_layer(topology: Topology, loss: Loss | None) -> Node | None:
    """The last layer, where the loss includes it and works on its input (the logits) instead."""
    if loss is None or loss.absorbs is None:
        return None
    last = topology.node(topology.output)
    return last if isinstance(last.layer, loss.absorbs) else None


def lower(topology: Topology, slots: Mapping[str, Slot], request: Request) -> Code:
    """Forward instructions over numbered values, unfused, with the loss op (still without its gradient) last.

    In training the code ends at the logits; otherwise its output is external 2, in the public order.
    """
    builder = Builder(request.trains, slots, layer=INPUT, frozen=frozenset(request.frozen))
    targets = _emit_checks(builder, topology, request)
    tensors = {INPUT: _emit_input(builder, topology.input_shape)}
    absorbed = absorbed_layer(topology, request.loss)
    skipped = absorbed if request.trains else None
    free, _ = flattened_maps(topology)
    for node in topology.nodes:
        if node is not skipped:
            builder.layer = node.name
            builder.flatten_is_alias = node.name in free
            tensors[node.name] = node.layer.lower(builder, [tensors[name] for name in node.inputs])
            if tensors[node.name].shape != node.shape:
                raise UserError(
                    f"layer {node.name!r}: `lower` gives an output of shape {tensors[node.name].shape}, `output_shape` "
                    f"says {node.shape}"
                )
    builder.layer = "output"
    scores = tensors[absorbed.inputs[0] if absorbed else topology.output]
    stored = request.loss is not None and request.loss.stored
    if request.trains:
        scores = scores if stored else _public(builder, scores)
        output = scores
    else:
        output = emit_output(builder, tensors[topology.output])
        if not stored:
            scores = output if absorbed is None else _public(builder, scores)
    if request.loss is not None:
        _emit_loss(builder, request.loss, request.targets, scores, targets)
    check_written(builder)
    return Code(tuple(builder.values), tuple(builder.instructions), output.value)


def check_written(builder: Builder) -> None:
    """UserError unless every value of the arena is written before it is read, and never behind that."""
    arena = {number for number, value in enumerate(builder.values) if value.space == ARENA}
    waiting, read = set(arena), set[int]()
    for each in builder.instructions:
        sources, outputs = arena.intersection(each.sources()), each.outputs()
        if not waiting.isdisjoint(sources):
            raise UserError(
                f"op {each.op!r} of layer {each.layer!r} reads a value that no op before it writes; see `lower` of the "
                "layers before it"
            )
        read |= sources
        if not read.isdisjoint(outputs):
            raise UserError(
                f"op {each.op!r} of layer {each.layer!r} writes over a value that was read: every result needs a value "
                "of its own"
            )
        waiting.difference_update(outputs)


def check_sizes(code: Code, batch: int) -> None:
    """UserError unless every value is as large as the geometry of the op that reads or writes it says."""
    sizes = [value.bytes(batch) for value in code.values]
    for each in code.instructions:
        needed = cnncore.op_operand_bytes(each.op, dict(each.geometry), each.batch(batch))
        for name, value in each.operands.items():
            if (size := sizes[value]) != needed[name]:
                raise UserError(
                    f"op {each.op!r} of layer {each.layer!r}: by its geometry {name!r} has {needed[name]} bytes in a "
                    f"batch of {batch}, but what it is given has {size}; see `lower` or the gradient rule of that layer"
                )


def _emit_checks(builder: Builder, topology: Topology, request: Request) -> int | None:
    """Values of the input (always number 0) and the targets, and the ops that look for bad ones."""
    source = builder.new(Value(topology.input_shape, EXTERNAL, INPUT_EXTERNAL))
    builder.emit("check_finite", {"count": elements(topology.input_shape), "slope": 0.0}, src=source)
    loss = request.loss
    if loss is None:
        return None
    absorbed = absorbed_layer(topology, loss)
    shape = topology.shape_of(absorbed.inputs[0]) if absorbed else topology.output_shape
    loss.check_output(shape)
    if request.targets not in loss.ops:
        raise UserError(f"{type(loss).__name__} takes float32 targets of shape (n, ...), not integer labels")
    if isinstance(loss, NumPyLoss):
        return None
    per_sample = loss.target_shape(request.targets, shape) or ()
    if request.targets == LABELS and per_sample:
        return builder.new(Value(per_sample, EXTERNAL, TARGETS_EXTERNAL, "int64"))  # the loss looks at them itself
    if request.targets == LABELS:
        targets = builder.new(Value((), EXTERNAL, TARGETS_EXTERNAL, "int64"))
        builder.emit("check_labels", {"classes": elements(shape), "label_smoothing": 0.0}, labels=targets)
        return targets
    targets = builder.new(Value(per_sample, EXTERNAL, TARGETS_EXTERNAL))
    builder.emit("check_finite", {"count": elements(shape), "slope": 0.0}, src=targets)
    return targets


def _emit_input(builder: Builder, shape: Shape) -> Tensor:
    source = Tensor(0, shape)
    return builder.to_stored(source) if needs_transpose(shape) else source


def _public(builder: Builder, tensor: Tensor) -> Tensor:
    return builder.to_public(tensor, tensor.shape) if needs_transpose(tensor.shape) else tensor


def emit_output(builder: Builder, tensor: Tensor) -> Tensor:
    """Let the last op write into the caller's array; add an op where the last value is not ready for that."""
    public = _public(builder, tensor)
    value = builder.values[public.value]
    if value.space == ARENA:
        builder.values[public.value] = value.changed(space=EXTERNAL, offset=OUTPUT_EXTERNAL)
        return public
    return _copied(builder, public, OUTPUT_EXTERNAL)


def _copied(builder: Builder, tensor: Tensor, external: int) -> Tensor:
    """A copy in an array of the caller."""
    count = elements(tensor.shape)
    output = Tensor(builder.new(Value(tensor.shape, EXTERNAL, external)), tensor.shape)
    geometry = {
        "rows": 1,
        "channels": count,
        "src_stride": count,
        "src_offset": 0,
        "dst_stride": count,
        "dst_offset": 0,
    }
    builder.emit("copy_channels", geometry, dst=output, src=tensor)
    return output


def _emit_loss(builder: Builder, loss: Loss, kind: str, scores: Tensor, targets: int | None) -> None:
    builder.layer = "loss"
    if isinstance(loss, NumPyLoss):
        _copied(builder, scores, SCORES_EXTERNAL)
        return
    operands: dict[str, Tensor | int | None] = {loss.source: scores, kind: targets}
    builder.emit(loss.ops[kind], loss.geometry(scores.shape), **operands)
