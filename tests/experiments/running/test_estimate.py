"""What a study will cost, before it runs and while it does."""

import dataclasses

import pytest

from engine.data.choose.selection import Selection
from engine.inference.evaluation import EvaluationViews
from engine.recipe.config import DatasetConfig, ModelConfig, SplitConfig, TrainConfig
from engine.recipe.samples import load_data
from experiments import ablation, command
from experiments.records.planned import planned_graph
from experiments.records.result import Result
from experiments.records.standing import standings
from experiments.records.store import Store
from experiments.running import estimate as estimates
from experiments.running.estimate import (
    Counts,
    Estimator,
    Speed,
    estimate_lines,
    sample_counts,
    seconds_per_epoch,
    summary,
)
from experiments.running.eta import Eta, modelled_seconds
from experiments.study.read import parse_study
from experiments.tasks.keys import Run
from tests.experiments.running.test_runner import STUDY

CONFIG = TrainConfig(DatasetConfig("digits5k", {"sheets": False}), ModelConfig("lenet"), epochs=4)


@pytest.mark.parametrize(
    "changes",
    [
        {"split": SplitConfig("folds", folds=7, fold=3)},
        {"select": Selection(count=999), "split": SplitConfig(fraction=0.35)},
        {"select": Selection(classes=("3", "7"), per_class=50)},
        {"dataset": DatasetConfig("digits5k", {"sheets": False}, {"sheets": False, "count": 70}, 500, 60)},
        {"dataset": DatasetConfig("digits5k", {"sheets": False}, labelled_fraction=0.3)},
    ],
)
def test_samples_are_counted_as_they_are_loaded(changes):
    config = dataclasses.replace(CONFIG, **changes)
    counts = sample_counts(config, Estimator(1)._read)
    parts = load_data(config, None)
    assert counts == Counts(*(0 if part is None else len(part) for part in parts))


def test_where_images_decide_the_count_is_an_upper_bound():
    config = dataclasses.replace(CONFIG, select=Selection(drop_duplicates=True))
    assert sample_counts(config, Estimator(1)._read) == Counts(4000, 1000, 0, at_most=True)
    config = dataclasses.replace(CONFIG, select=Selection(deduplicated=500), split=SplitConfig("none"))
    assert sample_counts(config, Estimator(1)._read) == Counts(500, 0, 0)


def test_counting_the_samples_draws_no_folds_into_a_file(tmp_path):
    split = SplitConfig("folds", folds=5, file=str(tmp_path / "folds.json"))
    config = dataclasses.replace(CONFIG, split=split)
    assert sample_counts(config, Estimator(1)._read) == Counts(4000, 1000, 0)
    assert not (tmp_path / "folds.json").exists()


def test_an_epoch_is_its_steps_and_its_evaluations():
    speed = Speed(step=0.5, sample=0.01)
    assert seconds_per_epoch(CONFIG, Counts(640, 100, 50), speed) == pytest.approx(10 * 0.5 + 1.0)
    both = dataclasses.replace(CONFIG, train_metrics=True)
    assert seconds_per_epoch(both, Counts(640, 100, 50), speed) == pytest.approx(10 * 0.5 + 7.4)
    for when, seconds in (("end", 1.0), ("epoch", 7.0)):  # six views beside the images themselves
        viewed = dataclasses.replace(CONFIG, evaluation_views=EvaluationViews("diagonal:1,flip", when=when))
        assert seconds_per_epoch(viewed, Counts(640, 100, 50), speed) == pytest.approx(10 * 0.5 + seconds)


def test_speeds_are_measured_once_for_equal_trainings(monkeypatch):
    measured = []
    monkeypatch.setattr(estimates, "measured_speed", lambda config, threads: measured.append(threads) or Speed(1, 1))
    estimator = Estimator(2)
    for epochs, batch in ((1, 64), (9, 64), (9, 32)):
        estimator.speed(dataclasses.replace(CONFIG, epochs=epochs, batch_size=batch))
    assert measured == [2, 2]


@pytest.mark.parametrize("long", [1.0, 1e-6])
def test_a_speed_is_measured_on_steps(monkeypatch, long):
    """A long step is measured on fewer samples and told for all of them."""
    monkeypatch.setattr(estimates, "LONG", long)
    speed = estimates.measured_speed(CONFIG, 1)
    assert 1e-5 < speed.step < 5 and 1e-7 < speed.sample < 1


