"""The time of every op of a program, beside the peaks of the machine."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.losses import CrossEntropy, MeanSquaredError
from engine.network.network import Network
from engine.network.programs import Compiled
from engine.optim import SGD
from engine.plan import INFERENCE, Request
from engine.plan.cost import counts
from engine.plan.table import table

Floats = NDArray[np.float64]

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
    waited is the mean over the workers of the seconds in which they waited for others; the rest is work. Of a row of
    instructions that one worker runs, the last has what the others waited for all of them.
    peak is the share of the nearer of the two roofs: the FMA peak or the bandwidth times FLOPs per byte.
    """

    op: str
    layer: str
    algorithm: str
    seconds: float
    waited: float
    estimate: float
    flops: int
    direct_flops: int
    bytes: int
    peak: float


@dataclass(frozen=True)
class Profile:
    """A network's program, op by op. The peaks were measured in the same run, with as many threads.

    workers  of most runs: fewer than threads where the program is brief, or other processes are at work
    begun    seconds from the call until the last worker was there, which are not in those of the ops
    """

    network: str
    mode: str
    batch: int
    threads: int
    workers: int
    isa: str
    runs: int
    peak_flops: float
    bandwidth: float
    seconds: float
    begun: float
    ops: tuple[OpTime, ...]


def profile(net: Network, name: str, mode: str, batch: int) -> Profile:
    """Run the network's program on random numbers and time every instruction."""
    peak, bandwidth = measure_peak(), measure_bandwidth()
    compiled, externals = _program(net, mode, batch)
    plan = compiled.plan
    times, waits, workers = _times(net, compiled, externals, batch)
    medians, waited = np.median(times, axis=0), np.median(waits.mean(axis=2), axis=0)
    ops = []
    for index, instruction in enumerate(plan.instructions):
        seconds = max(float(medians[index]), 1e-9)
        samples = instruction.batch(batch)
        flops = counts.done(instruction, samples)
        moved = counts.bytes_touched(instruction, plan.code.values, samples)
        limit = max(flops / peak, moved / bandwidth)
        ops.append(
            OpTime(
                instruction.op,
                instruction.layer,
                instruction.algorithm,
                seconds,
                float(waited[index]),
                plan.estimates[index],
                flops,
                counts.direct_flops(instruction, samples) + counts.function_flops(instruction, samples),
                moved,
                limit / seconds,
            )  # fmt: skip
        )
    threads = cnncore.get_num_threads()
    total = float(np.median(times.sum(axis=1)))
    begun = float(np.median(waits[:, -1].max(axis=1)))
    return Profile(name, mode, batch, threads, workers, plan.isa, len(times), peak, bandwidth, total, begun, tuple(ops))


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


def _times(net: Network, compiled: Compiled, externals: tuple[Any, ...], batch: int) -> tuple[Floats, Floats, int]:
    """Seconds (runs, instructions); what the workers waited in each, (runs, instructions + 1, workers), of which the
    last row is how long after the call they began; and how many workers most runs had, which alone are counted."""
    net.programs.refresh(compiled)
    by_team: dict[int, list[tuple[Floats, Floats]]] = {}
    most, count = 0, len(compiled.plan.instructions)
    for _ in range(2):  # memory is touched, clocks rise
        compiled.program.run(batch, externals)
    end = time.perf_counter() + SECONDS
    while most < FEWEST or (time.perf_counter() < end and most < MOST):
        spent, waited = np.zeros(count), np.zeros((count + 1, cnncore.get_num_threads()))
        compiled.program.run(batch, externals, seconds=spent, waited=waited)
        by_team.setdefault(compiled.program.workers, []).append((spent, waited))
        most = max(map(len, by_team.values()))
    workers, runs = max(by_team.items(), key=lambda team: len(team[1]))
    return np.array([spent for spent, _ in runs]), np.array([waited[:, :workers] for _, waited in runs]), workers


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
        (
            "#",
            "op",
            "layer",
            "algorithm",
            "ms",
            "share",
            "waits",
            "model ms",
            "GFLOP/s",
            "direct GFLOP/s",
            "GB/s",
            "of peak",
        )  # fmt: skip
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
                f"{op.waited / op.seconds:.0%}",
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
            f"{sum(op.waited for op in result.ops) / result.seconds:.0%}",
            f"{sum(op.estimate for op in result.ops) * 1e3:.4f}",
            _rate(flops, result.seconds),
            _rate(direct, result.seconds),
            "",
            f"{flops / result.seconds / result.peak_flops:.0%}",
        )  # fmt: skip
    )
    fewer = "" if result.workers == result.threads else f" ({result.workers} at work)"
    return "\n".join(
        [
            f"{result.network}: {result.mode}, batch {result.batch}, {result.threads} threads{fewer}, {result.isa}; "
            f"median of {result.runs} runs",
            f"measured in this run: FMA peak {result.peak_flops / 1e9:.0f} GFLOP/s, "
            f"streaming {result.bandwidth / 1e9:.1f} GB/s",
            f"{result.batch / result.seconds:,.0f} images/s",
            f"the last worker began {1e6 * result.begun:.1f} us after the call, which no row has",
            "",
            *table(rows, numeric=set(range(4, 12)) | {0}),
            "",
            "waits: the share of an op's time in which its workers, on average, waited for one another; behind a row",
            "of ops that one worker runs, what the others waited for the whole row.",
            "direct GFLOP/s: as if by the direct algorithm. of peak: of the FMA peak, or of what the bandwidth",
            "allows if less; above 100% where operands stay in a cache. model ms: the cost model's, on one core.",
        ]
    )


def _rate(amount: float, seconds: float) -> str:
    return f"{amount / seconds / 1e9:.1f}" if amount else ""
