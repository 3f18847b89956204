"""Where the time of a network goes: `python -m engine.profile MODEL|CONFIG|CHECKPOINT [key=value …]`."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.cli import run

if TYPE_CHECKING:
    from engine.network import Compiled, Network

MODES = ("training", "inference")
SECONDS = 2.0  # of measuring, about
FEWEST, MOST = 5, 1000  # runs
STREAM_BYTES = 64 << 20  # per array: beyond any cache that a core has to itself
PEAK_SECONDS = 0.1


@dataclass(frozen=True)
class OpTime:
    """One instruction: median seconds of a run, and what it did in it.

    flops counts the operations that were done, direct_flops those of the direct algorithm, bytes its operands once.
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
    import cnncore

    from engine.plan import cost

    peak, bandwidth = measure_peak(), measure_bandwidth()
    compiled, externals = _program(net, mode, batch)
    plan = compiled.plan
    times = _times(net, compiled, externals, batch)
    medians = np.median(times, axis=0)
    ops = []
    for index, instruction in enumerate(plan.instructions):
        seconds = max(float(medians[index]), 1e-9)
        flops = cost.flops(instruction, batch)
        moved = cost.bytes_touched(instruction, plan.code.values, batch)
        limit = max(flops / peak, moved / bandwidth)
        ops.append(
            OpTime(
                instruction.op,
                instruction.layer,
                instruction.algorithm,
                seconds,
                plan.estimates[index],
                flops,
                cost.direct_flops(instruction, batch),
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
        from engine.plan import INFERENCE, Request

        return net.compile(Request(INFERENCE, batch)), (x, None, np.empty((batch, *net.output_shape), np.float32))
    return _training_program(net, batch), (x, _targets(net, batch, random))


def _training_program(net: Network, batch: int) -> Compiled:
    from engine.optim import SGD

    # A learning rate of zero keeps the numbers what they are, however many steps are timed.
    session = net.training_session(_loss(net), SGD(lr=0.0, momentum=0.9), batch)
    return session.compiled


def _loss(net: Network) -> Any:
    from engine.losses import CrossEntropy, MeanSquaredError

    return CrossEntropy() if len(net.output_shape) == 1 else MeanSquaredError()


def _targets(net: Network, batch: int, random: np.random.Generator) -> Any:
    if len(net.output_shape) == 1:
        return random.integers(0, net.output_shape[0], batch)
    return random.standard_normal((batch, *net.output_shape)).astype(np.float32)


def _times(net: Network, compiled: Compiled, externals: tuple[Any, ...], batch: int) -> np.ndarray[Any, Any]:
    """Seconds of every instruction (columns) in every run (rows)."""
    net.refresh(compiled)
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
    import cnncore

    rounds = 1000
    while True:  # as many rounds as one thread needs for PEAK_SECONDS
        start = time.perf_counter()
        cnncore.fma_burst(rounds)
        spent = time.perf_counter() - start
        if spent > PEAK_SECONDS / 4:
            break
        rounds *= 2
    done: list[float] = []
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
    import cnncore

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
    from engine.plan.describe import table

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


def plot(result: Profile, path: Path) -> None:
    """The roofline: GFLOP/s of every op over its FLOPs per byte, under the two measured roofs."""
    from engine.plots.canvas import new_figure

    figure = new_figure(8, 5)
    axes = figure.add_subplot()
    ops = [op for op in result.ops if op.flops]
    intensity = [op.flops / op.bytes for op in ops]
    roof = np.geomspace(min([*intensity, 0.1]) / 2, max([*intensity, 100.0]) * 2, 200)
    limit = np.minimum(result.peak_flops, roof * result.bandwidth)
    axes.loglog(roof, limit / 1e9, color="black", label="measured peak and bandwidth")
    kinds = sorted({op.op for op in ops})
    for kind in kinds:
        mine = [place for place, op in enumerate(ops) if op.op == kind]
        axes.scatter(
            [intensity[place] for place in mine],
            [ops[place].flops / ops[place].seconds / 1e9 for place in mine],
            # The area of a mark is the op's share of the run.
            s=[10 + 600 * ops[place].seconds / result.seconds for place in mine],
            alpha=0.6,
            label=kind,
        )
    axes.set_xlabel("FLOPs per byte of operands")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(
        f"{result.network}, {result.mode}, batch {result.batch}, {result.threads} threads, {result.isa}", fontsize=10
    )
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=120, bbox_inches="tight")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m engine.profile",
        description="Time every operation of a network on random images, beside the FMA peak and the bandwidth that "
        "this machine reaches in the same run.",
    )
    parser.add_argument("source", metavar="MODEL|CONFIG|CHECKPOINT", help="as for engine.summary")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="arguments of the model, such as filters=256")
    parser.add_argument("--batch", type=int, default=64, help="samples in a run (default: 64)")
    parser.add_argument("--mode", choices=MODES, default="training", help="what to run (default: training)")
    parser.add_argument("--threads", type=int, default=0, help="size of the team (default: all usable cores)")
    parser.add_argument("--out", type=Path, metavar="PNG", help="write a roofline plot (needs matplotlib)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_intermixed_args(arguments)


def main() -> None:
    options = parse_arguments()
    from engine import set_num_threads
    from engine.arguments import integer
    from engine.errors import UserError
    from engine.summary import open_network

    batch = integer("profile", "batch", options.batch, 1)
    try:
        set_num_threads(options.threads)
    except ValueError as error:
        raise UserError(f"--threads: {error}") from None
    if options.out is not None:
        from engine.plots.canvas import new_figure

        new_figure(8, 5)  # says now, not after the measuring, that it cannot be drawn
        if not options.out.parent.is_dir():
            raise UserError(f"--out: there is no folder {options.out.parent}")
    net = open_network(options.source, options.settings)
    if options.mode == "training" and batch == 1 and net.needs_two_samples:
        raise UserError(f"training needs two samples or more: see BatchNorm {net.needs_two_samples!r}")
    result = profile(net, Path(options.source).name, options.mode, batch)
    print(json.dumps(asdict(result), indent=2) if options.json else render(result))
    if options.out is not None:
        plot(result, options.out)
        print(f"written: {options.out}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run(main))
