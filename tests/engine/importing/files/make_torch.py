"""Makes the PyTorch models of this folder, by both of its exporters, with what PyTorch says about an input.

    python tests/engine/importing/files/make_torch.py      # needs torch 2.13, onnxscript

Each is a few kB: NAME.onnx and NAME.npz with `input` and `output`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

HERE = Path(__file__).resolve().parent


class Block(nn.Module):
    """A residual block; where it gets wider, a 1x1 convolution stands in the shortcut."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """The form of ResNet-20, narrow and with one block in each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.stages = nn.Sequential(Block(4, 4, 1), Block(4, 6, 2), Block(6, 8, 2))
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.adaptive_avg_pool2d(self.stages(self.stem(x)), 1)
        return self.head(torch.flatten(y, 1))


class Excited(nn.Module):
    """An inverted residual block with squeeze and excitation, as in MobileNetV3."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 5, 2, 2, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.SiLU(), nn.Conv2d(2, 8, 1))
        self.gate = nn.Hardsigmoid()
        self.project = nn.Sequential(nn.Conv2d(8, 4, 1), nn.GELU(), nn.MaxPool2d(3, 2, 1), nn.Dropout(0.2))
        self.head = nn.Linear(4 * 3 * 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.depthwise(self.expand(x))
        y = self.project(y * self.gate(self.squeeze(y)))
        return self.head(y.view(y.size(0), -1))


class Same(nn.Module):
    """padding="same" with dilation, other paddings, group normalisation, transposed and resized maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding="same", dilation=2)
        self.even = nn.Conv2d(4, 4, 4, padding="same", groups=2)
        self.mirrored = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.norm = nn.GroupNorm(2, 4)
        self.instance = nn.InstanceNorm2d(4, affine=True)
        self.up = nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1)
        self.slope = nn.PReLU(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.leaky_relu(self.norm(self.first(x)), 0.1)
        y = self.slope(self.instance(self.mirrored(nn.functional.elu(self.even(y)))))
        y = nn.functional.avg_pool2d(y, 3, 2, 1)
        z = nn.functional.interpolate(y, scale_factor=2, mode="nearest")
        w = nn.functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        return torch.sigmoid(self.up(torch.tanh(z) + nn.functional.softplus(w)))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "resnet": (ResNet, (3, 12, 12)),
    "excited": (Excited, (3, 12, 12)),
    "same": (Same, (2, 8, 10)),
}


def without_traces(path: Path) -> None:
    """Take the lines of source code out that the exporter notes down for every node: they name the folders of a
    machine."""
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
    onnx.save(model, path)


def main() -> None:
    for name, (make, shape) in NETS.items():
        torch.manual_seed(0)
        net = make().eval()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):  # as after some training
                nn.init.uniform_(module.running_mean, -0.3, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.3, 0.3)
        given = torch.randn(2, *shape)
        with torch.no_grad():
            said = net(given)
        np.savez(HERE / f"torch_{name}.npz", input=given.numpy(), output=said.numpy())
        torch.onnx.export(
            net, (given,), HERE / f"torch_{name}_script.onnx", dynamo=False, opset_version=17,
            input_names=["input"], output_names=["output"], dynamic_axes={"input": {0: "batch"}},
        )  # fmt: skip
        dynamo = HERE / f"torch_{name}_dynamo.onnx"
        torch.onnx.export(net, (given,), dynamo, dynamo=True, external_data=False)
        without_traces(dynamo)
        # As somebody who goes on training exports it: batch normalisation is kept apart.
        torch.onnx.export(
            net, (given,), HERE / f"torch_{name}_kept.onnx", dynamo=False, opset_version=13,
            training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
        )  # fmt: skip


if __name__ == "__main__":
    main()
