"""A study that is killed again and again must end in the results of an undisturbed one.

`python -m experiments.checks.kill_study [--kills 50] [-j 2 | --scheduler local:2] [--move] [--seed 0] [-- ARGUMENTS
OF experiments.ablation]`

The same command is started until it ends by itself, and killed (`kill -9`) at random moments before: the runner, one of
its processes, or all at once. With --scheduler, a process that is killed must cost its run nothing but time. When a
study has ended and kills are left, another one begins in a new folder. With --move, the study's folder lies in another
place after each kill, as one does that was copied from machine to machine. Compared are all results byte for byte, but
for what a clock says, the hashes of the weights that count, and the lines for a ledger, which runs at full length have.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.cli import command_parser, run
from experiments.checks.kill_resume import weights

DEFAULT = ("--seeds", "0,1", "--rows", "Reverse,BBox+Reverse+Mixup", "epochs=3", "checkpoint_seconds=0.1")
OF_A_CLOCK = ("seconds", "seconds_per_epoch", "folder")
OF_A_CLOCK_IN_LEDGERS = ("seconds", "sum")  # the sum is that of the whole line
LEAST, MOST = 0.2, 8.0  # seconds until a kill
MOST_OF_SCHEDULER = 16.0  # which takes some seconds to begin
TIMEOUT = 600.0

Row = dict[str, str]


def command(arguments: Sequence[str], out: Path, jobs: int, scheduler: str | None = None) -> list[str]:
    where = ["--scheduler", scheduler] if scheduler else ["-j", str(jobs)]
    return [sys.executable, "-m", "experiments.ablation", *arguments, "--out", str(out), *where]


def workers(pid: int) -> list[int]:
    """Processes that the runner `pid` trains in (Linux); Python's own helper is none of them."""
    found = []
    try:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):  # one of its threads began them
            for child in children.read_text().split():
                if b"--multiprocessing-fork" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    except OSError:  # one of them ended meanwhile
        return found
    return found


def victims(pid: int, draw: random.Random) -> tuple[str, list[int]]:
    """Whom the next kill hits: the runner alone, one process that it began, or all of them."""
    begun = workers(pid)
    kind = draw.choice(["runner", "worker", "all"] if begun else ["runner"])
    one = draw.sample(sorted(begun), 1) if begun else []
    return kind, {"runner": [pid], "worker": one, "all": [pid, *begun]}[kind]


def start_and_kill(arguments: Sequence[str], draw: random.Random, kills: int, most: float) -> tuple[list[str], int]:
    """Run the command and kill at random moments, at most so often: who was hit, and the command's exit status."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    hit: list[str] = []
    while len(hit) < kills and "runner" not in hit and "all" not in hit:
        try:
            process.wait(draw.uniform(LEAST, most))
            break
        except subprocess.TimeoutExpired:
            kind, pids = victims(process.pid, draw)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # it ended meanwhile
                continue
        hit.append(kind)
    return hit, process.wait(TIMEOUT)


@dataclass(frozen=True)
class Outcome:
    """What a study ended in, without what a clock says.

    results  of every run its record and the hash of its weights
    ledger   the lines of the runs at full length
    """

    results: tuple[tuple[str, ...], ...]
    ledger: tuple[Mapping[str, object], ...]


def outcome(arguments: Sequence[str], out: Path) -> Outcome:
    table, ledger = out / "results.csv", out / "ledger.jsonl"
    for target in (table, ledger):
        subprocess.run([*command(arguments, out, 1), "--export", str(target)], check=True, stdout=subprocess.DEVNULL)
    with table.open() as file:
        rows: list[Row] = list(csv.DictReader(file))
    return Outcome(
        tuple((*compared(row), weights(Path(row["folder"]) / "best.safetensors")) for row in rows),
        tuple(line_without_clock(line) for line in ledger.read_text("utf-8").splitlines()),
    )


def line_without_clock(line: str) -> Mapping[str, object]:
    return {name: value for name, value in json.loads(line).items() if name not in OF_A_CLOCK_IN_LEDGERS}


def compared(row: Row) -> Iterator[str]:
    return (f"{name}={value}" for name, value in row.items() if name not in OF_A_CLOCK)


def finish(arguments: Sequence[str]) -> None:
    """Run to the end; RuntimeError with what it said where it fails."""
    result = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    if result.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {result.stderr.strip()}")


def check(
    arguments: Sequence[str],
    folder: Path,
    kills: int,
    jobs: int = 1,
    seed: int = 0,
    scheduler: str | None = None,
    move: bool = False,
) -> bool:
    """Print what was done; whether all studies ended alike."""
    draw = random.Random(seed)
    began = time.monotonic()
    finish(command(arguments, folder / "undisturbed", 1))
    wanted = outcome(arguments, folder / "undisturbed")
    lines = f", {len(wanted.ledger)} of them with a line for a ledger" if wanted.ledger else ""
    print(f"undisturbed: {len(wanted.results)} runs in {time.monotonic() - began:.0f} s{lines}", flush=True)
    most = MOST_OF_SCHEDULER if scheduler else MOST
    hit: Counter[str] = Counter()
    same, studies = True, 0
    while hit.total() < kills:
        out = folder / f"killed-{studies}"
        before = hit.total()
        status, moves = -1, 0
        while hit.total() < kills and status != 0:
            disturbed = command(arguments, out, jobs, scheduler)
            victims_of_one, status = start_and_kill(disturbed, draw, kills - hit.total(), most)
            hit.update(victims_of_one)
            if move and status != 0 and out.exists():
                moves += 1
                out = out.rename(folder / f"moved-{studies}-{moves}")
            if scheduler and status > 0:
                print(f"study {studies + 1}: FAILED with status {status} when workers alone were killed", flush=True)
                same = False
        finish(command(arguments, out, jobs, scheduler))
        ended = outcome(arguments, out)
        same, studies = same and ended == wanted, studies + 1
        print(
            f"study {studies}: killed {hit.total() - before} times, "
            + (f"moved {moves} times, " if move else "")
            + f"{'the same' if ended.results == wanted.results else 'OTHER'} results"
            + (f", {'the same' if ended.ledger == wanted.ledger else 'ANOTHER'} ledger" if wanted.ledger else ""),
            flush=True,
        )
    hits = ", ".join(f"{kind} {count}" for kind, count in sorted(hit.items()))
    how = f"--scheduler {scheduler}" if scheduler else f"-j {jobs}"
    print(f"verdict: {'the same results' if same else 'FAILED'} after {hit.total()} kills ({hits}), {how}")
    return same


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser("experiments.checks.kill_study", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="how often (default: %(default)s)")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes of the study (default: %(default)s)")
    parser.add_argument("--scheduler", metavar="local:N", help="train on N workers of a Dask scheduler instead")
    parser.add_argument("--move", action="store_true", help="put the study's folder in another place after each kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of who is hit (default: %(default)s)")
    parser.add_argument("study", nargs="*", default=DEFAULT, help="arguments of experiments.ablation, after --")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        same = check(options.study, place, options.kills, options.jobs, options.seed, options.scheduler, options.move)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(run(main))
