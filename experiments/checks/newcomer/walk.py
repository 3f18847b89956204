"""The commands of the path, one process each, and the table of what they took and said."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cnncore

from engine.errors import UserError
from experiments.checks.newcomer.laptop import NEW, PHOTOS, TRUTH

ROOT = Path(__file__).resolve().parents[3]
CLONE = "cnn-engine"
INSTALL = ("python3 -m venv .venv", f'pip install "./{CLONE}[plots]"')
CONFIG = "photos.yaml"
TRAIN = f"python -m engine.train {CONFIG}"
VERIFY = "python -m engine.data verify folder path=photos"
WALK = (
    VERIFY,
    "python -m engine.data preview folder path=photos --augment shift --size 32 32 --epochs 3 --out sheet.png",
    TRAIN,
    "python -m engine.plots curves runs/photos --out curves.png",
    "python -m engine.plots confusion runs/photos --out confusion.png",
    "python -m engine.plots mistakes runs/photos --out mistakes.png --csv mistakes.csv",
    "head -n 5 mistakes.csv",
    "python -m engine.predict new --checkpoint runs/photos --probabilities --out predictions.csv",
    "head -n 5 predictions.csv",
    "python -m engine.predict new --checkpoint runs/photos --gt truth.csv --out judged.csv",
)
# What stands in docs/photos.md; a test compares them.
CONFIGURATION = """\
dataset: {{name: folder, train: {{path: photos}}}}
preprocess: {{colour: true, size: [32, 32]}}
augment: {{shift: 0.1}}
split: {{kind: fraction, fraction: 0.2}}
model: {{name: vgg3, arguments: {{classes: {classes}, batch_norm: true}}}}
optimizer: {{name: Adam, lr: 0.001}}
metric: val_loss
batch_size: 16
epochs: 15
"""
SHOWN = 14  # last lines of an output that are printed


@dataclass(frozen=True)
class Done:
    """A command that has run: seconds by the clock, its status, and the lines of both its streams as they came."""

    command: str
    seconds: float
    status: int
    lines: tuple[str, ...]

    @property
    def expected(self) -> bool:
        """Whether it ended as it should: `verify` tells faults by status 2, and own photographs may have some."""
        return self.status == 0 or (self.command == VERIFY and self.status == 2)


def walk(place: Path, install: bool, settings: Sequence[str] = ()) -> Iterator[Done]:
    """Run the commands in the folder `place`, which holds the photographs, one after the other; stop behind one that
    fails.

    install: into an environment of its own from a clone of this checkout, instead of with this process's Python.
    settings: KEY=VALUE on top of the configuration.
    """
    classes = sum(each.is_dir() for each in (place / PHOTOS).iterdir())
    (place / CONFIG).write_text(CONFIGURATION.format(classes=classes), "utf-8")
    commands = WALK if (place / TRUTH).is_file() else WALK[:-1]
    if not (place / NEW).is_dir():
        raise UserError(f"{place / NEW}: no such folder (expected photographs to ask about)")
    environment = {**os.environ, "CNN_CACHE": str(place / "cache"), "MPLBACKEND": "agg"}
    if install:
        clone = ["git", "clone", "--quiet", str(ROOT), str(place / CLONE)]
        subprocess.run(clone, check=True)
        environment.pop("PYTHONPATH", None)
        environment["PATH"] = f"{place / '.venv' / 'bin'}{os.pathsep}{environment['PATH']}"
        commands = (*INSTALL, *commands)
    else:
        environment["PATH"] = f"{_python(place)}{os.pathsep}{environment['PATH']}"
        core = Path(cnncore.__file__).resolve().parents[1]  # an installed one may not lie in the checkout
        paths = [str(ROOT), str(core), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    for command in commands:
        done = run(
            " ".join((command, *map(shlex.quote, settings))) if command == TRAIN else command, place, environment
        )
        yield done
        if not done.expected:
            return


def _python(place: Path) -> Path:
    """A folder in which `python` is the interpreter of this process."""
    folder = place / "commands"
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (folder / "python").chmod(0o755)
    return folder


def run(command: str, place: Path, environment: Mapping[str, str]) -> Done:
    """One command, as a shell runs it."""
    shell = shutil.which("bash") or "sh"
    start = time.perf_counter()
    done = subprocess.run(
        [shell, "-c", command],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Done(command, time.perf_counter() - start, done.returncode, tuple(done.stdout.splitlines()))


def shortened_lines(lines: Sequence[str], count: int = SHOWN) -> list[str]:
    """The last `count` lines, and how many came before them."""
    before = len(lines) - count
    return [f"… ({before} lines before)"] * (before > 0) + list(lines[-count:])


def report(found: Sequence[Done]) -> str:
    """A table of command, seconds and status, then the end of what each of them printed."""
    width = max(len(each.command) for each in found)
    lines = [f"{'command':{width}}  seconds  status"]
    lines += [f"{each.command:{width}}  {each.seconds:7.1f}  {each.status:6}" for each in found]
    lines.append(f"{'all':{width}}  {sum(each.seconds for each in found):7.1f}")
    for each in found:
        count = 1 if each.command in INSTALL else SHOWN  # pip tells of folders and servers of this machine
        lines += ["", f"$ {each.command}", *shortened_lines(each.lines, count)]
    return "\n".join(lines)
