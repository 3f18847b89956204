"""What a network consists of: `python -m engine.summary MODEL|CONFIG|CHECKPOINT [key=value …] [--json]`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from engine.cli import run

if TYPE_CHECKING:
    from engine.network import Network

BATCH = 64  # for which memory is stated


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


def summarize(net: Network, batch: int = BATCH) -> Summary:
    """Count parameters, operations and memory of a network, from its plans."""
    inference = net.plan(batch=batch)
    training = net.plan(batch=batch, training=True)
    return Summary(
        net.input_shape,
        net.output_shape,
        tuple(_row(node.name, node.layer, node.shape) for node in net.topology.nodes),
        net.num_parameters,
        net.num_trainable,
        inference.direct_flops // batch,
        training.direct_flops // batch,
        batch,
        net.store.data.nbytes + net.store.buffers.nbytes,
        inference.arena_bytes + inference.constant_bytes,
        training.arena_bytes,
    )


def render(summary: Summary) -> str:
    """The summary as a table with totals."""
    from engine.plan.describe import quantity

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


def open_network(source: str, settings: Sequence[str]) -> Network:
    """The network of a checkpoint (.safetensors), of a configuration (.yaml, .yml) or of a model's name.

    `settings` are key=value texts: arguments of a named model, or overrides of a configuration.
    """
    from pathlib import Path

    from engine.errors import UserError

    suffix = Path(source).suffix.lower()
    if suffix == ".safetensors":
        from engine.checkpoint import load

        if settings:
            raise UserError(f"{source}: a checkpoint takes no settings, but got {settings[0]!r}")
        return load(source)
    if suffix in (".yaml", ".yml"):
        from engine.config import build_network, load_config

        config = load_config(Path(source), settings)
        return build_network(config.model, config.seed)
    from engine.models import make_model
    from engine.schema import parse_override

    arguments: dict[str, Any] = {}
    for text in settings:
        arguments |= parse_override(text)
    return make_model(source, **arguments)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m engine.summary",
        description="Print the layers of a network with shapes and parameters, its FLOPs and its memory.",
    )
    parser.add_argument(
        "source",
        nargs="?",
        metavar="MODEL|CONFIG|CHECKPOINT",
        help="a named model, a .yaml configuration, or a .safetensors checkpoint; without one, the models are listed",
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="arguments of the model, such as filters=256")
    parser.add_argument("--batch", type=int, default=BATCH, help="batch for which memory is stated (default: 64)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_intermixed_args(arguments)


def main() -> None:
    options = parse_arguments()
    if options.source is None:
        print(_model_list(as_json=options.json))
        return
    summary = summarize(open_network(options.source, options.settings), options.batch)
    if options.json:
        import json

        print(json.dumps(asdict(summary), indent=2))
    else:
        print(render(summary))


def _model_list(*, as_json: bool) -> str:
    from engine.models import MODELS, describe

    if as_json:
        import json

        return json.dumps({name: describe(name) for name in MODELS}, indent=2)
    width = max(map(len, MODELS))
    return "\n".join(f"{name:<{width}}  {describe(name)}" for name in MODELS)


def _row(name: str, layer: Any, shape: tuple[int, ...]) -> LayerRow:
    trainable = sum(math.prod(spec.shape) for spec in layer.parameters())
    fixed = sum(math.prod(spec.shape) for spec in layer.buffers())
    return LayerRow(name, str(layer), shape, trainable + fixed, trainable)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


if __name__ == "__main__":
    sys.exit(run(main))
