"""What a side of the comparison is given: a network as data, its weights, a batch, and what is to be done with them.

This module needs NumPy alone, so that the process of a peer imports nothing of the engine.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRAINING, INFERENCE, INT8 = "training", "inference", "int8"  # int8: inference with integers
SGD, ADAM = "sgd", "adam"
MODEL = "model.onnx"  # in the folder of a job of inference: what `engine.to_onnx` writes, for any size of batch
FLOAT_MODEL = "float.onnx"  # in that of a job with integers, whose MODEL is of integers
QUANTIZED = "quantized.safetensors"  # beside it, the same as our own file
# Sides beside our integers: the same network in float32, which is no peer, and ONNX Runtime's own quantisation of it.
OURS_FLOAT, STATIC = "ours-float", "onnxruntime-static"
EXACT = "torch-64"  # the side in float64, beside which the rounding of the others is seen; nothing of it is timed

# What the optimisers of all sides are set to. They differ in where Adam adds epsilon, which no loss shows.
MOMENTUM = 0.9
BETAS = (0.9, 0.999)
EPSILON = 1e-8

Array = NDArray[Any]


@dataclass(frozen=True)
class Node:
    """One layer: `kind` is its class in engine.layers, `shape` that of its (first) input per sample, C first."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    arguments: dict[str, Any]
    shape: tuple[int, ...]
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # of a convolution or a padding: top, bottom, left, right

    @property
    def zero_pads(self) -> tuple[int, int, int, int]:
        """The pads of a convolution, for a side that knows none but zeros."""
        if self.arguments.get("padding_mode", "zeros") != "zeros":
            raise NotImplementedError("a padding of a convolution that is not of zeros")
        return self.pads

    def pair(self, name: str, default: str = "") -> tuple[int, int]:
        """An argument that is one number or (height, width); where it is None, the argument `default`."""
        value = self.arguments[name]
        if value is None:
            value = self.arguments[default]
        return (value, value) if isinstance(value, int) else (value[0], value[1])


@dataclass(frozen=True)
class Recipe:
    """How a whole run trains, in numbers that any side can follow; `config` is the engine's own configuration.

    factors    by parameter: factor on the rate (0: it never learns), and weight decay, which adds to the gradient
    rates      of every step of the run
    averages   decay of the averages behind every step of the run; below 0 they rest
    lookahead  whether the averages become the weights
    epochs     of the run
    """

    momentum: float
    nesterov: bool
    label_smoothing: float
    factors: dict[str, tuple[float, float]]
    rates: tuple[float, ...]
    averages: tuple[float, ...]
    lookahead: bool
    epochs: int
    config: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A network, and what is timed: a training step, a prediction, or one with integers. `graph` is of `to_config`.

    With a recipe the steps are its first ones, on one batch after the other and then from the first batch on.
    """

    task: str
    optimizer: str | None
    learning_rate: float
    batch: int
    threads: int
    graph: dict[str, Any]
    nodes: tuple[Node, ...]
    output_shape: tuple[int, ...]
    folder: Path
    recipe: Recipe | None = None

    @property
    def trains(self) -> bool:
        return self.task == TRAINING

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """ "x" (n, C, H, W), "y" int64 (n,) or (n, H, W); parameters and running statistics by name in public layouts.

        With a recipe x and y hold one batch after the other: (b, n, C, H, W) and (b, n).
        """
        with np.load(self.folder / "arrays.npz") as file:
            return dict(file)

    def get(self, node: Node, name: str) -> Array | None:
        """An array of a layer: "weights", "bias", "running_mean", "running_var"; None where it has none."""
        return self.arrays.get(f"{node.name}.{name}")

    def layers(self, logits: bool) -> list[Node]:
        """The layers in the order of computing; `logits`: without a Softmax at the end, which the loss includes."""
        nodes = list(self.nodes)
        if logits and nodes[-1].kind == "Softmax":
            assert nodes[-1].inputs == (nodes[-2].name,), "the Softmax takes what the layer before it gives"
            del nodes[-1]
        return nodes

    @property
    def is_chain(self) -> bool:
        """Whether every layer takes what the one before it gives, and nothing else."""
        followed = zip(self.nodes[1:], self.nodes, strict=False)
        return len(self.nodes[0].inputs) == 1 and all(node.inputs == (before.name,) for node, before in followed)

    def chain(self, logits: bool) -> list[Node]:
        """`layers` of a network without branches; NotImplementedError for one with them."""
        if not self.is_chain:
            raise NotImplementedError("a network with branches")
        return self.layers(logits)

    def weights_channels_last(self, position: int) -> Array:
        """(in, out) weights of the Linear at `position` for maps flattened in the order H, W, C."""
        weights = self.get(self.nodes[position], "weights")
        assert weights is not None
        before = self.nodes[position - 1] if position else None
        if before is not None and before.kind == "Flatten" and len(before.shape) == 3:
            weights = weights.reshape(len(weights), *before.shape).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(weights.reshape(len(weights), -1).T)

    def save(self, arrays: dict[str, Array]) -> None:
        """Write the job and its arrays to its folder."""
        fields: dict[str, Any] = {
            each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "folder"
        }
        fields["nodes"] = [dataclasses.asdict(node) for node in self.nodes]
        fields["recipe"] = self.recipe and dataclasses.asdict(self.recipe)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "job.json").write_text(json.dumps(fields))
        np.savez(self.folder / "arrays.npz", **arrays)  # type: ignore[arg-type]


def load(folder: Path) -> Job:
    """The job that `save` wrote."""
    fields = json.loads((folder / "job.json").read_text())
    fields["nodes"] = tuple(_node(node) for node in fields["nodes"])
    fields["output_shape"] = tuple(fields["output_shape"])
    fields["recipe"] = fields["recipe"] and _recipe(fields["recipe"])
    return Job(**fields, folder=folder)


def _node(fields: dict[str, Any]) -> Node:
    read: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Node(**read)


def _recipe(fields: dict[str, Any]) -> Recipe:
    factors = {key: (factor, decay) for key, (factor, decay) in fields["factors"].items()}
    steps = {name: tuple(fields[name]) for name in ("rates", "averages")}
    return Recipe(**{**fields, **steps, "factors": factors})


@dataclass(frozen=True)
class Prepared:
    """What an adapter gives: `call` takes a step and returns its loss, or predicts and returns the outputs.

    `planned_bytes` asks for what the side has planned to use, where it plans.
    """

    call: Callable[[], Any]
    planned_bytes: Callable[[], int] | None = None