def test_memory_is_that_of_programs_and_images():
    none, some = (estimates.memory(CONFIG, Counts(count, 20, 30), 1) for count in (0, 50))
    assert none > 4 * 4 * 44726  # weights, gradients, Adam's two states
    assert some - none == 50 * 28 * 28 * 3


def test_rows_with_results_are_told_by_their_own_seconds(tmp_path):
    store = Store(tmp_path)
    graph = planned_graph(parse_study(STUDY, "tiny.yaml"), store)
    run = graph.tasks[0].run
    done = Result(run.key, run.row, run.seed, "finished", {}, 2, 2, 44726, 14.0, 7.0, folder=store.folder(run))
    store.finish(run, done)
    raw, mixed = Estimator(1).rows(standings(graph.runs, store))
    assert (raw.runs, raw.todo, raw.seconds_per_epoch, raw.left, raw.measured) == (2, 1, 7.0, 14.0, False)
    assert (mixed.runs, mixed.todo, mixed.measured) == (2, 2, True)
    assert mixed.left == pytest.approx(2 * mixed.seconds) and raw.counts == Counts(48, 12, 0)
    header, first, second = estimate_lines([raw, mixed])
    assert header.split()[:4] == ["row", "runs", "to", "do"] and len(header) == len(first) == len(second)
    assert "+7 s" in first and "14 s" in first and "MiB" in second
    assert summary([raw, mixed], 1, 2).startswith("3 runs to do: about 14 s, on 2 threads; memory up to about")


def test_the_command_trains_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "none"
    command.estimate(ablation.parse_arguments(["--dry-run", "--rows", "raw", "--out", str(out)]))
    printed = capsys.readouterr().out
    assert "Budget full" in printed and "3 runs to do" in printed and not out.exists()


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def runs_of(rows: dict[str, TrainConfig], seeds=(0, 1)) -> list[Run]:
    return [Run(row, seed, config, data="fixed") for row, config in rows.items() for seed in seeds]


def test_what_is_left_follows_the_clock_and_the_cost_model():
    clock = Clock()
    slow = dataclasses.replace(CONFIG, batch_size=32)
    runs = runs_of({"fast": CONFIG, "slow": slow})
    eta = Eta(runs, modelled=lambda config: 64.0 / config.batch_size, clock=clock)
    assert eta.seconds is None
    eta.start(runs[0])
    clock.now = 10.0
    eta.epoch(runs[0], 1)
    assert eta.seconds == pytest.approx(10 * (3 + 4) + 20 * (4 + 4))  # the slow row's steps cost twice as much
    clock.now = 40.0
    eta.epoch(runs[0], 2)
    assert eta.seconds == pytest.approx(20 * (2 + 4) + 40 * (4 + 4))
    eta.finish(runs[0], Result(runs[0].key, "fast", 0, "finished"), repeated=False)
    done = Result(runs[2].key, "slow", 0, "finished", seconds_per_epoch=5.0)
    eta.finish(runs[2], done, repeated=True)
    assert eta.seconds == pytest.approx(20 * 4 + 5 * 4)


def test_runs_at_a_time_divide_what_is_left():
    clock = Clock()
    runs = runs_of({"raw": CONFIG}, (0, 1, 2))
    eta = Eta(runs, jobs=2, clock=clock)
    eta.start(runs[0])
    clock.now = 1.0
    eta.epoch(runs[0], 1)
    assert eta.seconds == pytest.approx((3 + 4 + 4) / 2)
    for run in runs[:2]:
        eta.finish(run, Result(run.key, run.row, run.seed, "finished"), repeated=False)
    assert eta.seconds == pytest.approx(4)


def test_an_epoch_that_was_begun_before_tells_no_time():
    clock = Clock()
    runs = runs_of({"raw": CONFIG}, (0,))
    eta = Eta(runs, clock=clock)
    eta.start(runs[0])
    clock.now = 1.0
    eta.epoch(runs[0], 3)  # epochs 1 and 2, and a part of 3, were trained before the resume
    assert eta.seconds is None
    clock.now = 5.0
    eta.epoch(runs[0], 4)
    assert eta.seconds == 0


def test_the_model_of_a_step_tells_small_networks_from_large_ones():
    large = dataclasses.replace(CONFIG, model=ModelConfig("mnist_cnn"))
    assert 0 < modelled_seconds(CONFIG) < modelled_seconds(large)
