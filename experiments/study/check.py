"""What can be wrong with a study before any data are read: `python -m experiments.ablation --check`.

Every row and stage, under every budget: its network is built, the images that it will get have the shape that the
network takes, its data set and the options of it exist, and the layers that it names are there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from engine.data.readers import READERS
from engine.errors import UserError, unknown
from engine.layers.patterns import checked_patterns, layers_with_parameters, select
from engine.network.finetune import ends_of_learning, frozen_of
from engine.program.slots import Slot
from engine.reading.schema import read_arguments
from engine.recipe.build import build_network
from engine.recipe.config import ModelConfig, TrainConfig
from engine.training.checks import check_preprocess
from experiments.study.packaged import study_names
from experiments.study.read import load_study
from experiments.study.study import Study


@dataclass(frozen=True)
class Built:
    """What a network is like: its input (C, H, W), parameters with running statistics, layers that own arrays, and
    where its parameters and running statistics lie."""

    input_shape: tuple[int, ...]
    parameters: int
    layers: tuple[str, ...]
    slots: Mapping[str, Slot]
    buffers: Mapping[str, Slot]


def build(section: ModelConfig) -> Built:
    """Build the network of a configuration and note what it is like."""
    net = build_network(section, seed=0)
    layers, store = layers_with_parameters(net.topology), net.store
    return Built(net.input_shape, net.num_parameters, layers, store.slots, store.buffer_slots)


class Builder:
    """Builds every network once, however many rows have it."""

    def __init__(self) -> None:
        self._known: dict[str, Built] = {}

    def __call__(self, section: ModelConfig) -> Built:
        key = json.dumps(asdict(section), sort_keys=True)
        if key not in self._known:
            self._known[key] = build(section)
        return self._known[key]


def check_studies(names: Sequence[str] = (), say: Callable[[str], None] = print, overrides: Sequence[str] = ()) -> None:
    """Check the named studies, or all that come with the package, and say a line about each. UserError for the first
    mistake. Overrides are laid over every row and stage."""
    builder = Builder()
    for name in names or study_names():
        study = load_study(name, overrides)
        for budget in study.budgets:
            check_study(load_study(name, overrides, budget.name), builder)
        budgets = ", ".join(budget.name for budget in study.budgets)
        say(f"{study.name}: {describe(study)}; budgets {budgets}: ok")


def describe(study: Study) -> str:
    """How many rows, distinct trainings and stages."""
    distinct = sum(row.same_as is None for row in study.rows)
    stages = f" and {len(study.stages)} stages" if study.stages else ""
    return f"{len(study.rows)} rows, {distinct} distinct trainings{stages}"


def check_study(study: Study, builder: Callable[[ModelConfig], Built] = build) -> None:
    """UserError for the first row or stage that could not begin."""
    for each in study.trainings:
        try:
            check_config(each.config, builder(each.config.model))
        except UserError as error:
            raise UserError(f"study {study.name}, budget {study.budget.name}, {each.name!r}: {error}") from None


def check_config(config: TrainConfig, built: Built) -> None:
    """UserError where the configuration does not fit its network or its data set's reader."""
    check_preprocess(config.preprocess, built.input_shape)
    check_reader(config)
    frozen = frozen_of(built.layers, config.freeze)
    ends_of_learning(built.slots, config.freeze_after, frozen, config.learning_rates, built.buffers)
    if config.initialize_from is not None:
        for what, given in (("layers", config.initialize_from.layers), ("exclude", config.initialize_from.exclude)):
            select(what, checked_patterns(what, given), built.layers)


def check_reader(config: TrainConfig) -> None:
    """UserError for a data set, or an option of its reader, that does not exist."""
    section = config.dataset
    if section.name not in READERS:
        raise unknown("data set", section.name, READERS)
    if config.split.kind == "test" and section.test is None:
        raise UserError("split.kind is test, but dataset.test is not given")
    for options in (section.train, section.test):
        if options is not None:
            reader = partial(READERS[section.name], Path())
            read_arguments(reader, options, f"data set {section.name!r}")
