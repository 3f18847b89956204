"""What a study's runs go by must be among what they log, and that shows when the study is read."""

import pytest

from engine.errors import UserError
from experiments.study.read import parse_study

TEXT = """
name: small
title: A small study
metric: {metric}
seeds: [0]
base: {{dataset: digits5k, model: {{name: lenet}}, optimizer: {{name: SGD, lr: 0.01}}{more}}}
rows: [{{name: a}}]
"""


@pytest.mark.parametrize(
    ("metric", "more", "named"),
    [
        ("val_acc", "", "val_accuracy"),
        ("val_accuracy", ", early_stopping: {metric: val_f1, patience: 3}", "early stopping metric"),
        ("val_accuracy", ", schedule: {name: ReduceLROnPlateau, metric: val_lss}", "schedule metric"),
        ("val_accuracy", ", split: {kind: none}", "train_loss"),
        ("train_accuracy", "", "train_loss"),
    ],
)
def test_a_metric_that_no_run_logs_is_refused(metric: str, more: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        parse_study(TEXT.format(metric=metric, more=more), "small.yaml")


def test_metrics_that_runs_log_are_taken() -> None:
    parse_study(TEXT.format(metric="val_macro_recall", more=""), "small.yaml")
    parse_study(TEXT.format(metric="train_accuracy", more=", train_metrics: true"), "small.yaml")
