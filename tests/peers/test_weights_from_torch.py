"""A state_dict that PyTorch writes now: whole models of ours, in PyTorch's modules, and back into networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.layers.patterns import layers_with_parameters
from engine.models import make_model

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from safetensors.numpy import save_file  # noqa: E402

from experiments.peers.adapters.torch_network import TorchNetwork  # noqa: E402

MODELS: dict[str, Callable[[int], engine.Network]] = {
    "lenet": lambda seed: make_model("lenet", channels=1, seed=seed),
    "resnet20": lambda seed: make_model("resnet20", seed=seed),
    "mobilenet_v2": lambda seed: make_model("mobilenet_v2", width=0.35, input_size=32, classes=10, seed=seed),
    "unet": lambda seed: make_model("unet", seed=seed),
}


def statistics(net: engine.Network) -> None:
    """Running statistics that are not those of the beginning."""
    rng = np.random.default_rng(0)
    net.load_buffers({key: value + 0.1 * rng.random(value.shape) for key, value in net.buffers().items()})


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
@pytest.mark.parametrize("name", MODELS)
def test_whole_models_answer_as_pytorch_does(tmp_path: Path, name: str, kind: str) -> None:
    first = MODELS[name](3)
    statistics(first)
    model = TorchNetwork(first).eval()
    buffers = first.buffers()
    state = model.state_dict()
    index = {node.name: place for place, node in enumerate(model.nodes)}
    for key, value in buffers.items():
        layer, _, role = key.rpartition(".")
        state[f"parts.{index[layer]}.{role}"].copy_(torch.from_numpy(value))
    path = tmp_path / f"weights.{kind}"
    if kind == "pt":
        torch.save(state, path)
    else:
        save_file({key: value.numpy() for key, value in state.items()}, path)
    net = MODELS[name](4)
    names = {layer: f"parts.{index[layer]}" for layer in layers_with_parameters(net.topology)}
    how = ["order", names] if kind == "pt" else [names]
    x = np.random.default_rng(1).random((2, *net.input_shape), np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    for each in how:
        net.initialize(4)
        assert np.abs(net.predict(x) - expected).max() > 1e-3
        engine.load_weights(net, path, names=each)
        assert np.abs(net.predict(x) - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())
