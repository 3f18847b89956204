"""Time this engine beside other frameworks: training steps and inference of whole networks.

`python -m experiments.peers [--peers P,…] [--networks N,…] [--threads 1,2] [--json F] [--plot F] [--quick]`

Every side is a process of its own with the same network, weights and batch; first results are compared, then the sides
are timed in interleaved rounds. Prints Markdown. `--go-on` measures what the file of `--json` does not hold yet, and
prints all: the same command again and again, each with a small `--budget`, is one measurement in parts. A peer that is
not installed is named and left out; `--python jax=/elsewhere/bin/python` runs one in another environment. `--show F …`
prints and draws what earlier runs wrote.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from engine import cli
from engine.errors import UserError, unknown
from engine.files import write_atomically
from experiments.circumstances import circumstances
from experiments.measuring import neighbour
from experiments.peers import render
from experiments.peers.cases import BATCHES, COMPARED, ONLY, OPTIMIZERS, TASKS, USUAL_TASKS, Case, cases_of
from experiments.peers.frameworks import FRAMEWORKS, OURS, PEERS, probe
from experiments.peers.job import INFERENCE, INT8, SGD, TRAINING
from experiments.peers.plot import draw, load_pyplot
from experiments.peers.protocol import Settings, measure
from experiments.peers.records import CaseRecord, Run, from_json, merged, to_json

T = TypeVar("T", int, float)

QUICK_NETWORKS = ("lenet", "model3", "mnist_cnn", "vgg3")
QUICK_BATCHES = {TRAINING: (64,), INFERENCE: (1, 64), INT8: (1, 64)}
QUICK = Settings(rounds=5, turn=0.25, case_seconds=20.0)
QUICK_MINUTES = 8.0  # the last case may begin just before
BESIDE = "beside"  # the name of the fact that there was a neighbour


def listed(what: str, known: Iterable[str]) -> Callable[[str], list[str]]:
    """Reads names with commas between them."""
    names = list(known)

    def read(text: str) -> list[str]:
        chosen = [each.strip() for each in text.split(",") if each.strip()]
        for each in chosen:
            if each not in names:
                raise argparse.ArgumentTypeError(str(unknown(what, each, names)))
        if not chosen:
            raise argparse.ArgumentTypeError(f"expected one {what} or more, with commas between them")
        return list(dict.fromkeys(chosen))

    return read


def counts(text: str) -> list[int]:
    """Reads whole numbers from 1 with commas between them."""
    try:
        values = [int(each) for each in text.split(",")]
    except ValueError:
        values = [0]
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"expected whole numbers from 1 with commas between them, not {text!r}")
    return list(dict.fromkeys(values))


def positive(kind: Callable[[str], T]) -> Callable[[str], T]:
    def read(text: str) -> T:
        try:
            value = kind(text)
        except ValueError:
            value = kind("0")
        if not value > 0:  # a NaN is none either
            raise argparse.ArgumentTypeError(f"expected a number above 0, not {text!r}")
        return value

    return read


def interpreter(text: str) -> tuple[str, str]:
    """Reads PEER=PATH."""
    peer, _, path = text.partition("=")
    if peer not in PEERS:
        raise argparse.ArgumentTypeError(str(unknown("peer", peer, PEERS)))
    if not shutil.which(path):
        raise argparse.ArgumentTypeError(f"{path!r} is no program that can be run")
    return peer, path


def parser() -> argparse.ArgumentParser:
    first, *rest = (__doc__ or "").split("\n\n")
    result = cli.command_parser("experiments.peers", description=first)
    add = result.add_argument
    add("--peers", type=listed("peer", PEERS), help=f"of {', '.join(PEERS)} (default: each for what it is good at)")
    add("--networks", type=listed("network", COMPARED), help=f"of {', '.join(COMPARED)} (default: all)")
    add("--threads", type=counts, help="such as 1,2 (default: 1,2)")
    add(
        "--tasks",
        type=listed("task", TASKS),
        default=list(USUAL_TASKS),
        help=f"of {', '.join(TASKS)} (default: {', '.join(USUAL_TASKS)})",
    )
    add("--optimizers", type=listed("optimizer", OPTIMIZERS), help="sgd, adam or both (default)")
    add("--batches", type=counts, help="of training (default: 64,16)")
    add("--inference-batches", type=counts, help="of inference (default: 1,8,64,256)")
    add("--rounds", type=positive(int), help="interleaved rounds at most (default: 7)")
    add("--turn", type=positive(float), help="seconds of a side's turn in a round (default: 0.5)")
    add(
        "--budget",
        type=positive(float),
        metavar="MINUTES",
        help="for all cases; those that it does not reach are named",
    )
    add("--neighbour", action="store_true", help="measure beside a process that is busy all the time")
    add("--quick", action="store_true", help=f"{', '.join(QUICK_NETWORKS)} at few sizes, in less than ten minutes")
    add("--python", type=interpreter, action="append", default=[], metavar="PEER=PATH", help="the peer's interpreter")
    add("--json", type=Path, metavar="F", help="write the run as JSON; kept up to date after every case")
    add("--go-on", action="store_true", help="measure the cases that the file of --json does not hold yet")
    add("--plot", type=Path, metavar="F.png", help="draw the ratios (needs matplotlib)")
    add("--show", type=Path, nargs="+", metavar="F", help="measure nothing: print and draw what these JSON files hold")
    add("--progress", action="store_true", help="a line per case on standard error, also where it is no terminal")
    return result


def chosen_cases(options: argparse.Namespace) -> list[Case]:
    quick = options.quick
    usual = QUICK_BATCHES if quick else BATCHES
    batches = {
        task: (options.batches if task == TRAINING else options.inference_batches) or sizes
        for task, sizes in usual.items()
    }
    return cases_of(
        options.networks or (QUICK_NETWORKS if quick else COMPARED),
        options.tasks,
        options.optimizers or ((SGD,) if quick else OPTIMIZERS),
        batches,
        options.threads or ((2,) if quick else (1, 2)),
    )


def peers_of(case: Case, asked: Sequence[str] | None, installed: Iterable[str]) -> list[str]:
    """The peers that are timed in a case: those asked for, or those that are usual for the task."""
    only = ONLY.get(case.network)
    return [
        peer
        for peer in installed
        if peer != OURS
        and case.task in (FRAMEWORKS[peer].tasks if asked else FRAMEWORKS[peer].usual)
        and (only is None or peer in only)
    ]


def settings_of(options: argparse.Namespace) -> Settings:
    given = {name: value for name in ("rounds", "turn") if (value := getattr(options, name)) is not None}
    return replace(QUICK if options.quick else Settings(), **given)


def begun(options: argparse.Namespace) -> list[Run]:
    """What the file of `--json` holds, where it is to be gone on with; UserError where it was measured otherwise."""
    if not (options.go_on and options.json.exists()):
        return []
    earlier = read_json(options.json)
    if (BESIDE in earlier.facts) != options.neighbour:
        raise UserError(f"{options.json}: was measured {'without' if options.neighbour else 'with'} a busy neighbour")
    return [earlier]


def run(options: argparse.Namespace, command: Sequence[str]) -> Run:
    """Measure every case, as far as the budget reaches; with `--go-on` those that are still to be measured."""
    earlier = begun(options)
    known = {record.case for each in earlier for record in each.records}
    cases, settings = [case for case in chosen_cases(options) if case not in known], settings_of(options)
    minutes = options.budget or (QUICK_MINUTES if options.quick else None)
    deadline = float("inf") if minutes is None else time.monotonic() + 60.0 * minutes
    report = options.progress or cli.on_terminal()
    records: list[CaseRecord] = []
    skipped: list[Case] = []
    beside = neighbour.busy() if options.neighbour else nullcontext()
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch, beside:
        place = Path(scratch)
        pythons = {**dict.fromkeys(FRAMEWORKS, sys.executable), **dict(options.python)}
        versions, missing = probe([OURS, *(options.peers or PEERS)], pythons, place)
        if OURS not in versions:
            raise UserError(f"the engine itself does not run: {missing[OURS]}")
        facts = circumstances(command) | ({BESIDE: neighbour.WORDS} if options.neighbour else {})
        done = Run(facts, versions, missing, records, skipped)
        for number, case in enumerate(cases):
            sides = peers_of(case, options.peers, versions)
            if not sides:
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                skipped.append(case)
                continue
            folder = place / str(number)
            # What goes on another time has all its rounds whenever it begins.
            share = math.inf if options.go_on else time.monotonic() + left / (len(cases) - number)
            start = time.monotonic()
            records.append(measure(case, sides, pythons, folder, settings, share))
            shutil.rmtree(folder)
            if options.json:
                write_json(merged([*earlier, done]), options.json)
            if report:
                seconds = time.monotonic() - start
                line = f"[{number + 1}/{len(cases)}, {seconds:.0f} s] {render.progress(records[-1])}"
                print(line, file=sys.stderr, flush=True)
        done = merged([*earlier, done])
        if options.json:
            write_json(done, options.json)
    return done


def write_json(run: Run, path: Path) -> None:
    write_atomically(path, (json.dumps(to_json(run), indent=1) + "\n").encode())


def read_json(path: Path) -> Run:
    try:
        return from_json(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not a file that --json has written") from None


def check_outputs(options: argparse.Namespace) -> None:
    """What would fail after an hour fails now."""
    if options.go_on and not options.json:
        raise UserError("--go-on needs the file of --json, which says what was measured")
    for path in filter(None, (options.json, options.plot)):
        if not path.resolve().parent.is_dir():
            raise UserError(f"{path}: its folder does not exist")
    if options.plot:
        if options.plot.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise UserError(f"{options.plot}: the name of a plot ends with .png, .svg or .pdf")
        load_pyplot()


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(given)
    check_outputs(options)
    if options.show:
        done = merged([read_json(path) for path in options.show])
    else:
        done = run(options, ["python", "-m", "experiments.peers", *given])
    if options.plot:
        draw(done, options.plot)
    print(render.markdown(done), end="")
    return 1 if any(record.disagrees for record in done.records) else 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
