"""Whole networks against PyTorch in float64: random graphs, every layer, forward and all gradients.

Runs where torch is installed. A network is compared with the same inputs and the same dropout masks. Where a ReLU's
input or a max-pool's two largest values are equal up to float32 rounding, the two may rightly differ: such a sample is
replaced by another, and counted. So is a batch that hardly varies before a batch normalisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cnncore
import numpy as np
import pytest

from engine.graph import Graph, Network
from engine.layers import (
    Add,
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2D,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from engine.layers.base import pair
from engine.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError
from engine.plan.layout import flattened_maps
from engine.topology import INPUT, Node

torch = pytest.importorskip("torch", reason="torch is not installed: pip install .[peers]")
functional = torch.nn.functional

NETWORKS = 200
PER_TEST = 20
TOLERANCE = 2e-3  # of the largest gradient of the tensor, or of FLOOR times the network's largest
FLOOR = 0.01
TIE = 4e-6  # of the largest absolute value of a tensor: what float32 may round away
NARROW = 0.02  # smallest spread of a batch, beside its mean, that batch normalisation is tested with
SEED, STEP = 11, 3


@dataclass
class Peer:
    """The network in torch, float64; `tied` collects the samples that stand at a kink."""

    net: Network
    training: bool
    parameters: dict[str, Any]
    buffers: dict[str, Any]
    tied: set[int] = field(default_factory=set)
    streams: int = 0

    @classmethod
    def of(cls, net: Network, *, training: bool) -> Peer:
        parameters = {key: torch.tensor(array, dtype=torch.float64) for key, array in net.parameters().items()}
        for tensor in parameters.values():
            tensor.requires_grad_()
        buffers = {key: torch.tensor(array, dtype=torch.float64) for key, array in net.buffers().items()}
        return cls(net, training, parameters, buffers)

    def outputs(self, x: np.ndarray) -> dict[str, Any]:
        """Outputs of all layers by name."""
        values = {INPUT: torch.tensor(x, dtype=torch.float64)}
        for node in self.net.topology.nodes:
            values[node.name] = self.apply(node, [values[name] for name in node.inputs])
        return values

    def apply(self, node: Node, inputs: list[Any]) -> Any:
        layer, x = node.layer, inputs[0]
        match layer:
            case Conv2D():
                top, bottom, left, right = layer.pads(*x.shape[2:])
                return functional.conv2d(
                    functional.pad(x, (left, right, top, bottom)),
                    self.parameters[f"{node.name}.weights"],
                    self.parameters.get(f"{node.name}.bias"),
                    layer.stride,
                    0,
                    layer.dilation,
                    layer.groups,
                )
            case Linear():
                bias = self.parameters.get(f"{node.name}.bias")
                return functional.linear(x, self.parameters[f"{node.name}.weights"], bias)
            case MaxPool2D():
                return self.max_pool(layer, x)
            case AvgPool2D():
                arguments = (layer.kernel, layer.stride, layer.padding, layer.ceil_mode, layer.count_include_pad)
                return functional.avg_pool2d(x, *arguments)
            case GlobalAvgPool2D():
                return x.mean((2, 3))
            case BatchNorm():
                self.note_narrow_batches(x)
                return functional.batch_norm(
                    x,
                    self.buffers[f"{node.name}.running_mean"],
                    self.buffers[f"{node.name}.running_var"],
                    self.parameters[f"{node.name}.weights"],
                    self.parameters[f"{node.name}.bias"],
                    self.training,
                    layer.momentum,
                    layer.eps,
                )
            case Dropout():
                return self.dropout(node, layer, x)
            case ReLU() | LeakyReLU():
                self.note_ties(x, x.abs())
                return functional.leaky_relu(x, getattr(layer, "slope", 0.0))
            case Softmax():
                return functional.softmax(x, 1)
            case Flatten():
                return x.flatten(1)
            case Add():
                return sum(inputs)
            case Concat():
                return torch.cat(inputs, 1)
        return {Sigmoid: torch.sigmoid, Tanh: torch.tanh}[type(layer)](x)

    def max_pool(self, layer: MaxPool2D, x: Any) -> Any:
        pooled = functional.max_pool2d(x, layer.kernel, layer.stride, layer.padding, 1, layer.ceil_mode)
        (kernel_h, kernel_w), (pad_h, pad_w) = pair(layer.kernel), pair(layer.padding)
        stride_h, stride_w = pair(layer.kernel if layer.stride is None else layer.stride)
        far_h = (pooled.shape[2] - 1) * stride_h + kernel_h - x.shape[2] - pad_h
        far_w = (pooled.shape[3] - 1) * stride_w + kernel_w - x.shape[3] - pad_w
        padded = functional.pad(x, (pad_w, max(far_w, 0), pad_h, max(far_h, 0)), value=-torch.inf)
        windows = padded.unfold(2, kernel_h, stride_h).unfold(3, kernel_w, stride_w).flatten(4)
        best = windows[:, :, : pooled.shape[2], : pooled.shape[3]].topk(min(2, windows.shape[4]), 4).values
        gap = best[..., 0] - best[..., -1] if best.shape[4] > 1 else torch.full_like(pooled, torch.inf)
        self.note_ties(x, gap)
        return pooled

    def dropout(self, node: Node, layer: Dropout, x: Any) -> Any:
        stream = self.streams
        self.streams += 1
        if not self.training or layer.rate == 0:
            return x
        geometry = {"count": x[0].numel(), "stream": stream, "rate": layer.rate}
        ones, mask = np.ones(x.numel(), np.float32), np.empty(x.numel(), np.float32)
        cnncore.run_op("dropout", {"dst": mask, "src": ones}, geometry, len(x), seed=SEED, step=STEP)
        stored = self.stored_shape(node, tuple(x.shape[1:]))
        if len(stored) == 3:
            channels, height, width = stored
            mask = mask.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        return x * torch.tensor(np.ascontiguousarray(mask), dtype=torch.float64).reshape(x.shape)

    def stored_shape(self, node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) where the elements lie in the order H, W, C: a map, or one that a free Flatten has renamed."""
        while len(shape) == 1:
            free, _ = flattened_maps(self.net.topology)
            (source,) = node.inputs
            if source == INPUT:
                return shape
            before = self.net.topology.node(source)
            if source in free:
                return self.net.topology.shape_of(before.inputs[0])
            if not before.layer.elementwise:
                return shape
            node = before
        return shape

    def note_narrow_batches(self, x: Any) -> None:
        """Note all samples where a channel's spread is small beside its mean.

        Normalising multiplies float32's rounding of such a channel by mean / spread, in any implementation.
        """
        rest = [axis for axis in range(x.ndim) if axis != 1]
        mean, spread = x.detach().mean(rest), x.detach().std(rest, correction=0)
        if self.training and bool((spread < NARROW * mean.abs()).any()):
            self.tied.update(range(len(x)))

    def note_ties(self, x: Any, distance: Any) -> None:
        """Note the samples whose distance to a kink is at rounding level.

        Exactly zero is no tie: such are zeros behind a ReLU and copies of one element, in float32 as in float64, and
        both sides treat them alike (no gradient; the first of equals).
        """
        distance = distance.detach()
        near = (distance != 0) & (distance < TIE * float(x.detach().abs().max()))
        self.tied.update(torch.nonzero(near.flatten(1).any(1)).flatten().tolist())


