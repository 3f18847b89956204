"""How good the cost model's choices are: every convolution of the reports' networks, timed with every algorithm.

`python -m experiments.checks.algorithms [--networks lenet,vgg3] [--isa avx512,avx2] [--batches 1,16,64]`

Prints, for every convolution and pass, the model's estimate and the measured time of each algorithm, the one that the
model chooses and the one that was the fastest. One thread; the least of several runs, in CPU time where that is less
than wall time. A choice is good when its time is within 10 % of the fastest's. Convolutions of more than 4 GFLOP are
left out.

`--save F` keeps the measurements, `--load F` takes them instead of measuring, `--fit` prints the rates that fit them
best (the table of engine/plan/rates.py).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cnncore
import numpy as np

import engine
from engine.cli import command_parser, run
from engine.files import write_atomically
from engine.plan import GRADIENTS, INFERENCE, Request, make_plan
from engine.plan.algorithms import candidates, convolutions, expand
from engine.plan.cost import counts
from engine.plan.cost.estimate import BY_BYTES, features
from engine.plan.cost.rates import RATES
from engine.plan.tune import make_trial
from engine.program.code import Code, Instruction, Value

NETWORKS = (
    "lenet", "model1", "model2", "model3", "mnist_cnn", "vgg3", "scene_0", "scene_2", "scene_7", "scene_15", "vgg19",
    "midas_cnn",
)  # fmt: skip
MOST_FLOPS = 4e9
WITHIN = 1.10
ROUNDS, SECONDS = 3, 0.004  # runs of an op: so many, and more while they take less time than that

Features = tuple[str, tuple[float, ...]]


@dataclass(frozen=True)
class Measured:
    """One instruction timed alone: what it is, its kind of work and features, seconds."""

    op: str
    geometry: Mapping[str, Any]
    kind: str
    features: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class Case:
    """A convolution in one pass: by algorithm, the instructions that compute it."""

    isa: str
    network: str
    layer: str
    direction: str
    shape: str
    batch: int
    algorithms: Mapping[str, Sequence[Measured]]


def collect(networks: Sequence[str], batches: Sequence[int], isa: str) -> Iterator[Case]:
    """Time every convolution of the networks that differs from those before."""
    from engine.models import make_model  # only now: --help answers sooner

    seen: set[str] = set()
    for name in networks:
        net = make_model(name)
        slots = net.store.slots, net.store.buffer_slots
        for batch in batches:
            for request in (Request(GRADIENTS, batch, engine.CrossEntropy(), algorithm="direct"),
                            Request(INFERENCE, batch, algorithm="direct")):  # fmt: skip
                code = make_plan(net.topology, *slots, request, isa).code
                for instruction in code.instructions:  # for the fit alone: there is nothing to choose
                    mark = repr((instruction.op, instruction.geometry, batch))
                    known = {code.values[value].dtype for value in instruction.operands.values()}
                    if mark in seen or instruction.op.startswith("conv2d_") or "segment" in known:
                        continue
                    seen.add(mark)
                    alone = {instruction.op: [_measured(instruction, code.values, batch, isa)]}
                    yield Case(isa, name, instruction.layer, "", "", batch, alone)
                for layer, direction, instruction in convolutions(code):
                    mark = repr(
                        (instruction.op, instruction.geometry, sorted(instruction.operands), batch, request.mode)
                    )
                    if mark in seen or counts.flops(instruction, batch) > MOST_FLOPS:
                        continue
                    seen.add(mark)
                    measured = _measure(code, instruction, batch, isa, keep_filters=not request.trains)
                    g = instruction.geometry
                    shape = f"{g['ic']}x{g['h']}x{g['w']} {g['kh']}x{g['kw']} {g['oc']}" + (
                        " pool" if g["pool"] else ""
                    )
                    direction = direction if request.trains else "inference"
                    yield Case(isa, name, layer, direction, shape, batch, measured)


def _measure(
    code: Code, instruction: Instruction, batch: int, isa: str, keep_filters: bool
) -> dict[str, list[Measured]]:
    found = {}
    for algorithm in candidates(instruction.op, instruction.geometry):
        made, filter_value = expand(instruction, algorithm, len(code.values))
        values = code.values if filter_value is None else (*code.values, filter_value)
        counted = made[-1:] if keep_filters else made
        found[algorithm] = [_measured(each, values, batch, isa) for each in counted]
    return found


def _measured(instruction: Instruction, values: Sequence[Value], batch: int, isa: str) -> Measured:
    counted = features(instruction, values, batch, isa)
    return Measured(instruction.op, instruction.geometry, *counted, _seconds(instruction, values, batch))


def _seconds(instruction: Instruction, values: Sequence[Value], batch: int) -> float:
    trial = make_trial([instruction], values, batch)
    trial.seconds()
    least, spent, rounds = float("inf"), 0.0, 0
    while rounds < ROUNDS or spent < SECONDS:
        before = time.thread_time()
        wall = trial.seconds()
        taken = time.thread_time() - before
        least = min(least, wall, taken)
        spent, rounds = spent + taken, rounds + 1
    return least


def estimated(measured: Sequence[Measured], rates: Mapping[str, Sequence[float]]) -> float:
    """Modelled seconds of an algorithm's instructions."""
    return sum(float(np.dot(rates[each.kind], each.features)) for each in measured) * 1e-9


