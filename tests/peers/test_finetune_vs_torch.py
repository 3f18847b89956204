"""Training steps with frozen layers, rates by layer and weighted samples beside PyTorch's."""

from typing import Any

import numpy as np
import pytest

import engine
from engine.data.choose.weights import weighted_targets
from engine.losses import CrossEntropy

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

SIDE, CLASSES, BATCH, STEPS, RATE = 10, 5, 16, 4, 0.05
WEIGHTS = ("0", "1", "4", "5", "9")  # the layers with parameters


def ours() -> engine.Sequential:
    layers = [
        *[engine.Conv2D(2, 8, 3, padding=1, bias=False), engine.BatchNorm(8), engine.ReLU(), engine.MaxPool2D(2, 2)],
        *[engine.Conv2D(8, 12, 3, padding=1, bias=False), engine.BatchNorm(12), engine.ReLU(), engine.MaxPool2D(2, 2)],
        *[engine.Flatten(), engine.Linear(48, CLASSES)],
    ]
    net = engine.Sequential(layers, input_shape=(2, SIDE, SIDE), seed=3)
    rng = np.random.default_rng(1)
    net.load_buffers({key: rng.uniform(0.2, 0.8, each.shape) for key, each in net.buffers().items()})
    return net


def theirs(net: engine.Sequential) -> Any:
    body = [
        *[
            torch.nn.Conv2d(2, 8, 3, padding=1, bias=False),
            torch.nn.BatchNorm2d(8),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
        ],
        *[
            torch.nn.Conv2d(8, 12, 3, padding=1, bias=False),
            torch.nn.BatchNorm2d(12),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
        ],
        *[torch.nn.Flatten(), torch.nn.Linear(48, CLASSES)],
    ]
    model = torch.nn.Sequential(*body).double()
    state = {key.replace("weights", "weight"): array for key, array in {**net.parameters(), **net.buffers()}.items()}
    model.load_state_dict({key: torch.from_numpy(array).double() for key, array in state.items()}, strict=False)
    return model


def optimizers(name: str, groups: list[dict[str, Any]]) -> tuple[Any, Any]:
    if name == "SGD":
        return engine.SGD(lr=RATE, momentum=0.9), torch.optim.SGD(groups, momentum=0.9)
    if name == "Adam":
        return engine.Adam(lr=RATE), torch.optim.Adam(groups)
    return engine.AdamW(lr=RATE, weight_decay=0.1), torch.optim.AdamW(groups, weight_decay=0.1)


@pytest.mark.parametrize("frozen", [(), ("0", "1"), ("1", "5"), ("4", "5"), ("0", "1", "4", "5"), ("9",)])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_steps_are_those_of_torch(frozen: tuple[str, ...], name: str, smoothing: float) -> None:
    net = ours()
    model = theirs(net)
    factors = {"0": 0.1, "9": 2.0, "4": 0.5}
    groups = []
    for layer in WEIGHTS:
        module = model[int(layer)]
        if layer in frozen:
            module.requires_grad_(False)
        else:
            groups.append({"params": list(module.parameters()), "lr": RATE * factors.get(layer, 1.0)})
    mine, peer = optimizers(name, groups)
    model.train()
    for layer in frozen:
        model[int(layer)].eval()
    loss = CrossEntropy(smoothing)
    session = net.training_session(loss, mine, BATCH, freeze=frozen, learning_rates=factors)
    rng = np.random.default_rng(0)
    for step in range(STEPS):
        x = rng.standard_normal((BATCH, 2, SIDE, SIDE), np.float32)
        y = rng.integers(0, CLASSES, BATCH)
        weights = rng.uniform(0, 3, BATCH).astype(np.float32)
        value = session.step(x, weighted_targets(y, weights, CLASSES, smoothing), RATE, step, 0)
        losses = torch.nn.functional.cross_entropy(
            model(torch.from_numpy(x).double()), torch.from_numpy(y), reduction="none", label_smoothing=smoothing
        )
        mean = (torch.from_numpy(weights).double() * losses).sum() / BATCH
        peer.zero_grad()
        mean.backward()
        peer.step()
        assert value == pytest.approx(mean.item(), rel=2e-4)
    state = {key: array.numpy() for key, array in model.state_dict().items()}
    for key, array in {**net.parameters(), **net.buffers()}.items():
        assert np.allclose(array, state[key.replace("weights", "weight")], atol=2e-3 * RATE * STEPS, rtol=1e-4), key
