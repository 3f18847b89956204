"""What lies over a study's base (rows, factors, a budget, settings behind the command) drops nothing that is given."""

from itertools import permutations

import pytest

from experiments.study.read import parse_study
from experiments.study.search import with_values

HEAD = """
name: small
title: A small study
metric: val_accuracy
seeds: [0]
published: {columns: {}}
base:
  dataset: digits5k
  model: {name: lenet}
  epochs: 2
  optimizer: {name: SGD, lr: 0.05, momentum: 0.9}
  augment: {shift: 0.3}
"""


def optimizers(text, *overrides):
    return {row.name: row.config.optimizer for row in parse_study(HEAD + text, "s.yaml", overrides).rows}


@pytest.mark.parametrize("settings", list(permutations(["optimizer.lr=0.002", "optimizer.name=SGD"])))
def test_settings_behind_the_command_count_in_any_order(settings):
    rows = "rows: [{name: a}, {name: b, changes: {optimizer: {name: Adam, eps: 0.1}}}]"
    sgd = {"name": "SGD", "lr": 0.002}
    assert optimizers(rows, *settings) == {"a": {**sgd, "momentum": 0.9}, "b": sgd}


@pytest.mark.parametrize("names", list(permutations(["optimizer.lr: [0.002, 0.3]", "optimizer.name: [SGD, Adam]"])))
def test_factors_cross_in_any_order(names):
    found = optimizers(f"factors: {{{', '.join(names)}}}")
    assert len(found) == 4
    for name, section in found.items():
        assert f"lr={section['lr']}" in name and f"name={section['name']}" in name
        assert section.get("momentum") == (0.9 if section["name"] == "SGD" else None)


def test_a_row_may_write_the_name_in_another_case():
    rows = "rows: [{name: a, changes: {optimizer: {name: sgd, weight_decay: 0.001}}}]"
    assert optimizers(rows)["a"] == {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.001}


def test_a_value_alone_stays_beside_a_key_of_its_section():
    rows = "rows: [{name: a}, {name: b, changes: {augment: {shift: 0.2}}}]"
    study = parse_study(HEAD + rows, "s.yaml", ["augment.shift.fill=constant"])
    shifts = [row.config.augment.shift for row in study.rows]
    assert [(each.fraction, each.fill) for each in shifts] == [(0.3, "constant"), (0.2, "constant")]


def test_a_budget_changes_a_key_of_a_value_alone():
    text = "rows: [{name: a}]\nbudgets: {b: {how: less, changes: {augment: {shift: {fill: wrap}}}}}"
    shift = parse_study(HEAD + text, "s.yaml", (), "b").rows[0].config.augment.shift
    assert (shift.fraction, shift.fill) == (0.3, "wrap")


def test_values_of_a_search_count_in_any_order():
    config = parse_study(HEAD + "rows: [{name: a}]", "s.yaml").rows[0].config
    for values in permutations([("optimizer.lr", 0.2), ("optimizer.name", "Adam"), ("augment.shift.fill", "wrap")]):
        changed = with_values(config, dict(values), "here")
        assert changed.optimizer == {"name": "Adam", "lr": 0.2} and changed.augment.shift.fraction == 0.3
