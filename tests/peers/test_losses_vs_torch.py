"""Losses beside PyTorch's, in float64: values and gradients by the scores."""

from typing import Any

import numpy as np
import pytest

import engine
from engine import Distillation, Focal, Huber, PixelCrossEntropy

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
functional = torch.nn.functional

RANDOM = np.random.default_rng(4)
SCORES = 2 * RANDOM.standard_normal((9, 5))
TARGETS = 2 * RANDOM.standard_normal((9, 5)).astype(np.float32)
LABELS = RANDOM.integers(0, 5, 9)


def differentiated(function: Any, scores: Any) -> tuple[float, Any]:
    tensor = torch.from_numpy(scores).requires_grad_()
    value = function(tensor)
    value.backward()
    return value.item(), tensor.grad.numpy()


def distilled(scores: Any) -> Any:
    soft = functional.softmax(torch.from_numpy(TARGETS).double() / 3.0, dim=1)
    divergence = functional.kl_div(functional.log_softmax(scores / 3.0, dim=1), soft, reduction="batchmean")
    return 0.8 * 9.0 * divergence + 0.2 * functional.cross_entropy(scores, torch.from_numpy(LABELS))


def focal(scores: Any) -> Any:
    entropy = functional.cross_entropy(scores, torch.from_numpy(LABELS), reduction="none")
    return ((1 - torch.exp(-entropy)) ** 1.5 * entropy).mean()


CASES = {
    "huber": (Huber(0.7), TARGETS, lambda s: functional.huber_loss(s, torch.from_numpy(TARGETS).double(), delta=0.7)),
    "smooth L1": (Huber(), TARGETS, lambda s: functional.smooth_l1_loss(s, torch.from_numpy(TARGETS).double())),
    "distillation": (Distillation(3.0, 0.2), np.column_stack((TARGETS, LABELS)).astype(np.float32), distilled),
    "focal": (Focal(1.5), LABELS, focal),
}


@pytest.mark.parametrize(("loss", "targets", "function"), CASES.values(), ids=CASES)
def test_losses_by_numpy(loss: Any, targets: Any, function: Any) -> None:
    value, gradient = loss.compute(SCORES, targets)
    expected, right = differentiated(function, SCORES)
    assert value == pytest.approx(expected, rel=1e-12)
    assert np.allclose(gradient, right, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("ignored", "smoothing"), [(None, 0.0), (255, 0.0), (-100, 0.1)])
def test_pixels(ignored: int | None, smoothing: float) -> None:
    """Of a convolution of ones by ones, so that its gradients are sums of those by the scores."""
    images = RANDOM.standard_normal((3, 4, 6, 5), np.float32)
    labels = RANDOM.integers(0, 5, (3, 6, 5))
    if ignored is not None:
        labels[RANDOM.random(labels.shape) < 0.4] = ignored
    net = engine.Sequential([engine.Conv2D(4, 5, 1)], input_shape=(4, 6, 5))
    value, gradients = net.loss_and_gradients(images, labels, PixelCrossEntropy(ignored, smoothing))
    tensors = {key: torch.from_numpy(each).double().requires_grad_() for key, each in net.parameters().items()}
    scores = functional.conv2d(torch.from_numpy(images).double(), tensors["0.weights"], tensors["0.bias"])
    index = -100 if ignored is None else ignored
    expected = functional.cross_entropy(scores, torch.from_numpy(labels), ignore_index=index, label_smoothing=smoothing)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-6)
    for key, gradient in gradients.items():
        right = tensors[key].grad.numpy()
        assert np.abs(gradient - right).max() <= 2e-6 * np.abs(right).max(), key
