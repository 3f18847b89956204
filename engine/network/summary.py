"""What a network consists of, counted from its plans."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from engine.layers.topology import Topology
from engine.network.parameters import ParameterStore
from engine.plan.plan import Plan
from engine.plan.table import quantity, table

BATCH = 64  # for which memory is stated
SHOWN = 12  # layers of a network that a notebook shows


@dataclass(frozen=True)
class LayerRow:
    """One layer: its name, how it was written, its output's shape per sample, its parameters with statistics."""

    name: str
    layer: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int


@dataclass(frozen=True)
class Summary:
    """The whole network. FLOPs are per sample, of direct convolutions (a multiply-add counts as two).

    Memory is in bytes at `batch`.
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    layers: tuple[LayerRow, ...]
    parameters: int
    trainable: int
    forward_flops: int
    training_flops: int
    batch: int
    parameter_bytes: int
    inference_bytes: int
    training_bytes: int


def summarize(topology: Topology, store: ParameterStore, inference: Plan, training: Plan) -> Summary:
    """Count parameters, operations and memory of a network, from its plans of one batch."""
    batch = inference.batch
    return Summary(
        topology.input_shape,
        topology.output_shape,
        tuple(_row(node.name, node.layer, node.shape) for node in topology.nodes),
        store.num_parameters,
        store.num_trainable,
        inference.direct_flops // batch,
        training.direct_flops // batch,
        batch,
        store.data.nbytes + store.buffers.nbytes,
        inference.arena_bytes + inference.constant_bytes,
        training.arena_bytes,
    )


def render(summary: Summary) -> str:
    """The summary as a table with totals."""
    rows = [("name", "layer", "output shape", "parameters")]
    rows += [(r.name, r.layer, _times(r.output_shape), f"{r.parameters:,}") for r in summary.layers]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip() for a, b, c, d in rows]
    fixed = summary.parameters - summary.trainable
    lines.insert(1, "-" * max(map(len, lines)))
    lines += [
        lines[1],
        f"input {_times(summary.input_shape)}, output {_times(summary.output_shape)}",
        f"parameters: {summary.parameters:,} ({summary.trainable:,} trainable, {fixed:,} running statistics)",
        f"FLOPs per sample: {quantity(summary.forward_flops)} forward, {quantity(summary.training_flops)} training",
        f"memory: parameters {quantity(summary.parameter_bytes)}B; activations at batch {summary.batch}: "
        f"inference {quantity(summary.inference_bytes)}B, training {quantity(summary.training_bytes)}B",
    ]
    return "\n".join(lines)


def brief(topology: Topology) -> list[str]:
    """A few lines for a notebook: the layers with their shapes, the first and the last of many."""
    rows = [(node.name, str(node.layer), _times(node.shape)) for node in topology.nodes]
    lines = table([("name", "layer", "output shape"), *rows], numeric={2})
    if len(rows) > SHOWN:
        lines[1 + SHOWN // 2 : -SHOWN // 2] = [f"… {len(rows) - SHOWN} more layers: print(net.summary())"]
    return lines


def _row(name: str, layer: Any, shape: tuple[int, ...]) -> LayerRow:
    trainable = sum(math.prod(spec.shape) for spec in layer.parameters())
    fixed = sum(math.prod(spec.shape) for spec in layer.buffers())
    return LayerRow(name, str(layer), shape, trainable + fixed, trainable)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
