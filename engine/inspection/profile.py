"""The time of every op of a program, beside the peaks of the machine."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import cnncore
import numpy as np

from engine.losses import CrossEntropy, MeanSquaredError
from engine.network.network import Network
from engine.network.programs import Compiled
from engine.optim import SGD
from engine.plan import INFERENCE, Request
from engine.plan.cost import counts
from engine.plan.table import table

MODES = ("training", "inference")
SECONDS = 2.0  # of measuring, about
FEWEST, MOST = 5, 1000  # runs
STREAM_BYTES = 64 << 20  # per array: beyond any cache that a core has to itself
PEAK_SECONDS = 0.1


@dataclass(frozen=True)
class OpTime:
    """One instruction: median seconds of a run, and what it did in it.

    flops counts the operations that were done, the arithmetic of exp and its kin among them, direct_flops those of the
    direct algorithm, bytes its operands once.
    peak is the share of the nearer of the two roofs: the FMA peak or the bandwidth times FLOPs per byte.
    """

    op: str
    layer: str
    algorithm: str
    seconds: float
    estimate: float
    flops: int
    direct_flops: int
    bytes: int
    peak: float


@dataclass(frozen=True)
class Profile:
    """A network's program, op by op. The peaks were measured in the same run, with as many threads."""

    network: str
    mode: str
    batch: int
    threads: int
    isa: str
    runs: int
    peak_flops: float
    bandwidth: float
    seconds: float
    ops: tuple[OpTime, ...]


def profile(net: Network, name: str, mode: str, batch: int) -> Profile:
    """Run the network's program on random numbers and time every instruction."""
    peak, bandwidth = measure_peak(), measure_bandwidth()
    compiled, externals = _program(net, mode, batch)
    plan = compiled.plan
    times = _times(net, compiled, externals, batch)
    medians = np.median(times, axis=0)
    ops = []
    for index, instruction in enumerate(plan.instructions):
        seconds = max(float(medians[index]), 1e-9)
        flops = counts.done(instruction, batch)
        moved = counts.bytes_touched(instruction, plan.code.values, batch)
        limit = max(flops / peak, moved / bandwidth)
        ops.append(
            OpTime(
                instruction.op,
                instruction.layer,
                instruction.algorithm,
                seconds,
                plan.estimates[index],
                flops,
                counts.direct_flops(instruction, batch) + counts.function_flops(instruction, batch),
                moved,
                limit / seconds,
            )  # fmt: skip
        )
    threads = cnncore.get_num_threads()
    total = float(np.median(times.sum(axis=1)))
    return Profile(name, mode, batch, threads, plan.isa, len(times), peak, bandwidth, total, tuple(ops))


def _program(net: Network, mode: str, batch: int) -> tuple[Compiled, tuple[Any, ...]]:
    """The program, and random images (with targets, or room for the output)."""
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, *net.input_shape)).astype(np.float32)
    if mode == "inference":
        return net.programs.compile(Request(INFERENCE, batch)), (
            x,
            None,
            np.empty((batch, *net.output_shape), np.float32),
        )
    return _training_program(net, batch), (x, _targets(net, batch, random))


def _training_program(net: Network, batch: int) -> Compiled:

    # A learning rate of zero keeps the numbers what they are, however many steps are timed.
    session = net.training_session(_loss(net), SGD(lr=0.0, momentum=0.9), batch)
    return session.compiled


def _loss(net: Network) -> Any:
    return CrossEntropy() if len(net.output_shape) == 1 else MeanSquaredError()


def _targets(net: Network, batch: int, random: np.random.Generator) -> Any:
    if len(net.output_shape) == 1:
        return random.integers(0, net.output_shape[0], batch)
    return random.standard_normal((batch, *net.output_shape)).astype(np.float32)


def _times(net: Network, compiled: Compiled, externals: tuple[Any, ...], batch: int) -> np.ndarray[Any, Any]:
    """Seconds of every instruction (columns) in every run (rows)."""
    net.programs.refresh(compiled)
    rows: list[np.ndarray[Any, Any]] = []
    for _ in range(2):  # memory is touched, clocks rise
        compiled.program.run(batch, externals)
    end = time.perf_counter() + SECONDS
    while len(rows) < FEWEST or (time.perf_counter() < end and len(rows) < MOST):
        spent = np.zeros(len(compiled.plan.instructions))
        compiled.program.run(batch, externals, seconds=spent)
        rows.append(spent)
    return np.array(rows)


def measure_peak() -> float:
    """FLOP/s of independent FMAs on all threads at once."""
    rounds = 1000
    while True:  # as many rounds as one thread needs for PEAK_SECONDS
        start = time.perf_counter()
        cnncore.fma_burst(rounds)
        spent = time.perf_counter() - start
        if spent > PEAK_SECONDS / 4:
            break
        rounds *= 2
    done: list[float] = []
    cnncore.release()
    workers = [
        threading.Thread(target=lambda: done.append(cnncore.fma_burst(4 * rounds)))
        for _ in range(cnncore.get_num_threads())
    ]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - start)


def measure_bandwidth() -> float:
    """Bytes per second of reading one large array and writing another with the whole team."""
    count = STREAM_BYTES // 4
    source, target = cnncore.aligned_zeros(count), cnncore.aligned_zeros(count)
    source[:] = 1
    spent = min(
        cnncore.run_op("relu_forward", {"dst": target, "src": source}, {"count": count, "slope": 0.0}, 1).elapsed
        for _ in range(5)
    )
    return 2 * STREAM_BYTES / spent


def render(result: Profile) -> str:
    """The profile as a table, an instruction per line, in the order in which they run."""
    rows = [
        ("#", "op", "layer", "algorithm", "ms", "share", "model ms", "GFLOP/s", "direct GFLOP/s", "GB/s", "of peak")
    ]
    for index, op in enumerate(result.ops):
        rows.append(
            (
                str(index),
                op.op,
                op.layer,
                op.algorithm,
                f"{op.seconds * 1e3:.4f}",
                f"{op.seconds / result.seconds:.1%}",
                f"{op.estimate * 1e3:.4f}",
                _rate(op.flops, op.seconds),
                _rate(op.direct_flops, op.seconds),
                _rate(op.bytes, op.seconds),
                f"{op.peak:.0%}",
            )  # fmt: skip
        )
    flops, direct = sum(op.flops for op in result.ops), sum(op.direct_flops for op in result.ops)
    rows.append(
        (
            "",
            "whole run",
            "",
            "",
            f"{result.seconds * 1e3:.4f}",
            "",
            f"{sum(op.estimate for op in result.ops) * 1e3:.4f}",
            _rate(flops, result.seconds),
            _rate(direct, result.seconds),
            "",
            f"{flops / result.seconds / result.peak_flops:.0%}",
        )  # fmt: skip
    )
    return "\n".join(
        [
            f"{result.network}: {result.mode}, batch {result.batch}, {result.threads} threads, {result.isa}; "
            f"median of {result.runs} runs",
            f"measured in this run: FMA peak {result.peak_flops / 1e9:.0f} GFLOP/s, "
            f"streaming {result.bandwidth / 1e9:.1f} GB/s",
            f"{result.batch / result.seconds:,.0f} images/s",
            "",
            *table(rows, numeric=set(range(4, 11)) | {0}),
            "",
            "direct GFLOP/s: as if by the direct algorithm. of peak: of the FMA peak, or of what the bandwidth",
            "allows if less; above 100% where operands stay in a cache. model ms: the cost model's, on one core.",
        ]
    )


def _rate(amount: float, seconds: float) -> str:
    return f"{amount / seconds / 1e9:.1f}" if amount else ""
