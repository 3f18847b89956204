"""What these commands share: their options, a training that is resumed, and figures over seeds."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cnncore

from engine.cli import run
from engine.data.dataset import Dataset
from engine.data.location import data_root
from engine.errors import UserError
from engine.recipe.config import TrainConfig, load_config
from engine.recipe.crossval import parse_seeds
from engine.recipe.fit import checked_trainer, fit_and_test, make_trainer
from engine.recipe.samples import load_data
from engine.training.history import History
from experiments.stats import Estimate, Interval, estimate, paired_interval

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

Parts = tuple["Dataset", "Dataset | None", "Dataset | None"]


@dataclass(frozen=True)
class Options:
    """seeds; epochs of the (last) training, or None for those of the published one; settings: KEY=VALUE on top."""

    seeds: tuple[int, ...]
    epochs: int | None
    out: Path
    data_root: Path | None
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """A run that has ended: its epochs, and what result.json says of it (best value, test_…)."""

    history: History
    result: dict[str, Any]

    @property
    def seconds(self) -> float:
        """In training steps, summed over the epochs; evaluation is not counted."""
        return sum(self.history["seconds"])


class Count:
    """One line per ended run on standard error: which of how many, and how it went."""

    def __init__(self, runs: int):
        self.runs = runs
        self.done = 0

    def __call__(self, label: str, what: str, seconds: float) -> None:
        self.done += 1
        print(f"[{self.done}/{self.runs}] {label}: {what}, {seconds:.0f} s", file=sys.stderr, flush=True)


def main(
    name: str,
    description: str,
    seeds: Sequence[int],
    check: Callable[[Options], int],
    arguments: Sequence[str] | None = None,
) -> int:
    """The command `experiments.methods.NAME`: read its options and call `check`, which gives the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m experiments.methods.{name}", description=description)
    parser.add_argument("settings", metavar="KEY=VALUE", nargs="*", help="settings on top of every configuration")
    parser.add_argument("--seeds", metavar="S,S,…", help=f"instead of {','.join(map(str, seeds))}")
    parser.add_argument("--epochs", type=int, metavar="N", help="fewer or more than stated, for a trial")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)")
    parser.add_argument("--out", type=Path, default=Path("runs") / name, metavar="DIR", help="where runs are kept")
    given = parser.parse_intermixed_args(arguments)

    def checked() -> int:
        if given.epochs is not None and given.epochs < 1:
            raise UserError(f"--epochs must be 1 or more, got {given.epochs}")
        chosen = parse_seeds(given.seeds) if given.seeds else tuple(seeds)
        return check(Options(chosen, given.epochs, given.out, given.data_root, tuple(given.settings)))

    return run(checked)


def configuration(name: str, options: Options, *settings: str) -> TrainConfig:
    """The configuration `experiments/configs/NAME.yaml` with these settings, then the options', on top."""
    epochs = [] if options.epochs is None else [f"epochs={options.epochs}"]
    path = CONFIGS / f"{name}.yaml"
    config = load_config(path, [*settings, *epochs, *options.settings])
    checked_trainer(config, options.out, f"{path}: ")  # a mistake shows before data are read
    return config


def load(config: TrainConfig, options: Options) -> Parts:
    """Training, validation and test samples."""
    return load_data(config, data_root(options.data_root, config.data_root))


def train(config: TrainConfig, parts: Parts, out: Path) -> Trained:
    """Train in this folder, or go on there, and measure the test part; a run that has ended is only read."""
    trainer = make_trainer(config, out)
    trainer.progress = "none"
    return Trained(*fit_and_test(config, trainer, *parts, resume=True))


def slug(name: str) -> str:
    """A row's name as that of a folder."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def mean(values: Sequence[float]) -> Estimate:
    """Mean and standard deviation of one value or more."""
    found = estimate(values)
    assert found is not None
    return found


def difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """The 95 % interval of first[i] - second[i], one pair or more."""
    found = paired_interval(first, second)
    assert found is not None
    return found


def difference_text(found: Interval, scale: float = 1.0, digits: int = 4) -> str:
    """`+0.0012 ± 0.0009 (95 %, 5 pairs, Student's t)`, in units of 1 / scale."""
    if found.half_width is None:
        return f"{found.mean * scale:+.{digits}f} (one pair has no interval)"
    return (
        f"{found.mean * scale:+.{digits}f} ± {found.half_width * scale:.{digits}f} "
        f"(95 %, {found.count} pairs, Student's t)"
    )


def environment() -> str:
    """Instruction set and threads, which decide how long it takes (and the set also the bits)."""
    return f"instruction set {cnncore.isa()}, {cnncore.get_num_threads()} threads"
