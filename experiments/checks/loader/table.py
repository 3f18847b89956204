"""The tables of what was measured, a line for each set and pipeline, and the verdict."""

from __future__ import annotations

import argparse

import cnncore

from engine.data.dataset import Dataset
from engine.data.location import data_root
from engine.data.readers import read_dataset
from engine.errors import UserError
from engine.recipe.config import load_config
from experiments.checks.loader.measuring import ALLOWED, Feeding, Prepared, measure_feeding, measure_preparing
from experiments.checks.loader.pipelines import CONFIGS, chosen


def prepared_line(name: str, each: Prepared) -> str:
    found = "-" if each.found is None else f"{each.found:,.0f}"
    return f"{name:24} {each.images:>8,} {each.cold:>14,.0f} {found:>14}"


def feeding_line(name: str, each: Feeding) -> str:
    per_second = [f"{each.batch / seconds:>12,.0f}" for seconds in (each.workers, each.one_thread)]
    shares = [f"{share:>9.1%}" for share in (each.cost, each.waited_share, each.together / each.step - 1)]
    remark = "loader-bound" if each.cost >= 1 else "" if each.good else f"above {ALLOWED:.0%}"
    steps = f"{each.step * 1e3:>9.2f} {each.together * 1e3:>9.2f}"
    return f"{name:24} {each.batch:>5} {' '.join(per_second)} {steps} {' '.join(shares)}  {remark}".rstrip()


def check(options: argparse.Namespace) -> int:
    pipelines = chosen(options.pipelines)
    print(f"{cnncore.get_num_threads()} threads, instruction set {cnncore.isa()}; {options.seconds:g} s each\n")
    print("Preparing, images/s: decoding and steps into an empty cache; opening what is there.")
    print(f"{'set':24} {'images':>8} {'cold cache':>14} {'warm cache':>14}", flush=True)
    sets: dict[str, Dataset] = {}
    for each in pipelines:
        if each.config in sets:
            continue
        config = load_config(CONFIGS / f"{each.config}.yaml")
        try:
            raw = read_dataset(config.dataset.name, data_root(options.data_root), config.dataset.train)
        except UserError as error:
            print(f"{each.config:24} left out: {error}")
            continue
        sets[each.config], prepared = measure_preparing(raw, config)
        print(prepared_line(each.config, prepared), flush=True)
    print(
        "\nFeeding. cost: CPU time of a batch over a step's time; waited: share of the training's time; slower: than "
        "steps alone.\n"
        f"{'pipeline':24} {'batch':>5} {'images/s':>12} {'one thread':>12} {'step, ms':>9} {'both, ms':>9} "
        f"{'cost':>9} {'waited':>9} {'slower':>9}",
        flush=True,
    )
    measured = {}
    for each in pipelines:
        if each.config in sets:
            config = load_config(CONFIGS / f"{each.config}.yaml", each.overrides)
            measured[each.name] = measure_feeding(config, sets[each.config], options.seconds)
            print(feeding_line(each.name, measured[each.name]), flush=True)
    bad = [name for name, each in measured.items() if not each.good]
    rule = f"waiting below {ALLOWED:.0%} wherever a batch costs less than a step"
    print(f"verdict: FAILED for {', '.join(bad)}: {rule}" if bad else f"verdict: {rule}")
    return 1 if bad else 0
