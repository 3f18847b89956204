"""How near the layers that stream their weights come to the cache's bandwidth, when one image is predicted.

`python -m experiments.checks.streaming [--networks model3] [--threads 1,2] [--rounds 40]`

A fully connected layer uses each weight once for an image: it can be no faster than its weights arrive. Rounds
alternate between predictions, of which the time of these layers is taken, and pure reads of as many bytes by the same
team, each worker its own share again and again, as in predictions that follow each other: from a cache where the
weights fit one. What a layer streams is its weights alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import cnncore
import numpy as np
from numpy.typing import NDArray

from engine.cli import command_parser, run
from engine.errors import UserError
from experiments.checks.determinism import require_team
from experiments.checks.scaling import thread_counts
from experiments.measuring.networks import Measured, chosen
from experiments.options import names
from experiments.stats import Spread, spread

LEAST = 0.80  # of the bandwidth
STREAMING = 256 << 10  # bytes of weights from which a layer counts
READ_SECONDS = 0.005  # of one measurement of the bandwidth, about
RUNS = 50  # predictions of a round; its fastest half counts


@dataclass(frozen=True)
class Streaming:
    """Of one network: bytes of weights, and over the rounds GB/s of the layers, of reads, and the share."""

    name: str
    threads: int
    layers: int
    size: int
    rate: Spread
    bandwidth: Spread
    share: Spread


def read(weights: NDArray[np.float32]) -> float:
    """Bytes per second of reading `weights` with the team."""
    rounds = max(1, int(READ_SECONDS * 100e9 / weights.nbytes))
    start = time.perf_counter()
    size = cnncore.read_burst(weights, rounds)
    return size / (time.perf_counter() - start)


def measure(case: Measured, threads: int, rounds: int) -> Streaming:
    """UserError where no layer of the network streams weights enough."""
    from engine.plan import INFERENCE, Request  # only now: --help answers sooner

    require_team(threads)
    net = case.make()
    compiled = net.programs.compile(Request(INFERENCE, 1))
    net.programs.refresh(compiled)
    code = compiled.plan.instructions
    sizes = {
        index: 4 * each.geometry["k"] * each.geometry["n"]
        for index, each in enumerate(code)
        if each.op == "linear_forward" and 4 * each.geometry["k"] * each.geometry["n"] >= STREAMING
    }
    if not sizes:
        raise UserError(f"--networks: no layer of {case.name} has {STREAMING >> 10} KiB of weights to stream")
    layers, size = list(sizes), sum(sizes.values())
    x = np.random.default_rng(0).random((1, *net.input_shape), np.float32)
    outputs = np.empty((1, *net.output_shape), np.float32)
    weights = cnncore.aligned_zeros(size // 4)
    rates, bandwidths = [], []
    for each in range(-1, rounds):
        times = []
        for _ in range(RUNS):
            spent = np.zeros(len(code))
            compiled.program.run(1, (x, None, outputs), seconds=spent)
            times.append(float(spent[layers].sum()))
        bandwidth = read(weights)
        if each >= 0:
            rates.append(size / float(np.median(sorted(times)[: RUNS // 2])))
            bandwidths.append(bandwidth)
    return Streaming(
        case.name,
        threads,
        len(layers),
        size,
        spread(rates),
        spread(bandwidths),
        spread([rate / bandwidth for rate, bandwidth in zip(rates, bandwidths, strict=True)]),
    )


def line(one: Streaming) -> str:
    share = f"{one.share.median:.0%} ({one.share.low:.0%} ... {one.share.high:.0%})"
    return (
        f"{one.name:12} {one.threads:7} {one.layers:6} {one.size / (1 << 20):8.2f} {one.rate.median * 1e-9:9.1f} "
        f"{one.bandwidth.median * 1e-9:9.1f}   {share}"
    )


def check(options: argparse.Namespace) -> int:
    if options.rounds < 1:
        raise UserError(f"--rounds: at least 1, not {options.rounds}")
    print(f"{options.rounds} rounds of {RUNS} predictions of one image; medians and quartiles; {cnncore.isa()}\n")
    print(f"{'network':12} {'threads':>7} {'layers':>6} {'MiB':>8} {'GB/s':>9} {'reads':>9}   share")
    found = []
    for case in chosen(options.networks):
        for threads in options.threads:
            found.append(measure(case, threads, options.rounds))
            print(line(found[-1]), flush=True)
    missed = [f"{one.name} on {one.threads}" for one in found if not one.share.median >= LEAST]
    reached = "reached by all" if not missed else f"MISSED by {', '.join(missed)}"
    print(f"\nverdict: {LEAST:.0%} of the bandwidth measured in this run {reached}")
    return 1 if missed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.streaming",
        description="Hold layers that stream their weights against the bandwidth of the cache, for one image.",
    )
    parser.add_argument("--networks", type=names, default=("model3",), metavar="A,B", help="default: model3")
    parser.add_argument("--threads", type=thread_counts, default=(1, 2), metavar="M,N", help="default: 1,2")
    parser.add_argument("--rounds", type=int, default=40, help="default: 40")
    options = parser.parse_args(arguments)
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
