"""Calls of a network in processes of their own, alone and beside a busy one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cnncore
import numpy as np

import engine
from experiments.measuring.networks import LATER_NETWORKS, NETWORKS

JOBS = (("vgg3", 1), ("mnist_cnn", 1), ("resnet20", 1), ("lenet", 64), ("mnist_cnn", 64), ("vgg3", 64))
"""Network and batch: one image is predicted, a larger batch is a training step."""
ALONE, BESIDE, SINGLE = "alone", "beside", "beside, one worker"


@contextmanager
def busy() -> Iterator[None]:
    """A process that computes for as long as the block runs."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def call_seconds(network: str, batch: int, seconds: float) -> float:
    """Mean seconds of a prediction, or of a training step, in this process."""
    net = {**NETWORKS, **LATER_NETWORKS}[network].make()
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, *net.input_shape)).astype(np.float32)
    y = random.integers(0, net.output_shape[0], batch)
    session = net.training_session(engine.CrossEntropy(), engine.SGD(lr=0.0, momentum=0.9), batch)

    def call(number: int) -> None:
        if batch == 1:
            net.predict(x)
        else:
            session.step(x, y, 0.0, number, 0)

    for number in range(5):
        call(number)
    calls, start = 0, time.perf_counter()
    while (now := time.perf_counter()) < start + seconds or calls < 5:
        call(calls)
        calls += 1
    return (now - start) / calls


def in_a_process(network: str, batch: int, seconds: float, threads: int) -> float:
    here = "from experiments.checks.neighbour.measuring import call_seconds"
    code = f"{here}; print(call_seconds({network!r}, {batch}, {seconds}))"
    environment = {**os.environ, "CNN_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE)
    return float(done.stdout)


def measure(network: str, batch: int, seconds: float) -> dict[str, float]:
    threads = cnncore.get_num_threads()
    found = {ALONE: in_a_process(network, batch, seconds, threads)}
    with busy():
        found[BESIDE] = in_a_process(network, batch, seconds, threads)
        found[SINGLE] = in_a_process(network, batch, seconds, 1)
    return found
