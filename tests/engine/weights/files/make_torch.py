"""Writes torch.zip beside this file: weights as .pt and .safetensors, and what the models answer to an input.

Run it where PyTorch and safetensors are installed; it needs nothing of this project. NAME.npz has x and y.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

ARCHIVE = Path(__file__).with_name("torch.zip")


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn0 = nn.BatchNorm2d(4)
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn0(self.conv0(x))
        x = torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        return self.head(x.mean((2, 3)))


def lenet() -> nn.Module:
    layers = [
        ("conv1", nn.Conv2d(2, 3, 3)), ("relu1", nn.ReLU()), ("pool1", nn.MaxPool2d(2)), ("conv2", nn.Conv2d(3, 4, 2)),
        ("act2", nn.PReLU(4)), ("flat", nn.Flatten()), ("norm", nn.BatchNorm1d(48, 1e-3)), ("fc1", nn.Linear(48, 7)),
        ("relu3", nn.ReLU()), ("fc2", nn.Linear(7, 5)), ("softmax", nn.Softmax(1)),
    ]  # fmt: skip
    return nn.Sequential(OrderedDict(layers))


def depthwise() -> nn.Module:
    """Its modules have numbers for names, and not those that the layers would have."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(8, eps=1e-3),
        nn.ReLU6(), nn.Conv2d(8, 6, 1), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 4),
    )  # fmt: skip


def write(folder: Path) -> None:
    shapes = {"lenet": (2, 12, 10), "residual": (2, 8, 8), "depthwise": (3, 6, 8)}
    for name, make in {"lenet": lenet, "residual": Residual, "depthwise": depthwise}.items():
        torch.manual_seed(0)
        model = make()
        with torch.no_grad():
            for key, value in model.state_dict().items():
                if "running" in key or (value.dim() == 1 and value.dtype.is_floating_point):
                    value.copy_(torch.rand(value.shape) + 0.5)
        state = model.state_dict()
        x = torch.rand(3, *shapes[name])
        np.savez(folder / f"{name}.npz", x=x.numpy(), y=model.eval()(x).detach().numpy())
        torch.save(state, folder / f"{name}.pt")
        save_file(state, folder / f"{name}.safetensors")
        if name == "lenet":
            half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
            torch.save({"epoch": 3, "model": half, "optimizer": {"state": {}, "lr": 0.1}}, folder / "half.pt")
            brain = {f"module.{key}": value.bfloat16() for key, value in half.items() if value.is_floating_point()}
            torch.save(brain, folder / "bfloat16.pt")
            torch.save(model, folder / "whole_model.pt")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        write(Path(folder))
        for path in sorted(Path(folder).iterdir()):
            archive.write(path, path.name)


if __name__ == "__main__":
    main()
