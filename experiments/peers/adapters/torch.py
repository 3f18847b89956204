"""PyTorch: eager, eager with channels_last, and torch.compile, as a user writes them who wants speed.

Optimisers are the fused ones. Denormals are flushed: training on one batch over and over makes many, which is not the
peer's fault. torch.compile compiles the network with its loss, and for inference freezes the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from experiments.peers import job as jobs
from experiments.peers.adapters.torch_recipe import recipe_step
from experiments.peers.job import EXACT, Job, Node, Prepared

NAMES = {"weight": "weights", "bias": "bias", "running_mean": "running_mean", "running_var": "running_var"}


def version() -> str:
    return f"torch {torch.__version__}"


class Sum(nn.Module):
    def forward(self, *inputs: Any) -> Any:
        return sum(inputs)


class Joined(nn.Module):
    def forward(self, *inputs: Any) -> Any:
        return torch.cat(inputs, 1)


class Product(nn.Module):
    """Of a map and what multiplies whole channels of it, in either order, or of two of one shape."""

    def forward(self, a: Any, b: Any) -> Any:
        if a.dim() == b.dim():
            return a * b
        return a * b[..., None, None] if a.dim() > b.dim() else a[..., None, None] * b


class Scaled(nn.Module):
    """Times a number, or times `weight` by channel."""

    def __init__(self, factor: float | None, channels: int | None):
        super().__init__()
        self.factor, self.weight = factor, None if channels is None else nn.Parameter(torch.ones(channels))

    def forward(self, x: Any) -> Any:
        return x * self.factor if self.weight is None else x * self.weight.view(-1, *[1] * (x.dim() - 2))


class Padded(nn.Module):
    """Channels of zeros before and after those of a map, or elements of a vector."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.before, self.after = before, after

    def forward(self, x: Any) -> Any:
        return nn.functional.pad(x, (0, 0) * (x.dim() - 2) + (self.before, self.after))


class Depth(nn.Module):
    """torchvision's StochasticDepth in its mode "row"."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Any) -> Any:
        if not self.training or self.rate == 0.0:
            return x
        kept = torch.empty((len(x), *[1] * (x.dim() - 1)), dtype=x.dtype).bernoulli_(1.0 - self.rate)
        return x * kept / (1.0 - self.rate)


def module_of(node: Node) -> Any:
    """The module that does what the layer does."""
    given = node.arguments
    match node.kind:
        case "Conv2D":
            return _convolution(node)
        case "ConvTranspose2D":
            return _transposed_convolution(node)
        case "Pad2D":
            return _padding(node, given["mode"])
        case "PadChannels":
            return Padded(given["before"], given["before"] if given["after"] is None else given["after"])
        case "Upsample2D":
            corners = {"align_corners": given["align_corners"]} if given["mode"] == "bilinear" else {}
            return nn.Upsample(scale_factor=node.pair("scale"), mode=given["mode"], **corners)
        case "Linear":
            return nn.Linear(given["in_features"], given["out_features"], given["bias"])
        case "MaxPool2D":
            return nn.MaxPool2d(given["kernel"], given["stride"], given["padding"], ceil_mode=given["ceil_mode"])
        case "AvgPool2D":
            return nn.AvgPool2d(
                given["kernel"], given["stride"], given["padding"], given["ceil_mode"], given["count_include_pad"]
            )
        case "GlobalAvgPool2D":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case "BatchNorm":
            kind = nn.BatchNorm2d if len(node.shape) == 3 else nn.BatchNorm1d
            return _without(node, kind(given["channels"], given["eps"], given["momentum"]))
        case "GroupNorm" | "LayerNorm" | "InstanceNorm":
            groups = {"LayerNorm": 1, "InstanceNorm": given["channels"]}.get(node.kind, given.get("groups"))
            return _without(node, nn.GroupNorm(groups, given["channels"], given["eps"]))
        case "Scale":
            return Scaled(given["factor"], given["channels"])
        case "Dropout2D":
            return nn.Dropout2d(given["rate"])
        case "StochasticDepth":
            return Depth(given["rate"])
        case "Dropout":
            return nn.Dropout(given["rate"])
        case "LeakyReLU":
            return nn.LeakyReLU(given["slope"])
        case "ELU":
            return nn.ELU(given["alpha"])
        case "GELU":
            return nn.GELU(given["approximate"])
        case "Clip":
            return nn.Hardtanh(given["low"], given["high"])
        case "PReLU":
            return nn.PReLU(given["channels"])
        case "Softmax":
            return nn.Softmax(1)
    simple = {
        "ReLU": nn.ReLU, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh, "SiLU": nn.SiLU, "Hardswish": nn.Hardswish,
        "Hardsigmoid": nn.Hardsigmoid, "Softplus": nn.Softplus, "ReLU6": nn.ReLU6, "Flatten": nn.Flatten, "Add": Sum,
        "Concat": Joined, "Multiply": Product,
    }  # fmt: skip
    return simple[node.kind]()


def _without(node: Node, module: Any) -> Any:
    """The normalisation without what the layer leaves out, which stays ones or zeros: PyTorch's gradients want both or
    none of the two."""
    for name, theirs in (("scale", "weight"), ("shift", "bias")):
        if not node.arguments.get(name, True):
            constant = getattr(module, theirs).detach()
            del module._parameters[theirs]
            module.register_buffer(theirs, constant)
    return module


def _convolution(node: Node) -> Any:
    given = node.arguments
    top, bottom, left, right = node.pads
    mode = given.get("padding_mode", "zeros")
    symmetric = (top, left) == (bottom, right) and mode == "zeros"
    convolution = nn.Conv2d(
        given["in_channels"], given["out_channels"], given["kernel"], given["stride"],
        (top, left) if symmetric else 0, given["dilation"], given["groups"], given["bias"],
    )  # fmt: skip
    return convolution if symmetric else nn.Sequential(_padding(node, mode), convolution)


def _padding(node: Node, mode: str) -> Any:
    top, bottom, left, right = node.pads
    kinds: dict[str, Any] = {"zeros": nn.ZeroPad2d, "reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d}
    return kinds[mode]((left, right, top, bottom))


def _transposed_convolution(node: Node) -> Any:
    """PyTorch's cuts off the same on both sides: what is not so is cut off behind it."""
    given = node.arguments
    top, bottom, left, right = node.pads
    symmetric = (top, left) == (bottom, right)
    convolution = nn.ConvTranspose2d(
        given["in_channels"], given["out_channels"], given["kernel"], given["stride"], (top, left) if symmetric else 0,
        given["output_padding"], given["groups"], given["bias"], given["dilation"],
    )  # fmt: skip
    return convolution if symmetric else nn.Sequential(convolution, nn.ZeroPad2d((-left, -right, -top, -bottom)))


