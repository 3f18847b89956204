"""Grad-CAM beside PyTorch's automatic differentiation, in inference mode and float64."""

from typing import Any

import numpy as np
import pytest

from engine.inspection.gradcam import gradcam
from engine.layers import Softmax
from engine.models import make_model

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

NETWORKS = {
    "resnet20": ({"input_size": 16}, ("stage2_block1_conv1", "stage3_block3_relu")),
    "mobilenet_v2": ({"width": 0.25, "classes": 7, "input_size": 64}, ("stage4_block1_conv2", "stage6_block2_add")),
    "vgg3": ({}, (None,)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_and_maps(name: str) -> None:
    from experiments.peers.adapters.torch_network import TorchNetwork

    arguments, layers = NETWORKS[name]
    net = make_model(name, **arguments)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *net.input_shape)).astype(np.float32)
    classes = [3, 1]
    for wanted in layers:
        found = gradcam(net, x, wanted, classes)
        peer = TorchNetwork(net, Softmax).double().eval()
        kept: dict[str, Any] = {}
        place = [node.name for node in peer.nodes].index(found.layer)
        peer.parts[place].register_forward_hook(lambda module, inputs, output, kept=kept: kept.update(maps=output))
        scores = peer(torch.from_numpy(x).double())
        picked = scores[torch.arange(2), torch.tensor(classes)].sum()
        (gradient,) = torch.autograd.grad(picked, kept["maps"])
        weights = gradient.mean(dim=(2, 3))
        maps = torch.relu((weights[:, :, None, None] * kept["maps"]).sum(dim=1)).detach().numpy()
        scale = np.abs(weights.numpy()).max()
        assert np.abs(found.weights - weights.numpy()).max() <= 2e-5 * scale, found.layer
        assert np.abs(found.maps - maps).max() <= 5e-5 * (maps.max() + scale), found.layer
