"""Normalisations, activations, products and what drops beside PyTorch's, in float64: predictions, losses, gradients."""

from typing import Any

import numpy as np
import pytest

import engine
from engine import (
    GELU,
    AvgPool2D,
    BatchNorm,
    Clip,
    Conv2D,
    ConvTranspose2D,
    Dropout2D,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    InstanceNorm,
    LayerNorm,
    Linear,
    Multiply,
    Pad2D,
    PadChannels,
    PReLU,
    ReLU6,
    Scale,
    SiLU,
    Softplus,
    Tanh,
    Upsample2D,
)
from engine.layers import Layer

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

RANDOM = np.random.default_rng(21)
IMAGES = RANDOM.standard_normal((8, 3, 10, 9), np.float32)
LABELS = RANDOM.integers(0, 4, 8)


def network(*layers: Layer) -> engine.Graph:
    """A chain behind a convolution to 6 channels, gated by its own means, dropped for some samples and added again."""
    graph = engine.Graph((3, 10, 9), seed=3)
    stem = graph.add(Conv2D(3, 6, 3), graph.input)
    branch = stem
    for layer in layers:
        branch = graph.add(layer, branch)
    gate = graph.add(engine.Sigmoid(), graph.add(Linear(6, 6), graph.add(engine.GlobalAvgPool2D(), branch)))
    branch = graph.add(engine.StochasticDepth(0.4), graph.add(Multiply(), gate, branch))
    joined = graph.add(engine.Flatten(), graph.add(engine.Add(), stem, branch))
    hidden = graph.add(Tanh(), graph.add(LayerNorm(20, scale=False), graph.add(Linear(336, 20), joined)))
    graph.output = graph.add(Scale(0.7), graph.add(Linear(20, 4), hidden))
    random = np.random.default_rng(5)
    graph.load_parameters(
        {key: array + random.normal(0, 0.2, array.shape) for key, array in graph.parameters().items()}
    )
    return graph


CASES: list[tuple[Layer, ...]] = [
    (BatchNorm(6, scale=False, eps=1e-12, momentum=0.4), Tanh()),
    (BatchNorm(6, shift=False), Scale(channels=6)),
    (BatchNorm(6, scale=False, shift=False), Dropout2D(0.3)),
    (GroupNorm(2, 6), Tanh(), GroupNorm(3, 6, scale=False)),
    (InstanceNorm(6), Tanh(), InstanceNorm(6, eps=1e-2, scale=False, shift=False)),
    (LayerNorm(6), Tanh(), LayerNorm(6, shift=False)),
    (Pad2D((2, 1, 0, 3), "reflect"), Tanh(), Conv2D(6, 6, (4, 4))),
    (Pad2D((2, 1), "replicate"), Conv2D(6, 6, (5, 3))),
    (Pad2D(1), PadChannels(1, 2), Conv2D(9, 6, 3)),
    (Conv2D(6, 6, (3, 5), padding=(1, 2), padding_mode="reflect"), Tanh()),
    (Conv2D(6, 6, 4, padding="same", padding_mode="replicate"), Tanh()),
    (Upsample2D(2), Tanh(), AvgPool2D(2)),
    (Upsample2D((2, 3), "bilinear"), Tanh(), AvgPool2D((2, 3))),
    (Upsample2D((3, 2), "bilinear", align_corners=True), Tanh(), AvgPool2D((3, 2))),
    (ConvTranspose2D(6, 4, 3, 2, 1, output_padding=1), Tanh(), Conv2D(4, 6, 2, 2)),
    (ConvTranspose2D(6, 6, 3, 1, (0, 2, 1, 1), groups=3, bias=False), Tanh()),
    (ConvTranspose2D(6, 9, 2, 2, dilation=2, groups=3), Tanh(), Conv2D(9, 6, 3, 2)),
    (BatchNorm(6), GELU(), GELU("tanh")),
    (BatchNorm(6), SiLU(), Softplus()),
    (BatchNorm(6), Hardswish(), Hardsigmoid()),
    (BatchNorm(6), PReLU(), PReLU(6)),
    (BatchNorm(6), ReLU6(), Clip(0.1, 0.9)),
]


@pytest.mark.parametrize("layers", CASES, ids=str)
def test_the_same_numbers(layers: tuple[Layer, ...]) -> None:
    from experiments.peers.adapters.torch_network import TorchNetwork

    net = network(*layers)
    other: Any = TorchNetwork(net).double()
    x, y = torch.from_numpy(IMAGES).double(), torch.from_numpy(LABELS)
    with torch.no_grad():
        np.testing.assert_allclose(net.predict(IMAGES), other.eval()(x).numpy(), rtol=1e-4, atol=1e-5)
    other.train().set_draws(seed=9, step=4)
    wanted = torch.nn.functional.cross_entropy(other(x), y)
    wanted.backward()
    loss, gradients = net.loss_and_gradients(IMAGES, LABELS, engine.CrossEntropy(), seed=9, step=4)
    assert loss == pytest.approx(float(wanted.detach()), rel=1e-5)
    theirs = other.gradients()
    assert set(theirs) == set(gradients)
    for key, gradient in gradients.items():
        # a bias before a normalisation by channel has no gradient: what is left is rounding
        scale = max(np.abs(theirs[key]).max(), 1e-3)
        np.testing.assert_allclose(gradient, theirs[key], atol=1e-4 * scale, rtol=0, err_msg=key)


@pytest.mark.parametrize(
    ("layer", "module"),
    [
        (InstanceNorm(6), lambda: torch.nn.InstanceNorm2d(6, affine=True)),
        (LayerNorm(6, scale=False, shift=False), lambda: torch.nn.LayerNorm([6, 9, 7], elementwise_affine=False)),
        (BatchNorm(6, scale=False, shift=False), lambda: torch.nn.BatchNorm2d(6, affine=False).eval()),
    ],
    ids=lambda given: str(given) if isinstance(given, Layer) else "",
)
def test_what_pytorch_has_under_these_names(layer: Layer, module: Any) -> None:
    x = np.random.default_rng(2).normal(3, 2, (5, 6, 9, 7)).astype(np.float32)
    with torch.no_grad():
        wanted = module()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(engine.Sequential([layer], (6, 9, 7)).predict(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [Hardswish(), Hardsigmoid(), ReLU6(), Clip(-0.5, 0.75), PReLU()], ids=str)
def test_kinks_take_the_side_that_pytorch_takes(layer: Layer) -> None:
    from experiments.peers.adapters.torch_network import TorchNetwork

    x = np.float32([-4, -3, -0.5, 0, 0.75, 3, 6, 7])[None]
    net = engine.Graph((8,), seed=3)
    # a layer that learns stands before it, or no gradient goes back through it
    net.output = net.add(layer, net.add(Linear(8, 8, bias=False), net.input))
    net.load_parameters({**net.parameters(), next(iter(net.parameters())): np.eye(8, dtype=np.float32)})
    target = np.full((1, 8), 9.0, np.float32)
    _, gradients = net.loss_and_gradients(x, target, engine.MeanSquaredError())
    other: Any = TorchNetwork(net).double().train()
    torch.nn.functional.mse_loss(other(torch.from_numpy(x).double()), torch.from_numpy(target).double()).backward()
    for key, wanted in other.gradients().items():
        np.testing.assert_allclose(gradients[key], wanted, rtol=1e-5, atol=1e-6, err_msg=key)
