"""What is compared: the networks, each training step and batch of inference, as jobs for the sides."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import engine
from engine.inspection.activations import activations
from experiments.measuring.networks import LATER_NETWORKS, NETWORKS, ODD_NETWORKS, Measured
from experiments.peers.job import ADAM, INFERENCE, INT8, SGD, TRAINING, Array, Job, Node

COMPARED = {**NETWORKS, **LATER_NETWORKS, **ODD_NETWORKS}
TASKS = (TRAINING, INFERENCE, INT8)
USUAL_TASKS = TASKS[:2]
OPTIMIZERS = (SGD, ADAM)
BATCHES = {TRAINING: (64, 16), INFERENCE: (1, 8, 64, 256), INT8: (1, 64)}


ONLY = {"scene_8": ("torch", "torch-cl")}  # peers of a network that would keep the others busy for minutes
MEASURED_ON = 16  # images for running statistics
QUANTIZED_BY = 64  # images that tell how large every value becomes
RATE = 0.001
# These jump at the usual one, and rounding grows with it.
RATES = {("vgg19", SGD): 1e-4, ("vgg19", ADAM): 1e-5, ("mobilenet_v2", SGD): 1e-4, ("mobilenet_v2", ADAM): 1e-5}
PADDED = (engine.Conv2D, engine.ConvTranspose2D, engine.Pad2D)  # layers that tell their pads
USUAL_BATCH = Measured.batch  # a network that is measured at another one is measured at that alone


@dataclass(frozen=True)
class Case:
    """One line of the tables."""

    network: str
    task: str
    optimizer: str | None
    batch: int
    threads: int

    def __str__(self) -> str:
        kind = f"{self.task}, {self.optimizer}" if self.optimizer else self.task
        return f"{self.network}, {kind}, batch {self.batch}, {self.threads} thread{'s' if self.threads > 1 else ''}"


def cases_of(
    networks: Iterable[str],
    tasks: Sequence[str],
    optimizers: Sequence[str],
    batches: dict[str, Sequence[int]],
    threads: Sequence[int],
) -> list[Case]:
    """Every combination that makes sense, network by network."""
    return [
        Case(network, task, optimizer, batch, count)
        for count in threads
        for network in networks
        for task in tasks
        for batch in batches_of(network, batches[task])
        for optimizer in (optimizers if task == TRAINING else (None,))
    ]


def network_of(case: Case) -> engine.Network:
    return COMPARED[case.network].make()


def batches_of(network: str, usual: Sequence[int]) -> Sequence[int]:
    batch = COMPARED[network].batch
    return usual if batch == USUAL_BATCH else (batch,)


def scores(net: engine.Network, x: Array) -> Array:
    """What the network gives, or what goes into the Softmax at its end."""
    last = net.topology.node(net.topology.output)
    if not isinstance(last.layer, engine.Softmax):
        return net.predict(x)
    (before,) = last.inputs
    return activations(net, x, [before])[before]


def has_dropout(net: engine.Network) -> bool:
    return any(isinstance(layer, engine.Dropout) and layer.rate > 0.0 for layer in net.layers.values())


def nodes_of(net: engine.Network) -> tuple[Node, ...]:
    """The layers as plain data."""
    nodes = []
    for node in net.topology.nodes:
        shape = net.topology.shape_of(node.inputs[0])
        pads = node.layer.pads(*shape[1:]) if isinstance(node.layer, PADDED) else (0, 0, 0, 0)
        nodes.append(Node(node.name, type(node.layer).__name__, node.inputs, node.layer.arguments(), shape, pads))
    return tuple(nodes)


def write_job(case: Case, net: engine.Network, folder: Path, dropout: bool = True) -> Job:
    """The job of a case in `folder`; without `dropout` every rate is 0."""
    graph = copy.deepcopy(net.to_config())
    nodes = list(nodes_of(net))
    if not dropout:
        for arguments in [*(node["arguments"] for node in graph["nodes"]), *(node.arguments for node in nodes)]:
            if "rate" in arguments:
                arguments["rate"] = 0.0
    rate = RATES.get((case.network, case.optimizer or ""), RATE)
    job = Job(
        case.task, case.optimizer, rate, case.batch, case.threads, graph, tuple(nodes), net.output_shape, folder
    )  # fmt: skip
    job.save(arrays_of(case, net))
    return job


def arrays_of(case: Case, net: engine.Network) -> dict[str, Array]:
    """The first weights and a batch. For predictions the running statistics are measured, as 0 and 1 would hide an
    error, and the last weights are such that the largest score is 1: behind a Softmax larger ones would hide an error,
    as it gives 0 or 1, and smaller ones too, as it gives the same for every class. An error of the scores is then about
    as large a share of the largest as the error of the outputs is of theirs. With integers "samples" are there too, by
    which the network is quantised."""
    random = np.random.default_rng(0)
    arrays: dict[str, Array] = {**net.parameters(), **net.buffers()}
    if case.task != TRAINING:
        images = random.standard_normal((MEASURED_ON, *net.input_shape)).astype(np.float32)
        engine.calibrate(net, images)
        arrays |= net.buffers()
    arrays["x"] = random.standard_normal((case.batch, *net.input_shape)).astype(np.float32)
    if case.task != TRAINING:
        last = [name for name in arrays if name.endswith(".weights")][-1]
        arrays[last] = arrays[last] / np.abs(scores(net, arrays["x"])).max()
    if case.task == INT8:
        arrays["samples"] = random.standard_normal((QUANTIZED_BY, *net.input_shape)).astype(np.float32)
    arrays["y"] = random.integers(0, net.output_shape[0], (case.batch, *net.output_shape[1:]))
    return arrays