def fit(cases: Sequence[Case]) -> dict[str, tuple[float, ...]]:
    """Rates (ns) by kind of work that leave the least sum of squared relative errors."""
    from scipy.optimize import nnls  # only now: slow to load, and only --fit needs it

    samples: dict[str, list[Measured]] = {}
    for case in cases:
        for measured in case.algorithms.values():
            for each in measured:
                if each.seconds > 0:  # shorter than the clock can tell
                    samples.setdefault(each.kind, []).append(each)
    rates = {}
    for kind, known in sorted(samples.items()):
        matrix = np.array([each.features for each in known]) * 1e-9
        seconds = np.array([each.seconds for each in known])
        solution, _ = nnls(matrix / seconds[:, None], np.ones(len(known)))
        rates[kind] = tuple(float(f"{rate:.4g}") for rate in solution)
    return rates


def table(cases: Sequence[Case], rates: Mapping[str, Sequence[float]]) -> tuple[list[str], list[float]]:
    """A line per case, and how many times the fastest's time the chosen one took."""
    lines = [
        f"{'network':10} {'layer':>5} {'pass':17} {'shape':24} {'batch':>5}  {'measured (estimated), ms':64} "
        f"{'chosen':10} {'fastest':10} {'loss':>5}"
    ]
    losses = []
    for case in cases:
        times = {name: sum(each.seconds for each in measured) for name, measured in case.algorithms.items()}
        estimates = {name: estimated(measured, rates) for name, measured in case.algorithms.items()}
        chosen, fastest = min(estimates, key=estimates.__getitem__), min(times, key=times.__getitem__)
        losses.append(times[chosen] / times[fastest])
        both = "  ".join(f"{name} {times[name] * 1e3:.3f} ({estimates[name] * 1e3:.3f})" for name in times)
        lines.append(
            f"{case.network:10} {case.layer:>5} {case.direction:17} {case.shape:24} {case.batch:5}  {both:64} "
            f"{chosen:10} {fastest:10} {losses[-1]:5.2f}"
        )
    return lines, losses


def check(options: argparse.Namespace) -> int:
    cases = [_read(each) for each in json.loads(options.load.read_text())] if options.load else _all_cases(options)
    if options.save:
        write_atomically(options.save, json.dumps([asdict(case) for case in cases]).encode())
    good = True
    for isa in dict.fromkeys(case.isa for case in cases):
        mine = [case for case in cases if case.isa == isa]
        rates = fit(mine) if options.fit else RATES[isa]
        if options.fit:
            print(f'"{isa}": {json.dumps(rates, indent=4)}')
        lines, losses = table([case for case in mine if len(case.algorithms) > 1], rates)
        print(f"instruction set {isa}, one thread")
        print("\n".join(lines))
        within = sum(loss <= WITHIN for loss in losses)
        print(
            f"{within} of {len(losses)} choices within {WITHIN - 1:.0%} of the fastest; the others took "
            f"{max(losses, default=1):.2f} times its time at worst"
        )
        good = good and within == len(losses)
    return 0 if good else 1


def _all_cases(options: argparse.Namespace) -> list[Case]:
    before = cnncore.isa(), cnncore.get_num_threads()
    cases: list[Case] = []
    try:
        cnncore.set_num_threads(1)
        for isa in options.isa.split(",") if options.isa else [cnncore.isa()]:
            cnncore.set_isa(isa)
            cases += collect(options.networks.split(","), [int(each) for each in options.batches.split(",")], isa)
    finally:
        cnncore.set_isa(before[0])
        cnncore.set_num_threads(before[1])
    return cases


def _read(content: dict[str, Any]) -> Case:
    algorithms = {
        name: [_counted_anew(Measured(**each), content["batch"], content["isa"]) for each in measured]
        for name, measured in content["algorithms"].items()
    }
    return Case(**{**content, "algorithms": algorithms})


def _counted_anew(measured: Measured, batch: int, isa: str) -> Measured:
    """With the features that the model has now; those of an op that only moves memory need its values and stay."""
    if measured.kind in BY_BYTES:
        return measured
    kind, counts = features(Instruction(measured.op, {}, measured.geometry), (), batch, isa)
    return replace(measured, kind=kind, features=counts)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.algorithms",
        description="Compare the cost model's choices with the fastest algorithm of every convolution.",
    )
    parser.add_argument("--networks", default=",".join(NETWORKS), help=f"which (default: {','.join(NETWORKS)})")
    parser.add_argument("--batches", default="1,16,64", help="samples (default: 1,16,64)")
    parser.add_argument("--isa", help="instruction sets, separated by commas (default: the present one)")
    parser.add_argument("--save", type=Path, metavar="F", help="keep the measurements in this file")
    parser.add_argument("--load", type=Path, metavar="F", help="take the measurements from this file")
    parser.add_argument("--fit", action="store_true", help="print rates fitted to the measurements, and judge those")
    options = parser.parse_args(arguments)
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
