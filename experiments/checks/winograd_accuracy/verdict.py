"""What the pairs say: the table, the 95 % interval of their differences, and whether the accuracy is the same."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import cnncore

from engine.recipe.config import TrainConfig
from experiments.checks.winograd_accuracy.pairs import Pair, load, train_pairs, winograd_ops
from experiments.checks.winograd_accuracy.studies import ALLOWED, AUTO, DIRECT
from experiments.records.store import Store
from experiments.stats import estimate, paired_interval


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
