"""A study that is killed again and again must end in the results of an undisturbed one.

`python -m experiments.checks.kill_study [--kills 50] [-j 2] [--seed 0] [-- ARGUMENTS OF experiments.ablation]`

The same command is started until it ends by itself, and killed (`kill -9`) at random moments before: the runner, one of
its processes, or all at once. When a study has ended and kills are left, another one begins in a new folder. Compared
are all results byte for byte, but for what a clock says, and the hashes of the weights that count.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.cli import run

DEFAULT = ("--seeds", "0,1", "--rows", "Reverse,BBox+Reverse+Mixup", "epochs=3", "checkpoint_seconds=0.1")
OF_A_CLOCK = ("seconds", "seconds_per_epoch", "folder")
LEAST, MOST = 0.2, 8.0  # seconds until a kill
TIMEOUT = 600.0

Row = dict[str, str]


def command(arguments: Sequence[str], out: Path, jobs: int) -> list[str]:
    return [sys.executable, "-m", "experiments.ablation", *arguments, "--out", str(out), "-j", str(jobs)]


def workers(pid: int) -> list[int]:
    """Processes that the runner `pid` trains in (Linux); Python's own helper is none of them."""
    found = []
    try:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"--multiprocessing-fork" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    except OSError:  # one of them ended meanwhile
        return found
    return found


def victims(pid: int, draw: random.Random) -> tuple[str, list[int]]:
    """Whom the next kill hits: the runner alone, one process that it began, or all of them."""
    begun = workers(pid)
    kind = draw.choice(["runner", "worker", "all"] if begun else ["runner"])
    return kind, {"runner": [pid], "worker": begun[-1:], "all": [pid, *begun]}[kind]


def start_and_kill(arguments: Sequence[str], draw: random.Random) -> str | None:
    """Run the command and kill it at a random moment: who was hit, or None where it ended by itself before."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(draw.uniform(LEAST, MOST))
        return None
    except subprocess.TimeoutExpired:
        pass
    kind, pids = victims(process.pid, draw)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it ended meanwhile
            continue
    process.wait(TIMEOUT)
    return kind


def outcome(arguments: Sequence[str], out: Path) -> list[tuple[str, ...]]:
    """Every result without what a clock says, and the hash of its weights."""
    from engine.checkpoint import load, weights_hash

    target = out / "results.csv"
    subprocess.run([*command(arguments, out, 1), "--export", str(target)], check=True, stdout=subprocess.DEVNULL)
    with target.open() as file:
        rows: list[Row] = list(csv.DictReader(file))
    return [(*compared(row), weights_hash(load(Path(row["folder"]) / "best.safetensors"))) for row in rows]


def compared(row: Row) -> Iterator[str]:
    return (f"{name}={value}" for name, value in row.items() if name not in OF_A_CLOCK)


def finish(arguments: Sequence[str]) -> None:
    """Run to the end; RuntimeError with what it said where it fails."""
    result = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    if result.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {result.stderr.strip()}")


def check(arguments: Sequence[str], folder: Path, kills: int, jobs: int, seed: int) -> bool:
    """Print what was done; whether all studies ended alike."""
    draw = random.Random(seed)
    began = time.monotonic()
    finish(command(arguments, folder / "undisturbed", 1))
    wanted = outcome(arguments, folder / "undisturbed")
    print(f"undisturbed: {len(wanted)} runs in {time.monotonic() - began:.0f} s", flush=True)
    hit: Counter[str] = Counter()
    same, studies = True, 0
    while hit.total() < kills:
        out = folder / f"killed-{studies}"
        before = hit.total()
        while hit.total() < kills:
            kind = start_and_kill(command(arguments, out, jobs), draw)
            if kind is None:
                break
            hit[kind] += 1
        finish(command(arguments, out, jobs))
        equal = outcome(arguments, out) == wanted
        same, studies = same and equal, studies + 1
        print(
            f"study {studies}: killed {hit.total() - before} times, {'the same' if equal else 'OTHER'} results",
            flush=True,
        )
    hits = ", ".join(f"{kind} {count}" for kind, count in sorted(hit.items()))
    print(f"verdict: {'the same results' if same else 'FAILED'} after {hit.total()} kills ({hits}), -j {jobs}")
    return same


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.checks.kill_study", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--kills", type=int, default=50, help="how often (default: %(default)s)")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes of the study (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of who is hit (default: %(default)s)")
    parser.add_argument("study", nargs="*", default=DEFAULT, help="arguments of experiments.ablation, after --")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return 0 if check(options.study, Path(folder), options.kills, options.jobs, options.seed) else 1


if __name__ == "__main__":
    sys.exit(run(main))