class Branched(nn.Module):
    """Layers with branches; a value is let go behind its last reader."""

    def __init__(self, nodes: list[Node], modules: list[Any]):
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self.first = nodes[0].inputs[0]
        self.steps = [(node.name, node.inputs) for node in nodes]
        self.last = {name: place for place, node in enumerate(nodes) for name in node.inputs}

    def __iter__(self) -> Iterator[Any]:
        return iter(self.parts)

    def forward(self, x: Any) -> Any:
        values = {self.first: x}
        for place, ((name, inputs), part) in enumerate(zip(self.steps, self.parts, strict=True)):
            values[name] = part(*(values[each] for each in inputs))
            for each in set(inputs):
                if self.last[each] == place:
                    del values[each]
        return values[self.steps[-1][0]]


def network_of(job: Job) -> Any:
    """nn.Sequential, or Branched, with the job's weights; without the Softmax at its end where it trains."""
    nodes = job.layers(logits=job.trains)
    modules = [module_of(node) for node in nodes]
    network = nn.Sequential(*modules) if job.is_chain else Branched(nodes, modules)
    with torch.no_grad():
        for name, tensor in keyed(job, network):
            tensor.copy_(torch.from_numpy(job.arrays[name]))
    return network.train(job.trains)


def keyed(job: Job, network: Any) -> Iterator[tuple[str, Any]]:
    """Parameters and running statistics of `network_of`, by our names."""
    for node, module in zip(job.layers(logits=job.trains), network, strict=True):
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            key = f"{node.name}.{NAMES.get(name.rpartition('.')[2])}"
            if key in job.arrays:
                yield key, tensor


def prepare(job: Job, side: str) -> Prepared:
    torch.set_flush_denormal(True)
    torch.set_num_threads(job.threads)
    network = network_of(job)
    if side == "torch-cl":
        network = network.to(memory_format=torch.channels_last)
    if side == EXACT:
        network = network.double()
    if job.recipe is not None:
        return Prepared(recipe_step(job, job.recipe, network, dict(keyed(job, network)), side))
    x = torch.from_numpy(job.arrays["x"])
    if side == EXACT:
        x = x.double()
    if side == "torch-cl":
        x = x.to(memory_format=torch.channels_last)
    if job.trains:
        return Prepared(_training_step(job, network, x, side == "torch-compile"))
    return Prepared(_prediction(network, x, side == "torch-compile"))


def _training_step(job: Job, network: Any, x: Any, compiled: bool) -> Any:
    y = torch.from_numpy(job.arrays["y"])
    optimizer: Any = (
        torch.optim.SGD(network.parameters(), lr=job.learning_rate, momentum=jobs.MOMENTUM, fused=True)
        if job.optimizer == jobs.SGD
        else torch.optim.Adam(
            network.parameters(), lr=job.learning_rate, betas=jobs.BETAS, eps=jobs.EPSILON, fused=True
        )
    )
    criterion = nn.CrossEntropyLoss()

    def forward(x: Any, y: Any) -> Any:
        return criterion(network(x), y)

    loss_of = torch.compile(forward) if compiled else forward

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def _prediction(network: Any, x: Any, compiled: bool) -> Any:
    # Frozen weights are folded only where autograd is off without inference_mode's own tensors.
    off = torch.no_grad if compiled else torch.inference_mode
    if compiled:
        import torch._inductor.config as settings  # only now: eager PyTorch starts without its compiler

        settings.freezing = True
        network = torch.compile(network)

    def predict() -> Any:
        with off():
            return network(x).numpy()

    return predict