Random = np.random.Generator


def random_network(random: Random) -> tuple[Network, Loss]:
    """A graph of three to eight blocks on a small odd-sized map, then a head of linear layers."""
    channels = int(random.integers(1, 6))
    height, width = (int(extent) for extent in random.integers(6, 15, 2))
    graph = Graph((channels, height, width), seed=int(random.integers(1000)))
    loss = LOSSES[random.integers(len(LOSSES))]
    last = graph.input
    shape: tuple[int, ...] = (channels, height, width)

    def add(layer: Layer, *inputs: str) -> str:
        nonlocal shape
        name = graph.add(layer, *inputs)
        shape = graph._nodes[-1].shape
        return name

    for _ in range(random.integers(2, 6)):
        block = BLOCKS[random.integers(len(BLOCKS))]
        last = block(random, add, last, shape)
    if random.random() < 0.3:
        last = add(GlobalAvgPool2D(), last)
    else:
        last = add(Flatten(), last)
        if random.random() < 0.3:
            last = add(Dropout(0.3), last)
        elif random.random() < 0.15:
            last = add(BatchNorm(shape[0]), last)
    for _ in range(random.integers(0, 3)):
        last = add(Linear(shape[0], int(random.integers(3, 40)), bias=bool(random.random() < 0.8)), last)
        if random.random() < 0.3:
            last = add(BatchNorm(shape[0]), last)
        last = add(activation(random), last)
        if random.random() < 0.3:
            last = add(Dropout(float(random.uniform(0.1, 0.6))), last)
    last = add(Linear(shape[0], int(random.integers(2, 19))), last)
    if random.random() < 0.5:
        last = add(Softmax() if isinstance(loss, CrossEntropy) else Sigmoid(), last)
    graph.output = last
    redraw(graph, random)
    return graph, loss


