"""One training, killed in mid-epoch and resumed on other teams, must end in the bits of an undisturbed one.

`python -m experiments.checks.kill_resume [CONFIG.yaml] [KEY=VALUE ...]`

Runs `python -m engine.train` on the configuration once per team size, then once more with `kill -9` after a few
checkpoints have been written, going on with `--resume` and another number of threads each time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import engine
from engine.cli import command_parser, run

TEAMS = (1, 2, 3, 5)
CHECKPOINT_EVERY = 50  # steps
CHECKPOINTS_BEFORE_KILL = 4
LAST = "last.safetensors"


def command(config: Path, overrides: Sequence[str], out: Path, threads: int, resume: bool) -> list[str]:
    settings = [*overrides, f"threads={threads}", f"checkpoint_every={CHECKPOINT_EVERY}"]
    resumed = ["--resume"] if resume else []
    return [sys.executable, "-m", "engine.train", str(config), *settings, "--out", str(out), *resumed]


def finish(arguments: Sequence[str]) -> None:
    """Run to the end; RuntimeError with what it said where it fails."""
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {result.stderr.strip()}")


def start_and_kill(arguments: Sequence[str], out: Path) -> bool:
    """Kill the command after some new checkpoints; False when it had ended before."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen, written = _stamp(out / LAST), 0
    while process.poll() is None and written < CHECKPOINTS_BEFORE_KILL:
        time.sleep(0.005)
        now = _stamp(out / LAST)
        if now != seen:
            seen, written = now, written + 1
    if process.poll() is not None:
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return True


def _stamp(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def position(out: Path) -> str:
    """Where a run stands, for the table. A kill between two renames leaves it its checkpoint before the last."""
    from engine.training.resume import find_last  # only now, as below: --help answers at once

    found = find_last(out).last
    return "no checkpoint" if found is None else f"step {found.training['position']['step']}"


def weights(file: Path) -> str:
    """The hash of a checkpoint's weights."""
    from engine.network.checkpoint import weights_hash

    return weights_hash(engine.load(file))


def check(config: Path, overrides: Sequence[str], folder: Path) -> bool:
    found = set()
    for threads in TEAMS:
        out = folder / f"threads-{threads}"
        finish(command(config, overrides, out, threads, resume=False))
        found.add(weights(out / LAST))
        print(f"undisturbed, {threads} threads          {weights(out / LAST)}", flush=True)
    out, kills = folder / "killed", 0
    while start_and_kill(command(config, overrides, out, TEAMS[kills % len(TEAMS)], resume=kills > 0), out):
        print(f"kill -9 at {position(out)}, was on {TEAMS[kills % len(TEAMS)]} threads", flush=True)
        kills += 1
    found.add(weights(out / LAST))
    print(f"killed {kills} times and resumed      {weights(out / LAST)}")
    same = len(found) == 1 and kills > 0
    print("verdict    the same bits" if same else "verdict    FAILED")
    return same


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_parser("experiments.checks.kill_resume", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", metavar="CONFIG.yaml", nargs="?", type=Path, help="default: the MNIST example")
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", help="settings on top of it")
    options = parser.parse_args(arguments)
    config = options.config or Path(__file__).resolve().parent.parent / "configs" / "mnist.yaml"
    with tempfile.TemporaryDirectory() as folder:
        return 0 if check(config, options.overrides, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(run(main))
