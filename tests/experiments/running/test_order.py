"""Several runs at a time: the longest path first, and never a run before one that it needs."""

from engine.errors import UserError
from experiments.running.order import longest_first
from experiments.study.read import parse_study
from experiments.tasks.graph import study_graph

STUDY = """
name: paths
title: A chain beside a longer and a shorter run
metric: val_accuracy
seeds: [0, 1]
base:
  dataset: {name: digits5k, train: {count: 60}}
  preprocess: {colour: true, size: [28, 28]}
  model: {name: lenet}
  optimizer: {name: SGD, lr: 0.01}
  batch_size: 16
  epochs: 2
stages:
  - {name: first, changes: {epochs: 3}}
rows:
  - {name: short, changes: {optimizer: {lr: 0.02}}}
  - {name: second, changes: {epochs: 4, initialize_from: {checkpoint: "run:first"}}}
  - {name: long, changes: {epochs: 5}}
  - {name: broken, changes: {epochs: 6}}
"""


def ordered(text, cost):
    return [task.run.label for task in longest_first(study_graph(parse_study(text, "paths.yaml")).tasks, cost)]


def test_the_longest_path_begins_first_and_what_is_equal_keeps_its_order():
    # first + second are 7 epochs, broken 6, long 5; what is left of the chain behind first, 4
    rows = ["first", "broken", "long", "second", "short"]
    assert ordered(STUDY, lambda config: 1.0) == [f"{row}, seed {seed}" for row in rows for seed in (0, 1)]


def test_a_run_does_not_overtake_what_it_needs_where_that_costs_nothing():
    def cost(config):
        return 0.0 if config.epochs == 3 else 1.0

    labels = ordered(STUDY, cost)
    for seed in (0, 1):
        assert labels.index(f"first, seed {seed}") < labels.index(f"second, seed {seed}")


def test_a_configuration_that_cannot_be_planned_comes_last_and_is_kept():
    def cost(config):
        if config.epochs == 6:
            raise UserError("no such network")
        return 1.0

    assert ordered(STUDY, cost)[-2:] == ["broken, seed 0", "broken, seed 1"]


def test_the_cost_model_puts_the_larger_network_first():
    text = STUDY.replace("{optimizer: {lr: 0.02}}", "{model: {name: model3}, preprocess: {size: [48, 48]}}")
    labels = [task.run.label for task in longest_first(study_graph(parse_study(text, "paths.yaml")).tasks)]
    assert labels[:2] == ["short, seed 0", "short, seed 1"]
