"""Time of the Python layer over the core: whole training steps and single predictions.

Not run with the other tests: `pytest tests/benchmarks --benchmark-enable --benchmark-only`.
"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from engine.losses import CrossEntropy
from engine.models import make_model
from engine.optim import SGD, Adam, Optimizer

BATCH = 64


@pytest.mark.parametrize("optimizer", (SGD(lr=0.001, momentum=0.9), Adam(lr=0.001)), ids=("sgd", "adam"))
@pytest.mark.parametrize("model", ("lenet", "mnist_cnn", "model3"))
def test_training_step(benchmark: BenchmarkFixture, model: str, optimizer: Optimizer) -> None:
    net = make_model(model)
    random = np.random.default_rng(0)
    x = random.standard_normal((BATCH, *net.input_shape)).astype(np.float32)
    y = random.integers(0, net.output_shape[0], BATCH)
    session = net.training_session(CrossEntropy(), optimizer, BATCH)
    session.step(x, y, 0.001, 0, 0)
    benchmark(session.step, x, y, 0.001, 1, 0)
    benchmark.extra_info["seconds inside C, last step"] = session.elapsed


@pytest.mark.parametrize("batch", (1, BATCH))
@pytest.mark.parametrize("model", ("lenet", "mnist_cnn", "model3"))
def test_prediction(benchmark: BenchmarkFixture, model: str, batch: int) -> None:
    net = make_model(model)
    x = np.random.default_rng(0).standard_normal((batch, *net.input_shape)).astype(np.float32)
    net.predict(x)
    benchmark(net.predict, x)


@pytest.mark.parametrize("model", ("lenet", "model3"))
def test_planning(benchmark: BenchmarkFixture, model: str) -> None:
    net = make_model(model)
    benchmark(net.training_session, CrossEntropy(), SGD(lr=0.001, momentum=0.9), BATCH)
