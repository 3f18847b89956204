"""How soon a fresh process predicts: what importing the engine adds to NumPy, and the first image of a saved network.

`python -m experiments.checks.startup [--rounds 15] [--wheel FILE]`

Every number is a process of its own, timed from before it is started until it has printed its last line; the kinds take
turns, so that a busy moment of the machine meets all of them. With --wheel the size of that file is printed too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from engine.cli import command_parser, run
from engine.errors import UserError
from experiments.measuring.networks import NETWORKS

NETWORK = "lenet"
IMPORT_ALLOWED, FIRST_ALLOWED, WHEEL_ALLOWED = 0.040, 0.3, 2 << 20  # seconds, seconds, bytes
NOTHING, NUMPY, ENGINE, FIRST = "nothing", "import numpy", "import numpy, engine", "first image"


def programs(network: Path) -> Mapping[str, str]:
    """What each kind of process runs; `network` is the file of a saved one."""
    predict = (
        "import numpy as np; from engine import load; "
        f"net = load({str(network)!r}); out = net.predict(np.zeros((1, *net.input_shape), np.float32)); "
        "assert np.isfinite(out).all()"
    )
    return {NOTHING: "pass", NUMPY: "import numpy", ENGINE: "import numpy, engine", FIRST: predict}


def seconds(program: str) -> float:
    """From before the start of an interpreter until `program` is done in it; RuntimeError where it fails."""
    command = [sys.executable, "-c", f"{program}; print('done', flush=True)"]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        spent = time.perf_counter() - start
    if line != "done\n" or process.returncode != 0:
        raise RuntimeError(f"a process ended with status {process.returncode}: {program}")
    return spent


def measure(network: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of every kind in every round, after one round that fills the caches of the file system."""
    kinds = programs(network)
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for each in range(-1, rounds):
        for kind, program in kinds.items():
            spent = seconds(program)
            if each >= 0:
                times[kind].append(spent)
    return times


def report(times: Mapping[str, Sequence[float]], wheel: Path | None) -> bool:
    """Print medians and ranges; True if all is as quick and as small as promised."""
    print(f"{'process':22} {'median, ms':>11}   range")
    for kind, values in times.items():
        print(f"{kind:22} {np.median(values) * 1e3:11.0f}   {min(values) * 1e3:.0f} to {max(values) * 1e3:.0f}")
    beyond = float(np.median(np.subtract(times[ENGINE], times[NUMPY])))
    first = float(np.median(times[FIRST]))
    good = [beyond <= IMPORT_ALLOWED, first <= FIRST_ALLOWED]
    print(f"\nimport engine, beyond NumPy: {beyond * 1e3:.0f} ms ({IMPORT_ALLOWED * 1e3:.0f} allowed)")
    print(f"first image of a saved {NETWORK}: {first * 1e3:.0f} ms ({FIRST_ALLOWED * 1e3:.0f} allowed)")
    if wheel is not None:
        size = wheel.stat().st_size
        good.append(size <= WHEEL_ALLOWED)
        print(f"wheel: {size / (1 << 20):.2f} MiB ({WHEEL_ALLOWED >> 20} allowed)")
    print(f"verdict: {'as promised' if all(good) else 'FAILED'}")
    return all(good)


def check(options: argparse.Namespace) -> int:
    if options.rounds < 1:
        raise UserError(f"--rounds: at least 1, not {options.rounds}")
    if options.wheel is not None and not options.wheel.is_file():
        raise UserError(f"--wheel: there is no file {options.wheel}")

    print(f"{options.rounds} rounds of fresh processes, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / f"{NETWORK}.safetensors"
        NETWORKS[NETWORK].make().save(network)
        times = measure(network, options.rounds)
    return 0 if report(times, options.wheel) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser(
        "experiments.checks.startup",
        description="Measure how soon a fresh process has imported the engine, and predicted its first image.",
    )
    parser.add_argument("--rounds", type=int, default=15, help="processes of each kind (default: 15)")
    parser.add_argument("--wheel", type=Path, help="a wheel whose size is printed")
    options = parser.parse_args(arguments)
    return check(options)


if __name__ == "__main__":
    sys.exit(run(main))
