"""Running statistics of batch normalisation, measured anew."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.arguments import assign, integer
from engine.data.dataset import Dataset
from engine.errors import UserError
from engine.layers import BatchNorm, Dropout, Layer
from engine.layers.topology import Topology
from engine.losses import MeanSquaredError
from engine.network.inputs import checked_input
from engine.network.network import Network
from engine.program.shapes import spatial

Images = NDArray[np.float32]


def calibrate(net: Network, data: Dataset | tuple[Any, Any] | Images, batch_size: int = 256) -> None:
    """Renew the running statistics of every BatchNorm, in place: mean and unbiased variance over all of `data`.

    For networks whose running statistics have seen too few updates, or whose weights or data have changed since. The
    network runs in training mode, where each batch is normalised by its own statistics, but without dropout, as in a
    prediction; weights stay as they are. Neither what was in the running statistics counts nor the layers' momentum.
    The batches' statistics are joined as in Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm" (PreciseBN). A network
    without BatchNorm stays as it is.

    data         a Dataset, (images, labels) or images alone, float32 (n, C, H, W), as in training; no label is used.
                 Bytes of a Dataset without a preprocess are normalised by the network's, where it has one
    batch_size   at most so many samples at a time; the batches are as equal as can be
    UserError where images do not fit, DivergedError where the network's outputs are not finite.
    """
    nothing = {key: np.zeros_like(array) for key, array in net.buffers().items()}
    twin = Network(_measuring(net.topology), arrays=(net.parameters(), nothing))
    if isinstance(data, Dataset):
        data = data.prepared_as(net.preprocess)
    moments = {
        node.name: _Moments(spatial(node.shape)) for node in net.topology.nodes if isinstance(node.layer, BatchNorm)
    }
    if not moments:
        return
    loss = MeanSquaredError()  # any that takes every output: only the forward pass matters
    for images in _batches(data, net.input_shape, integer("calibrate", "batch_size", batch_size, 1)):
        twin.loss_and_gradients(images, np.zeros((len(images), *net.output_shape), np.float32), loss)
        seen = twin.buffers()
        for name, each in moments.items():
            each.add(len(images), seen[f"{name}.running_mean"], seen[f"{name}.running_var"])
    net.load_buffers(
        {f"{name}.running_mean": each.mean for name, each in moments.items()}
        | {f"{name}.running_var": each.variance for name, each in moments.items()}
    )


@dataclass
class _Moments:
    """Mean and variance of a channel's values over the batches so far (Chan, Golub & LeVeque 1983, in float64)."""

    per_sample: int
    count: int = 0
    mean: Any = 0.0
    squares: Any = 0.0  # sum of squared distances from the mean

    def add(self, samples: int, mean: Images, variance: Images) -> None:
        """A batch with its mean and its unbiased variance, (channels,) each."""
        count = samples * self.per_sample
        distance = mean.astype(np.float64) - self.mean
        total = self.count + count
        self.squares += variance.astype(np.float64) * (count - 1) + np.square(distance) * self.count * count / total
        self.mean += distance * count / total
        self.count = total

    @property
    def variance(self) -> Any:
        return self.squares / (self.count - 1)


def _measuring(topology: Topology) -> Topology:
    """The same graph, in which the running statistics become those of the last batch, and nothing is dropped."""
    return replace(topology, nodes=tuple(replace(node, layer=_measuring_layer(node.layer)) for node in topology.nodes))


def _measuring_layer(layer: Layer) -> Layer:
    changed = copy.copy(layer)
    if isinstance(layer, BatchNorm):
        assign(changed, momentum=1.0)
    elif isinstance(layer, Dropout):
        assign(changed, rate=0.0)
    return changed


def _batches(data: Dataset | tuple[Any, Any] | Images, shape: tuple[int, ...], size: int) -> Iterator[Images]:
    images = data.images if isinstance(data, Dataset) else data[0] if isinstance(data, tuple) else data
    if not isinstance(data, Dataset):
        images = checked_input(images, shape)
    if not len(images):
        raise UserError("calibrate needs at least one sample")
    for part in np.array_split(np.arange(len(images)), -(-len(images) // size)):
        batch = images[part[0] : part[-1] + 1]
        yield np.ascontiguousarray(data.normalise(batch) if isinstance(data, Dataset) else batch, np.float32)
