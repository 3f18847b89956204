"""Exported networks, compiled by GCC, give the bits of the engine's plain instruction set with direct convolutions."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import pytest

from engine.layers import (
    ELU,
    GELU,
    LAYERS,
    Add,
    AvgPool2D,
    BatchNorm,
    Clip,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2D,
    Multiply,
    Pad2D,
    PadChannels,
    PReLU,
    ReLU,
    ReLU6,
    Scale,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    Upsample2D,
)  # fmt: skip
from engine.models import make_model
from engine.network.graph import Graph, Sequential
from engine.network.network import Network
from experiments.measuring.random_networks import EVERY_ACTIVATION, random_network
from tests.engine.export.c.building import differing, needs_gcc, source, trained

pytestmark = needs_gcc

LARGE, SMALL = Scale(30.0), Scale(3.0)  # inputs reach from -2 to 2: saturated functions, and their middles

CASES: dict[str, tuple[tuple[int, ...], tuple[Layer, ...]]] = {
    # padding on one side alone, by strides, a kernel that never lies inside, more outputs than a block has
    "conv_sides": ((3, 11, 9), (Conv2D(3, 35, (2, 3), (1, 2), (1, 0, 0, 2), bias=False), ReLU())),
    "conv_same": ((3, 11, 9), (Conv2D(3, 70, 5, 3, "same"), Sigmoid(), MaxPool2D(2))),
    "conv_outside": ((2, 4, 5), (Conv2D(2, 3, 2, 1, (5, 4, 3, 6)),)),
    "conv_wide": ((1, 20, 19), (Conv2D(1, 33, 7, 2, 3), ReLU(), MaxPool2D(2))),
    "conv_narrow": ((3, 20, 1), (Conv2D(3, 8, (3, 1), 1, 0), BatchNorm(8))),
    "conv_dilated": ((4, 14, 13), (Conv2D(4, 18, 3, 1, 3, 2), GELU())),
    "conv_one": ((1, 5, 6), (Conv2D(1, 3, 1),)),
    "conv_reflect": ((5, 8, 7), (Conv2D(5, 21, 3, (1, 2), (1, 2, 0, 2), padding_mode="reflect"), ReLU())),
    "conv_groups": ((12, 9, 8), (Conv2D(12, 60, 3, 1, 1, groups=3), Tanh(), MaxPool2D(2))),
    "depthwise": ((40, 9, 8), (Conv2D(40, 40, 3, 1, 1, groups=40), SiLU())),
    "depthwise_more": ((5, 9, 8), (Conv2D(5, 15, (3, 9), 2, 4, (2, 1), groups=5, bias=False),)),
    "transposed": ((6, 5, 4), (ConvTranspose2D(6, 9, 3, 2, 1, 1), ReLU())),
    "transposed_groups": ((6, 5, 4), (ConvTranspose2D(6, 40, (3, 2), (1, 2), 0, 0, 2, False),)),
    "transposed_dilated": ((6, 5, 4), (ConvTranspose2D(6, 5, 3, (2, 3), (1, 0, 2, 1), 1, dilation=2),)),
    "linear": ((5, 9, 8), (Flatten(), ReLU(), Linear(360, 37, bias=False), Softplus(), Linear(37, 1))),
    "max_pool": ((5, 9, 8), (MaxPool2D(3, 2, 1, True),)),
    "average": ((70, 9, 8), (AvgPool2D(3, 2, 1, True),)),
    "average_inside": ((5, 9, 8), (AvgPool2D((3, 2), 2, 1, True, False), GlobalAvgPool2D())),
    "batch_norm": ((7, 5, 6), (BatchNorm(7, scale=False), GELU())),
    "batch_norm_pool": ((7, 9, 6), (MaxPool2D(1), BatchNorm(7), ReLU(), MaxPool2D(2))),
    "batch_norm_pool_plain": ((20, 9, 6), (MaxPool2D(1), BatchNorm(20), MaxPool2D(2))),
    # one row; fewer rows than stand side by side; several parts; two slices; a mean far off
    "norm_vector": ((48,), (GroupNorm(6, 48),)),
    "norm_few": ((2, 1, 3), (LayerNorm(2),)),
    "norm_parts": ((12, 60, 90), (GroupNorm(3, 12, shift=False),)),
    "norm_slices": ((1100, 3, 3), (GroupNorm(2, 1100, scale=False),)),
    "norm_far": ((3, 33, 41), (Conv2D(3, 3, 1), Scale(1e-3), Clip(0.0, 1.0), Softplus(), InstanceNorm(3))),
    "pad": ((3, 6, 7), (Pad2D((2, 1, 3, 0)), Pad2D((2, 1, 3, 0), "reflect"), Pad2D((2, 1, 3, 0), "replicate"))),
    "pad_channels": ((3, 6, 7), (PadChannels(2, 1),)),
    "nearest": ((3, 5, 4), (Upsample2D((2, 3)),)),
    "bilinear": ((3, 5, 4), (Upsample2D((2, 3), "bilinear"),)),
    "corners": ((3, 5, 4), (Upsample2D(4, "bilinear", True),)),
    "softmax": ((4, 9, 11), (LARGE, Softmax())),
    "prelu": ((4, 9, 11), (PReLU(4), PReLU(), Scale(channels=4), Scale(1.7))),
    "nothing": ((5, 9, 8), (Dropout(0.5),)),
    **{
        f"{type(layer).__name__.lower()}{number}": ((4, 9, 11), (scale, layer))
        for number, layer in enumerate(
            (ReLU(), LeakyReLU(0.3), ELU(0.7), GELU(), GELU("tanh"), SiLU(), Hardswish(), Hardsigmoid(), Softplus(),
             ReLU6(), Clip(-0.5, 0.7), Sigmoid(), Tanh())
        )
        for scale in ((LARGE,) if number % 2 else (SMALL,))
    },
}  # fmt: skip


def branches() -> Network:
    """Squeeze and excitation, a sum of three, and a concatenation."""
    net = Graph((6, 8, 7))
    first = net.add(Conv2D(6, 6, 3, 1, 1), net.input)
    gate = net.add(Sigmoid(), net.add(Linear(6, 6), net.add(GlobalAvgPool2D(), first)))
    excited = net.add(Multiply(), gate, first)
    joined = net.add(Concat(), net.add(Add(), excited, net.input, first), excited, net.input)
    net.output = net.add(Multiply(), joined, joined)
    return net


def networks() -> dict[str, Network]:
    cases = {name: Sequential(list(layers), input_shape=shape) for name, (shape, layers) in CASES.items()}
    return {name: trained(net) for name, net in {**cases, "branches": branches()}.items()}


@pytest.mark.parametrize("simd", [False, True], ids=["plain", "simd"])
def test_every_layer(simd: bool, tmp_path: Path) -> None:
    assert differing(networks(), tmp_path, "-O1", simd=simd) == []


@pytest.mark.parametrize("lanes", [8, 16])
def test_vectors_of_every_width(lanes: int, tmp_path: Path) -> None:
    """Wider ones than this machine has are made of several: the loops are those of a machine that has them."""
    sums = {name: net for name, net in networks().items() if name.startswith(("conv", "transposed", "linear"))}
    told = [f"-D{name.upper()}_LANES={lanes}" for name in sums]
    assert differing(sums, tmp_path, "-O1", *told, simd=True) == []


def test_every_layer_has_a_case() -> None:
    tried = {type(node.layer) for net in networks().values() for node in net.topology.nodes}
    same_in_prediction = {"Dropout2D", "StochasticDepth"}  # nothing is left of them, nor of Dropout
    assert {name for name, layer in LAYERS.items() if layer not in tried} == same_in_prediction


@pytest.mark.parametrize("level, first, count", [("-O0", 0, 16), ("-O3", 16, 4)])
def test_random_networks(level: str, first: int, count: int, tmp_path: Path) -> None:
    numbers = range(EVERY_ACTIVATION + first, EVERY_ACTIVATION + first + count)
    drawn = {f"random{number}": trained(random_network(number).net, number) for number in numbers}
    assert differing(drawn, tmp_path, level) == []


@pytest.mark.parametrize("name", ["lenet", "mnist_cnn", "resnet20"])
def test_named_networks(name: str, tmp_path: Path) -> None:
    assert differing({name: trained(make_model(name))}, tmp_path, "-O2") == []


FUSED = {"x86_64": (("-mfma",), r"\bvf[nm]+m?(add|sub)"), "aarch64": ((), r"\bf(n?m(add|sub)|ml[as])\b")}


def test_no_product_is_joined_with_a_sum(tmp_path: Path) -> None:
    """Not even where GCC is asked to; without the file's precaution it does so."""
    machine = platform.machine()
    if machine not in FUSED:
        pytest.skip(f"which instructions of {machine} join them is not known here")
    flags, instruction = FUSED[machine]
    text = source(trained(make_model("lenet")), "net")
    found = []
    for number, each in enumerate((text, text.replace('#pragma GCC optimize("fp-contract=off")', ""))):
        (file := tmp_path / f"{number}.c").write_text(each)
        command = ["gcc", "-O3", "-ffp-contract=fast", *flags, "-S", str(file), "-o", str(file.with_suffix(".s"))]
        subprocess.run(command, check=True)
        found.append(re.search(instruction, file.with_suffix(".s").read_text()) is not None)
    assert found == [False, True]