def redraw(net: Network, random: Random) -> None:
    """Biases, BatchNorm parameters and running statistics other than 0 and 1."""
    net.load_parameters(
        {
            key: array if array.ndim > 1 else (array + random.normal(0, 0.3, array.shape)).astype(np.float32)
            for key, array in net.parameters().items()
        }
    )
    net.load_buffers(
        {key: random.uniform(0.5, 1.5, array.shape).astype(np.float32) for key, array in net.buffers().items()}
    )


def activation(random: Random) -> Layer:
    return (ReLU(), ReLU(), LeakyReLU(0.1), Sigmoid(), Tanh())[random.integers(5)]


Block = Callable[[Random, Callable[..., str], str, tuple[int, ...]], str]


def convolution(random: Random, add: Callable[..., str], last: str, shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    groups = int(random.choice([g for g in range(1, channels + 1) if channels % g == 0]))
    filters = groups * int(random.integers(1, max(2, 20 // groups)))
    kernel = tuple(int(k) for k in random.integers(1, 6, 2))
    dilation = int(random.integers(1, 3)) if max(kernel) < 4 else 1
    padding: Any = (
        "same",
        tuple(int(p) for p in random.integers(0, 3, 4)),
        int(random.integers(0, 3)),
    )[random.integers(3)]
    spans = [dilation * (k - 1) + 1 for k in kernel]
    if spans[0] > height or spans[1] > width:
        padding = "same"
    stride = int(random.choice([1, 1, 1, 2, 3])) if min(height, width) > 4 else 1
    bias = bool(random.random() < 0.8)
    last = add(Conv2D(channels, filters, kernel, stride, padding, dilation, groups, bias), last)
    if random.random() < 0.4:
        last = add(BatchNorm(filters), last)
    if random.random() < 0.8:
        last = add(activation(random), last)
    return last


def conv_relu_pool(random: Random, add: Callable[..., str], last: str, shape: tuple[int, ...]) -> str:
    filters = int(random.integers(1, 35))
    last = add(Conv2D(shape[0], filters, int(random.choice([1, 3, 5])), padding="same"), last)
    last = add(ReLU(), last)
    return add(MaxPool2D(2, 2), last) if min(shape[1:]) > 3 else last


def pool(random: Random, add: Callable[..., str], last: str, shape: tuple[int, ...]) -> str:
    if min(shape[1:]) < 3:
        return last
    kernel, stride = int(random.integers(2, 4)), int(random.integers(1, 4))
    padding, ceil_mode = int(random.integers(0, kernel // 2 + 1)), bool(random.random() < 0.5)
    if random.random() < 0.6:
        return add(MaxPool2D(kernel, stride, padding, ceil_mode), last)
    return add(AvgPool2D(kernel, stride, padding, ceil_mode, bool(random.random() < 0.5)), last)


def residual(random: Random, add: Callable[..., str], last: str, shape: tuple[int, ...]) -> str:
    branch = add(Conv2D(shape[0], shape[0], 3, padding=1), last)
    branch = add(activation(random), branch)
    return add(Add(), last, branch, branch) if random.random() < 0.3 else add(Add(), branch, last)


def inception(random: Random, add: Callable[..., str], last: str, shape: tuple[int, ...]) -> str:
    one = add(Conv2D(shape[0], int(random.integers(1, 9)), 1), last)
    two = add(activation(random), add(Conv2D(shape[0], int(random.integers(1, 9)), 3, padding=1), last))
    return add(Concat(), one, two, last)


def map_dropout(random: Random, add: Callable[..., str], last: str, shape: tuple[int, ...]) -> str:
    return add(Dropout(float(random.uniform(0.0, 0.5))), last)


BLOCKS: tuple[Block, ...] = (convolution, convolution, conv_relu_pool, conv_relu_pool, pool, residual, inception,
                             map_dropout)  # fmt: skip
LOSSES: tuple[Loss, ...] = (CrossEntropy(), CrossEntropy(), CrossEntropy(0.1), MeanSquaredError(), BinaryCrossEntropy())


def random_targets(random: Random, loss: Loss, samples: int, classes: int) -> np.ndarray:
    if isinstance(loss, CrossEntropy) and random.random() < 0.6:
        return random.integers(0, classes, samples)
    targets = random.uniform(0, 1, (samples, classes))
    return (targets / targets.sum(1, keepdims=True)).astype(np.float32)


def torch_loss(net: Network, values: dict[str, Any], y: np.ndarray, loss: Loss) -> Any:
    last = net.topology.node(net.topology.output)
    absorbed = loss.absorbs is not None and isinstance(last.layer, loss.absorbs)
    scores = values[last.inputs[0] if absorbed else last.name]
    if isinstance(loss, CrossEntropy):
        targets = torch.tensor(y) if y.ndim == 1 else torch.tensor(y, dtype=torch.float64)
        return functional.cross_entropy(scores, targets, label_smoothing=loss.label_smoothing)
    targets = torch.tensor(y, dtype=torch.float64)
    if isinstance(loss, BinaryCrossEntropy):
        return functional.binary_cross_entropy_with_logits(scores, targets)
    return functional.mse_loss(scores, targets)


def untied_input(net: Network, random: Random, samples: int) -> tuple[np.ndarray | None, int]:
    """Inputs without a sample at a kink, in training and inference, and how many had to be replaced.

    None where every sample ties: a 1x1 convolution of a padded map, for one, makes equal pixels along the border.
    """
    x = np.stack([random_image(net, random) for _ in range(samples)])
    replaced = 0
    for _ in range(20):
        tied: set[int] = set()
        for training in (True, False):
            peer = Peer.of(net, training=training)
            with torch.no_grad():
                peer.outputs(x)
            tied |= peer.tied
        if not tied:
            return x, replaced
        replaced += len(tied)
        for sample in tied:
            x[sample] = random_image(net, random)
    return None, replaced


def random_image(net: Network, random: Random) -> np.ndarray:
    """Noise around a mean of its own for every channel, so that averages differ from sample to sample as well."""
    means = random.normal(size=(net.input_shape[0], 1, 1))
    return (means + random.normal(size=net.input_shape)).astype(np.float32)


def worst_gradient_error(gradients: dict[str, np.ndarray], references: dict[str, np.ndarray]) -> tuple[float, str]:
    """Largest error as a multiple of what is allowed, and where it is."""
    largest = max(float(np.abs(reference).max()) for reference in references.values())
    errors = [
        (
            float(np.abs(gradients[key] - reference).max())
            / (TOLERANCE * max(float(np.abs(reference).max()), FLOOR * largest)),
            key,
        )
        for key, reference in references.items()
    ]
    return max(errors)


def compare(number: int, attempt: int = 0) -> tuple[float, int]:
    """Compare one random network; returns the worst gradient error (as a share of the allowed) and replaced samples."""
    random = np.random.default_rng([2024, number, attempt])
    net, loss = random_network(random)
    samples = int(random.integers(2, 7))
    x, replaced = untied_input(net, random, samples)
    if x is None:
        error, more = compare(number, attempt + 1)
        return error, replaced + more
    y = random_targets(random, loss, samples, net.output_shape[0])
    shown = f"network {number}, {samples} samples, {loss}:\n{net.summary()}"

    peer = Peer.of(net, training=False)
    with torch.no_grad():
        expected = peer.outputs(x)[net.topology.output].numpy()
    predicted = net.predict(x)
    assert np.abs(predicted - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max()), f"predict: {shown}"

    peer = Peer.of(net, training=True)
    reference = torch_loss(net, peer.outputs(x), y, loss)
    reference.backward()
    value, gradients = net.loss_and_gradients(x, y, loss, seed=SEED, step=STEP)
    assert value == pytest.approx(reference.item(), rel=1e-4, abs=1e-6), f"loss: {shown}"
    references = {key: tensor.grad.numpy() for key, tensor in peer.parameters.items()}
    error, key = worst_gradient_error(gradients, references)
    assert error <= 1, f"gradient of {key} is off by {error:.2f} times the tolerance: {shown}"
    for key, buffer in net.buffers().items():
        assert np.allclose(buffer, peer.buffers[key].numpy(), rtol=1e-4, atol=1e-5), f"{key}: {shown}"
    return error, replaced


@pytest.mark.parametrize("start", range(0, NETWORKS, PER_TEST))
def test_random_networks_agree_with_torch(start: int, capsys: pytest.CaptureFixture[str]) -> None:
    results = [compare(number) for number in range(start, start + PER_TEST)]
    with capsys.disabled():
        worst = max(error for error, _ in results)
        replaced = sum(count for _, count in results)
        print(
            f"\nnetworks {start} to {start + PER_TEST - 1}: worst gradient error {worst:.3f} of the tolerance "
            f"({TOLERANCE} of the largest gradient), {replaced} samples replaced",
            end="",
        )
