"""Do trainings with Winograd's algorithm end at the accuracy of direct ones? Pairs of runs, and the 95 % interval.

`python -m experiments.checks.winograd_accuracy [--studies mnist,cifar10] [--seeds 0,1] [--epochs N] [--data-root DIR]`

Both runs of a pair have the same first weights and see the same batches in the same order; only the algorithms differ.
What counts is the accuracy on the test set after the last epoch: no epoch is picked. The learning rate falls to zero
along a cosine, in both runs, so that the last weights hardly depend on the last batches. Every run is kept under --out
with its checkpoints: the same command again goes on where it was cut off, and repeats nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cnncore

from engine.cli import run
from engine.errors import UserError
from engine.recipe.build import build_network, build_optimizer
from engine.recipe.config import TrainConfig
from engine.training.folder import LOG
from engine.training.trainer import Trainer
from experiments.options import parse_seeds
from experiments.records.planned import planned_runs
from experiments.records.store import Run, Store
from experiments.running.progress import progress_for
from experiments.running.runner import run_study
from experiments.stats import estimate, paired_interval
from experiments.study.read import load_study, select
from experiments.study.study import Study

ALLOWED = {"mnist": 0.15, "cifar10": 1.5}  # half-width of the interval, in points
AUTO, DIRECT = "auto", "direct"


@dataclass(frozen=True)
class Pair:
    """Test accuracies after the last epoch, in percent."""

    seed: int
    auto: float
    direct: float


def load(name: str, seeds: Sequence[int], epochs: int | None, root: Path | None) -> Study:
    """The study of this data set; with another number of epochs its cosine ends with them."""
    study = load_study(f"winograd_{name}")
    overrides = [f"data_root={json.dumps(str(root))}"] if root else []
    if epochs is not None:
        config = study.rows[0].config
        total = config.schedule["total"] * epochs // config.epochs
        overrides += [f"epochs={epochs}", f"schedule.total={total}"]
    return select(load_study(study.name, overrides), seeds=seeds)


def winograd_ops(config: TrainConfig) -> dict[str, int]:
    """How often each op of Winograd's algorithm stands in the training step of this configuration."""
    network = build_network(config.model, config.seed)
    trainer = Trainer(network, build_optimizer(config.optimizer), algorithm=config.algorithm)
    counts: dict[str, int] = {}
    for instruction in trainer.open_session(config.batch_size).plan.instructions:
        if instruction.op.startswith("winograd"):
            counts[instruction.op] = counts.get(instruction.op, 0) + 1
    return counts


def last_accuracy(store: Store, each: Run) -> float:
    """In percent, of the last epoch on record."""
    records = [json.loads(line) for line in (store.folder(each) / LOG).read_text().splitlines()]
    last = records[-1] if records else {}
    if last.get("epoch") != each.config.epochs:
        raise UserError(f"{store.folder(each)}: the run did not reach epoch {each.config.epochs}: {last}")
    return 100.0 * float(last["val_accuracy"])


def train_pairs(study: Study, store: Store) -> list[Pair]:
    """Both runs of every seed, one pair after the other."""
    with closing(progress_for(planned_runs(study, store), study.metric)) as progress:
        for seed in study.seeds:
            run_study(select(study, seeds=[seed]), store, progress)
    found = {(each.row, each.seed): last_accuracy(store, each) for each in planned_runs(study, store)}
    return [Pair(seed, found[AUTO, seed], found[DIRECT, seed]) for seed in study.seeds]


def verdict(pairs: Sequence[Pair], allowed: float) -> tuple[bool, list[str]]:
    """(whether the interval contains 0 and is narrow enough, the lines that say so)"""
    auto, direct = [each.auto for each in pairs], [each.direct for each in pairs]
    rows = [f"{each.seed:<6} {each.auto:10.2f} {each.direct:10.2f} {each.auto - each.direct:+12.2f}" for each in pairs]
    means = [estimate(values) for values in (auto, direct)]
    interval = paired_interval(auto, direct)
    assert interval is not None and means[0] is not None and means[1] is not None
    rows.append(f"{'mean':<6} {means[0].mean:10.3f} {means[1].mean:10.3f} {interval.mean:+12.3f}")
    if interval.half_width is None:
        return False, [*rows, "one pair has no interval"]
    assert means[0].std is not None and means[1].std is not None
    rows.append(f"{'std':<6} {means[0].std:10.3f} {means[1].std:10.3f}")
    narrow = interval.half_width <= allowed
    rows += [
        f"95 % paired interval of the difference: {interval.mean:+.3f} ± {interval.half_width:.3f} points "
        f"({interval.count} pairs, Student's t)",
        f"contains 0: {'yes' if interval.contains_zero else 'NO'}; "
        f"half-width {interval.half_width:.3f}, allowed {allowed:g}: {'yes' if narrow else 'NO'}",
    ]
    return interval.contains_zero and narrow, rows


def settings(config: TrainConfig) -> str:
    arguments = ", ".join(f"{key} {value}" for key, value in config.optimizer.items() if key != "name")
    return (
        f"{config.model.name} on {config.dataset.name}, {config.epochs} epochs, batch {config.batch_size}, "
        f"{config.optimizer['name']} ({arguments}), cosine to 0; test accuracy after the last epoch, %"
    )


def check_study(name: str, options: argparse.Namespace) -> bool:
    """Train the pairs of one data set, print the table, and say whether all is well."""
    study = load(name, options.seeds, options.epochs, options.data_root)
    by_name = {row.name: row.config for row in study.rows}
    print(settings(by_name[AUTO]), flush=True)
    ops = winograd_ops(by_name[AUTO])
    if not ops or winograd_ops(by_name[DIRECT]):
        print("FAILED: the planner's choice and the direct algorithms do not differ by Winograd's: nothing to compare")
        return False
    print("Winograd in auto: " + ", ".join(f"{count} {op}" for op, count in ops.items()), flush=True)
    good, rows = verdict(train_pairs(study, Store(options.out / name)), ALLOWED[name])
    print("\n".join([f"{'seed':6} {AUTO:>10} {DIRECT:>10} {'difference':>12}", *rows, ""]), flush=True)
    return good


def check(options: argparse.Namespace) -> int:
    print(f"instruction set {cnncore.isa()}, {cnncore.get_num_threads()} threads")
    failed = [name for name in options.studies if not check_study(name, options)]
    print("verdict: " + (f"FAILED: {', '.join(failed)}" if failed else "the same accuracy"))
    return 1 if failed else 0


def studies(text: str) -> list[str]:
    """`mnist,cifar10` as a list, for argparse."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in ALLOWED]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(ALLOWED)}")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.checks.winograd_accuracy",
        description="Train pairs of networks with and without Winograd's algorithm and compare their accuracies.",
    )
    parser.add_argument("--studies", type=studies, default=list(ALLOWED), metavar="A,B", help="default: mnist,cifar10")
    parser.add_argument("--seeds", metavar="0,1", help="instead of 0 to 4")
    parser.add_argument("--epochs", type=int, help="instead of 5 (MNIST) and 10 (CIFAR-10)")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the data sets (default: CNN_DATA)")
    parser.add_argument("--out", type=Path, default=Path("runs") / "winograd_accuracy", help="where runs are kept")
    options = parser.parse_args(arguments)

    def checked() -> int:
        options.seeds = parse_seeds(options.seeds)
        return check(options)

    return run(checked)


if __name__ == "__main__":
    sys.exit(main())
