"""The runs of a study: their seeds, their divisions, and the epoch whose weights count."""

from experiments.records.result import Result, checkpoint_of
from experiments.study.read import parse_study, select
from experiments.tasks.graph import study_graph

STUDY = """
name: chain
title: Teachers and a student
metric: val_accuracy
score_epoch: last
split_per_seed: true
seeds: [3, 4]
base:
  dataset: {name: digits5k, train: {count: 60}, labelled_fraction: 0.5}
  model: {name: lenet}
  optimizer: {name: SGD}
stages:
  - {name: other, changes: {}, seed_offset: 1000, score_epoch: best}
rows:
  - {name: teacher, score_epoch: best}
  - name: student
    changes: {pseudo_labels: {checkpoints: ["run:teacher", "run:other"]}}
"""


def test_a_stage_has_seeds_of_its_own_and_the_division_of_the_rows():
    graph = study_graph(parse_study(STUDY, "chain.yaml"))
    students = [task for task in graph.rows if task.run.row == "student"]
    assert [task.run.seed for task in students] == [3, 4]
    assert [task.named["teacher"].seed for task in students] == [3, 4]
    assert [task.named["other"].seed for task in students] == [1003, 1004]
    for task, seed in zip(students, (3, 4)):
        runs = [task.run, *task.named.values()]
        assert [run.config.split.seed for run in runs] == [seed] * 3
        assert len({run.key for run in runs}) == 3
    assert len(graph.tasks) == 6


def test_without_it_all_seeds_share_a_division():
    graph = study_graph(parse_study(STUDY.replace("split_per_seed: true\n", ""), "chain.yaml"))
    assert {task.run.config.split.seed for task in graph.tasks} == {0}


def test_a_row_or_stage_may_have_another_epoch_that_counts():
    study = parse_study(STUDY, "chain.yaml")
    for chosen in (study, select(study, ["student"])):  # the teacher becomes a stage
        task = study_graph(chosen).rows[-1]
        assert task.run.score_epoch == "last"
        files = [checkpoint_of(Result(run.key, run.row, run.seed, "finished"), run) for run in task.named.values()]
        assert [path.name for path in files] == ["best.safetensors"] * 2
