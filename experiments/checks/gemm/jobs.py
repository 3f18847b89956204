"""What is timed: products by every library, which must agree, and all passes of 3x3 convolutions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import cnncore
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from engine.errors import UserError
from engine.layers import Conv2D
from engine.losses import MeanSquaredError
from engine.network.graph import Sequential
from engine.plan import GRADIENTS, Request, make_plan
from engine.plan.algorithms import candidates, convolutions, expand
from engine.plan.tune import make_trial

BATCH = 16
SIDES = {16: 32, 32: 32, 64: 16}  # of the map, by channels; a smaller one for more
LEAST_SIDE = 8
LEAST_OF_WINOGRAD = 32  # channels
WINOGRAD = "winograd4"
TOLERANCE = 1e-4  # of a product, relative to the largest element
OURS, OPENBLAS, MKL = "cnncore", "numpy", "torch"


@dataclass(frozen=True)
class Job:
    """Something to time: `once` takes the time of one run, which does so many FLOPs of the direct algorithm."""

    kind: str  # "gemm", "direct" or "winograd"
    name: str
    side: str
    flops: float
    once: Callable[[], float]


@contextmanager
def one_thread() -> Iterator[None]:
    """The core, numpy's BLAS and PyTorch on one thread each."""
    threads = cnncore.get_num_threads()
    cnncore.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        cnncore.set_num_threads(threads)


def timed(function: Callable[[], object]) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return once


def torch_product(a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> Callable[[], object]:
    """PyTorch's product of the same memory."""
    import torch  # optional, and slow to import

    torch.set_num_threads(1)
    sides = [torch.from_numpy(each) for each in (a, b, out)]
    return lambda: torch.mm(sides[0], sides[1], out=sides[2])


def products(size: int) -> list[Job]:
    """The product of two square matrices by every library. UserError where they do not agree."""
    random = np.random.default_rng(size)
    a, b = (random.standard_normal((size, size), np.float32) for _ in range(2))
    outs = {side: np.zeros((size, size), np.float32) for side in (OURS, OPENBLAS, MKL)}
    functions: dict[str, Callable[[], object]] = {
        OURS: lambda: cnncore.sgemm(a, b, out=outs[OURS]),
        OPENBLAS: lambda: np.matmul(a, b, out=outs[OPENBLAS]),
    }
    if find_spec("torch"):  # otherwise the verdict says that it was not measured
        functions[MKL] = torch_product(a, b, outs[MKL])
    for function in functions.values():
        function()
    for side in functions:
        error = float(np.abs(outs[side] - outs[OPENBLAS]).max() / np.abs(outs[OPENBLAS]).max())
        if not error <= TOLERANCE:
            raise UserError(f"sgemm {size}^3: {side} and {OPENBLAS} differ by {error:.2g} of the largest element")
    return [Job("gemm", f"{size}^3", side, 2.0 * size**3, timed(each)) for side, each in functions.items()]


def convolutions_of(channels: int) -> list[Job]:
    """A 3x3 layer as wide as its source: all passes, direct and, where there are channels enough, by Winograd's."""
    side = SIDES.get(channels, LEAST_SIDE)
    layers = [Conv2D(channels, channels, 3, 1, 1), Conv2D(channels, channels, 3, 1, 1)]
    net = Sequential(layers, (channels, side, side))
    slots = net.store.slots, net.store.buffer_slots
    request = Request(GRADIENTS, BATCH, MeanSquaredError(), targets="targets", algorithm="direct")
    code = make_plan(net.topology, *slots, request, cnncore.isa()).code
    jobs: dict[tuple[str, str], Job] = {}
    for _, direction, instruction in convolutions(code):
        for algorithm in candidates(instruction.op, instruction.geometry):
            kind = "winograd" if algorithm == WINOGRAD else algorithm
            if kind not in ("direct", "winograd") or (kind == "winograd" and channels < LEAST_OF_WINOGRAD):
                continue
            made, value = expand(instruction, algorithm, len(code.values))
            values = code.values if value is None else (*code.values, value)
            trial = make_trial(made, values, BATCH)
            name = f"{channels}->{channels} at {side}x{side}, {direction}"
            flops = 2.0 * BATCH * side * side * channels * channels * 9
            jobs[direction, kind] = Job(kind, name, OURS, flops, trial.seconds)
    return sorted(jobs.values(), key=lambda job: job.kind)
