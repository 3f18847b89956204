"""What the same bits on any team cost: a training step beside one whose sums over samples follow the team.

`python -m experiments.checks.determinism_cost [--networks lenet,vgg3] [--rounds 15] [--threads N]`

Gradients by weights are sums over samples. The core cuts these into parts by shape and batch alone, and adds the parts
in order. The other side is the same source built with CNN_UNORDERED (see cnn_cuts in csrc/src/internal.h), into a
temporary folder: one part per thread, as a library without the promise has it. That it is free is checked: its weights
after a few steps on two threads must differ from those on one, where the reduction is cut at all. The linear layers'
gradients are cut by outputs, so that no part is added to another; batch normalisation's sums are cut by what fits a
cache: these cost the same either way and are alike on both sides.

Both sides are processes that hold one network each and are stopped while the other works. A round times both, in
turning order; the ratio is taken within a round. Needs the checkout and a C compiler.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cnncore
import numpy as np
from cnncore import _build_info

import engine
from engine.cli import command_parser, run
from engine.errors import UserError
from experiments.checks.determinism import digits_for, require_team, weights_digest
from experiments.measuring import sides
from experiments.measuring.networks import Measured, chosen
from experiments.measuring.sides import Answer, Side, turns
from experiments.options import names
from experiments.stats import Spread, spread

ROOT = Path(__file__).resolve().parents[2]
FIXED, UNORDERED = "fixed", "unordered"
ALLOWED = 1.05
HASHED_STEPS = 3
LEARNING_RATE, MOMENTUM = 0.001, 0.9
ROUND_SECONDS = 0.4  # that a side is timed for in a round, at least one step
LOSS_TOLERANCE = 1e-3


def build_unordered(folder: Path) -> None:
    """Build the core with CNN_UNORDERED into folder/cnncore; UserError where that fails."""
    if not (ROOT / "setup.py").is_file():
        raise UserError(f"{ROOT}: the sources of the core are not here; run this from a checkout")
    flags = f"{os.environ.get('CFLAGS', '')} -DCNN_UNORDERED".strip()
    places = ["--build-lib", str(folder), "--build-temp", str(folder / "temp")]
    built = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--parallel", "2", *places],
        cwd=ROOT,
        env={**os.environ, "CFLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise UserError(f"the core could not be built with CNN_UNORDERED: {built.stderr.strip().splitlines()[-1:]}")
    for source in (path for path in (ROOT / "python" / "cnncore").glob("*.py") if path.name != "_build_info.py"):
        shutil.copy(source, folder / "cnncore")


# ---- one side -------------------------------------------------------------------------------------------------------


def serve(case: Measured, threads: int) -> None:
    """The process of one side: answers {"steps": n} by seconds and losses, {"hash": team} by a digest of weights."""
    x, y = digits_for(case.make(), case.batch)

    def session(team: int) -> Any:
        """A fresh network on a team of this size: the variant cuts its sums when a program is made."""
        require_team(team)
        net = case.make()
        optimizer = engine.SGD(lr=LEARNING_RATE, momentum=MOMENTUM)
        return net, net.training_session(engine.CrossEntropy(), optimizer, case.batch)

    timed = session(threads)[1]
    done = 0

    def answer(steps: int = 0, team: int = 0) -> Answer:
        nonlocal done
        if team:
            net, other = session(team)
            for step in range(HASHED_STEPS):
                other.step(x, y, LEARNING_RATE, step, 0)
            require_team(threads)
            return {"hash": weights_digest(net), "source": cnncore_source()}
        seconds, losses = [], []
        for _ in range(steps):
            start = time.perf_counter()
            losses.append(timed.step(x, y, LEARNING_RATE, done, 0))
            seconds.append(time.perf_counter() - start)
            done += 1
        return {"seconds": seconds, "losses": losses}

    def cnncore_source() -> str:
        return f"{_build_info.SOURCE_HASH} {Path(cnncore.__file__).parent}"

    sides.serve(answer)


# ---- the comparison -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """Of one network: seconds per step of either side (median over rounds), and their ratios by round."""

    network: str
    batch: int
    fixed: float
    unordered: float
    ratio: Spread
    free: bool  # whether the variant's bits depend on the team


def start(case: Measured, side: str, variant: Path, threads: int) -> Side:
    paths = [str(variant)] if side == UNORDERED else []
    search = os.pathsep.join([*paths, str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = ["--serve", "--networks", case.name, "--threads", str(threads)]
    return Side(side, ["-m", "experiments.checks.determinism_cost", *options], {"PYTHONPATH": search})


def measure(case: Measured, variant: Path, rounds: int, threads: int) -> Cost:
    """Hash, then time, one network on both sides."""
    with ExitStack() as stack:
        sides = {name: stack.enter_context(start(case, name, variant, threads)) for name in (FIXED, UNORDERED)}
        free = check_builds(sides)
        first = {name: side.ask(steps=HASHED_STEPS) for name, side in sides.items()}
        check_losses({name: answer["losses"] for name, answer in first.items()})
        steps = max(1, math.ceil(ROUND_SECONDS / min(first[FIXED]["seconds"])))
        times: dict[str, list[float]] = {name: [] for name in sides}
        for order in turns(list(sides.values()), rounds):
            for side in order:
                warm_up = 1
                seconds = side.ask(steps=warm_up + steps)["seconds"][warm_up:]
                times[side.name].append(float(np.median(seconds)))
    ratios = [fixed / unordered for fixed, unordered in zip(times[FIXED], times[UNORDERED], strict=True)]
    medians = {name: float(np.median(values)) for name, values in times.items()}
    return Cost(case.name, case.batch, medians[FIXED], medians[UNORDERED], spread(ratios), free)


def check_builds(sides: dict[str, Side]) -> bool:
    """Whether the variant's weights depend on the team. UserError where ours do, or where the builds do not belong
    together."""
    found = {name: [side.ask(team=team) for team in (1, 2)] for name, side in sides.items()}
    sources, folders = zip(*(answers[0]["source"].split(" ", 1) for answers in found.values()), strict=True)
    if len(set(sources)) > 1 or len(set(folders)) < 2:
        raise UserError(f"the two sides are not two builds of the same sources: {folders}; build the core anew")
    if len({answer["hash"] for answer in found[FIXED]}) > 1:
        raise UserError("the weights differ between one thread and two: see experiments.checks.determinism")
    return len({answer["hash"] for answer in found[UNORDERED]}) > 1


def check_losses(losses: dict[str, list[float]]) -> None:
    """UserError unless both sides train the same, but for rounding."""
    worst = float(np.abs(np.array(losses[UNORDERED]) / np.array(losses[FIXED]) - 1.0).max())
    if not worst <= LOSS_TOLERANCE:
        raise UserError(f"the losses differ by {worst:.2g}, allowed is {LOSS_TOLERANCE:g}: {losses}")


def line(cost: Cost) -> str:
    ratio = cost.ratio
    return (
        f"{cost.network:16} {cost.batch:5} {cost.fixed * 1e3:12.3f} {cost.unordered * 1e3:13.3f} "
        f"{ratio.median - 1:+9.1%} {f'{ratio.low - 1:+.1%} ... {ratio.high - 1:+.1%}':>20} "
        f"{f'{ratio.least - 1:+.1%} ... {ratio.most - 1:+.1%}':>20}   {'yes' if cost.free else 'no'}"
    )


def verdict(costs: Sequence[Cost]) -> tuple[bool, str]:
    """(whether the promise is cheap enough for every network, the sentence)"""
    mean = math.exp(math.fsum(math.log(each.ratio.median) for each in costs) / len(costs)) - 1
    dear = [each.network for each in costs if not each.ratio.median <= ALLOWED]
    if not any(each.free for each in costs):
        return False, "FAILED: the variant gives the same bits on one thread and two: it is not unordered"
    if dear:
        return False, f"FAILED: more than {ALLOWED - 1:.0%} for {', '.join(dear)} (geometric mean {mean:+.1%})"
    return True, f"at most {ALLOWED - 1:.0%} for every network (geometric mean {mean:+.1%})"


def check(options: argparse.Namespace) -> int:
    threads = options.threads or max(2, cnncore.get_num_threads())
    cases = chosen(options.networks)
    print(
        f"Training step (SGD), {threads} threads, {options.rounds} interleaved rounds; "
        f"instruction set {cnncore.isa()}\n"
        f"cost = step with fixed sums / step with sums by team - 1; differs: the variant's bits on 1 and 2 threads\n"
        f"{'network':16} {'batch':>5} {'ms, fixed':>12} {'ms, unordered':>13} {'cost':>9} {'quartiles':>20} "
        f"{'range':>20}   differs",
        flush=True,
    )
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        build_unordered(Path(folder))
        for case in cases:
            costs.append(measure(case, Path(folder), options.rounds, threads))
            print(line(costs[-1]), flush=True)
    good, sentence = verdict(costs)
    print(f"verdict: {sentence}")
    return 0 if good else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.determinism_cost",
        description="Time a training step beside a build whose sums over samples are cut by the number of threads.",
    )
    parser.add_argument("--networks", type=names, default=[], metavar="A,B", help="only these (default: all)")
    parser.add_argument("--rounds", type=int, default=15, help="interleaved rounds (default: 15)")
    parser.add_argument("--threads", type=int, default=0, help="for both sides (default: the engine's, at least 2)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options: Any = parser.parse_args(arguments)
    if options.serve:
        serve(chosen(options.networks)[0], options.threads)
        return 0
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
