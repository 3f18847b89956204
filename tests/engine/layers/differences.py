"""Gradients of whole networks: by central differences, and on teams of several sizes."""

from __future__ import annotations

from typing import Any

import cnncore
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.losses import Loss
from engine.network.network import Network

Arrays = dict[str, NDArray[Any]]


def check_by_differences(net: Network, x: NDArray[Any], y: NDArray[Any], loss: Loss, step: float = 1e-2) -> None:
    """Every parameter's gradient along a random direction of length 1. The network must have no kink nearby."""
    _, gradients = net.loss_and_gradients(x, y, loss)
    parameters = net.parameters()
    for key, array in parameters.items():
        direction = np.random.default_rng(3).normal(size=array.shape).astype(np.float32)
        direction /= np.linalg.norm(direction)
        ends = []
        for sign in (1, -1):
            net.load_parameters({**parameters, key: array + sign * step * direction})
            ends.append(net.loss_and_gradients(x, y, loss)[0])
        slope = float((gradients[key] * direction).sum())
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=2e-5), key
    net.load_parameters(parameters)


def gradients_on(threads: int, net: Network, x: NDArray[Any], y: NDArray[Any], loss: Loss) -> Arrays:
    cnncore.set_num_threads(threads)
    try:
        return net.loss_and_gradients(x, y, loss)[1]
    finally:
        cnncore.set_num_threads(0)
