"""Equal configurations are one run, however they are written; unequal ones are two."""

from __future__ import annotations

import dataclasses
import inspect
import json

import pytest

from engine.data.readers import READERS
from engine.models import MODELS
from engine.optim import OPTIMIZERS
from engine.reading.schema import merge
from engine.reading.yaml_text import parse_yaml
from engine.recipe.config import TrainConfig, read_config
from engine.recipe.roles import indifferent
from engine.training.schedules import SCHEDULES
from experiments.study.identity import STATED, difference, settings
from experiments.tasks.keys import Run

BASE = """
dataset: {name: folder, train: {path: photos, classes: [a, b]}}
model: {name: lenet}
optimizer: {name: SGD, lr: 0.01, momentum: 0.9, l2: {conv: 0.5}}
schedule: {name: Cosine, total: 10, warmup: 1}
"""
CONV = "dataset: digits5k\nmodel: {input_shape: [1, 9, 9], layers: [Flatten, {Linear: [81, 10]}]}\n"


def read(text: str, changes: str = "{}") -> TrainConfig:
    return read_config(merge(parse_yaml(text, "base"), parse_yaml(changes, "changes")))


def key(config: TrainConfig) -> str:
    return Run("row", config.seed, config, data="data").key


SAME = [
    ("optimizer: {lr: 1e-2}", "{}"),
    ("optimizer: {lr: 1.0e-2}", "{}"),
    ("optimizer: {lr: .01}", "{}"),
    ("optimizer: {lr: '0.01'}", "{}"),
    ("optimizer: {lr: 1}", "optimizer: {lr: 1.0}"),
    ("optimizer: {l2: {conv: 1}}", "optimizer: {l2: {conv: 1.0}}"),
    ("optimizer: {nesterov: yes}", "optimizer: {nesterov: true}"),
    ("optimizer: {nesterov: off, weight_decay: 0}", "{}"),
    ("optimizer: {name: sgd, lr: 0.01, momentum: 0.9, l2: {conv: 0.5}}", "{}"),
    ("optimizer: {momentum: 0.9, l2: {conv: 0.5}, lr: 0.01, name: SGD}", "{}"),
    ("optimizer: {name: Adam}", "optimizer: {name: Adam, lr: 0.001}"),
    ("optimizer: {name: Adam}", "optimizer: {name: adam, betas: [0.9, 0.999], eps: 1e-8}"),
    ("schedule: {restarts: 0, growth: 1, minimum: 0, unit: step}", "{}"),
    ("schedule: {}", "schedule: {warmup: 1}"),
    (
        "schedule: {name: ReduceLROnPlateau}",
        "schedule: {name: ReduceLROnPlateau, mode: min, metric: val_loss, factor: .1}",
    ),
    ("loss: {name: crossentropy, label_smoothing: 0}", "{}"),
    ("model: {arguments: {seed: 0}}", "{}"),
    ("model: {name: scene_cnn}", "model: {name: scene_cnn, arguments: {kernel: 5, dropout: 0, max_pool: no}}"),
    ("dataset: {train: {path: ./photos}}", "{}"),
    ("dataset: {train: {path: photos/}}", "{}"),
    ("dataset: {train: {path: .//photos/./, table: null}}", "{}"),
    ("dataset: {test: false}", "{}"),
    ("split: {kind: folds, file: ./f.json}", "split: {kind: folds, file: f.json}"),
    ("initialize_from: {checkpoint: ./a//b}", "initialize_from: {checkpoint: a/b, layers: ['*'], mismatch: error}"),
    ("initialize_from: {checkpoint: a, exclude: [7]}", "initialize_from: {checkpoint: a, exclude: ['7']}"),
    (
        "{dataset: {labelled_fraction: 0.5}, pseudo_labels: {checkpoints: [./a], images: [b/]}}",
        "{dataset: {labelled_fraction: 0.5}, pseudo_labels: {checkpoints: [a], images: [b], weight: 5e-1}}",
    ),
    ("select: {listed: {file: ./a, name: b}}", "select: {listed: {file: a, name: b, part: train}}"),
    ("augment: {shift: 0.1, mixup: 0, flip: 0}", "augment: {shift: {fraction: 1e-1, fill: nearest}}"),
    (
        "preprocess: {size: [8, 8], steps: [{dilation: {kernel: 3}}], per_image: no}",
        "preprocess: {size: [8, 8], steps: [dilation]}",
    ),
    ("freeze: []", "{}"),
    ("freeze: [0]", "freeze: ['0']"),
    ("learning_rates: {}", "{}"),
    ("learning_rates: {0: 2, head: 1}", "learning_rates: {head: 1.0, '0': 2.0}"),
    ("freeze_after: {}", "{}"),
    ("freeze_after: {0: 2, head: 1}", "freeze_after: {head: 1, '0': 2}"),
    ("class_weights: [1, 2]", "class_weights: [1.0, 2.0]"),
    ("class_weights: {7: 1}", "class_weights: {'7': 1.0}"),
    ("metric: val_loss", "{}"),
    ("{metric: val_accuracy, mode: max}", "metric: val_accuracy"),
    ("early_stopping: {patience: 2}", "early_stopping: {patience: 2, metric: val_loss, mode: min, threshold: 0}"),
    ("early_stopping: off", "{}"),
    ("max_norm: 1", "max_norm: 1.0"),
    ("drop_last: no", "{}"),
    ("epochs: 10", "{}"),
]


@pytest.mark.parametrize(("ours", "theirs"), SAME)
def test_one_run_however_it_is_written(ours, theirs):
    assert settings(read(BASE, ours)) == settings(read(BASE, theirs))
    assert key(read(BASE, ours)) == key(read(BASE, theirs))
    assert difference(read(BASE, ours), read(BASE, theirs)) is None


LAYERS = [
    ("[{Flatten: {}}, {Linear: {in_features: 81, out_features: 10, bias: yes}}]", "[Flatten, {Linear: [81, 10]}]"),
    (
        "[{Conv2D: [1, 2, [3, 3], 1, [1, 1, 1, 1]]}]",
        "[{Conv2D: [1, 2, 3, 1, 1]}]",
    ),
    ("[{Dropout: 1e-1}]", "[{Dropout: {rate: 0.1}}]"),
    ("[{MaxPool2D: 2}]", "[{MaxPool2D: {kernel: [2, 2], ceil_mode: off}}]"),
]


@pytest.mark.parametrize(("ours", "theirs"), LAYERS)
def test_layers_are_the_same_however_they_are_written(ours, theirs):
    assert key(read(CONV, f"model: {{layers: {ours}}}")) == key(read(CONV, f"model: {{layers: {theirs}}}"))


OTHERS = [
    "optimizer: {lr: 0.011}",
    "optimizer: {name: AdamW, lr: 0.01}",
    "optimizer: {l2: {conv: 0.5, linear: 0.1}}",
    "schedule: {warmup: 2}",
    "schedule: {minimum: 0.001}",
    "loss: {label_smoothing: 0.1}",
    "model: {arguments: {seed: 3}}",
    "model: {arguments: {classes: 3}}",
    "dataset: {train: {path: photographs}}",
    "dataset: {train: {path: ../photos}}",
    "dataset: {train: {classes: [b, a]}}",
    "dataset: {test: {path: photos}}",
    "split: {seed: 1}",
    "augment: {shift: 0.1}",
    "freeze: [conv*]",
    "learning_rates: {head: 2}",
    "class_weights: balanced",
    "class_weights: [1, 2]",
    "metric: val_accuracy",
    "mode: max",
    "early_stopping: {patience: 2}",
    "max_norm: 1",
    "algorithm: direct",
    "drop_last: yes",
    "batch_size: 8",
    "epochs: 11",
    "seed: 1",
]


def test_what_changes_a_result_is_another_run():
    keys = [key(read(BASE, other)) for other in ("{}", *OTHERS)]
    assert len(set(keys)) == len(keys)


FREE = {
    "data_root": "elsewhere",
    "threads": 3,
    "out": "elsewhere",
    "checkpoint_every": 7,
    "checkpoint_seconds": 9.0,
    "checkpoint_path": "b.safetensors",
    "gt_csv": "truth.csv",
    "strict": True,
    "cache": False,
    "tensorboard": True,
    "wandb": {"project": "mine"},
}


@pytest.mark.parametrize("name", FREE)
def test_what_says_where_and_how_fast_is_no_part_of_the_key(name):
    assert set(FREE) == set(indifferent(TrainConfig))
    assert key(read(BASE, json.dumps({name: FREE[name]}))) == key(read(BASE))


def test_a_section_that_cannot_be_read_keeps_the_key_of_its_text():
    wrong = [{"name": "SGD", "lr": "fast"}, {"name": "none"}, {}]
    keys = [key(dataclasses.replace(read(BASE), optimizer=each)) for each in wrong]
    assert len(set(keys)) == len(keys)
    assert key(read(BASE, "model: {name: nobody}")) != key(read(BASE, "model: {name: somebody}"))
    assert key(read(CONV, "model: {layers: [Nothing]}")) != key(read(CONV, "model: {layers: [Nobody]}"))


def test_numbers_among_names_of_layers_have_a_key():
    config = read(BASE, "learning_rates: {0: 2, head: 1}")
    run = Run("row", 0, config, data="data")
    assert run.former == run.identity != Run("row", 0, read(BASE), data="data").identity


ORDERED = [
    ('{"*": 5, conv: 2}', '{conv: 2, "*": 5}'),
    ('{"c*": 5, "conv?.bias": 2}', '{"conv?.bias": 2, "c*": 5}'),
    ('{"c[1]": 5, c1: 2}', '{c1: 2, "c[1]": 5}'),
    ("{conv: 5, conv.bias: 2}", "{conv.bias: 2, conv: 5}"),
]


@pytest.mark.parametrize("section", ["learning_rates", "freeze_after"])
@pytest.mark.parametrize(("ours", "theirs"), ORDERED)
def test_where_the_last_that_matches_counts_the_order_does(section, ours, theirs):
    configs = [read(BASE, f"{section}: {text}") for text in (ours, theirs)]
    runs = [Run("row", 0, config, data="data") for config in configs]
    for keys in ({run.key for run in runs}, {run.asked for run in runs}, {run.former for run in runs}):
        assert len(keys) == 2
    assert difference(*configs) == section


@pytest.mark.parametrize("section", ["learning_rates", "freeze_after"])
@pytest.mark.parametrize("given", [{"conv1": 5, "conv10": 2}, {"conv*": 5, "head*": 2}, {"*": 2, "conv": 2}])
def test_where_order_decides_nothing_the_keys_stay(section, given):
    texts = [json.dumps({section: order}) for order in (given, dict(reversed(given.items())))]
    runs = [Run("row", 0, read(BASE, text), data="data") for text in texts]
    assert runs[0].key == runs[1].key and runs[0].former == runs[1].former
    assert settings(runs[0].config)[section] == given


def test_a_configuration_made_in_python_is_the_one_of_the_file():
    config = dataclasses.replace(read(BASE), optimizer={"name": "SGD", "lr": 1, "momentum": 0}, max_norm=1)
    assert key(config) == key(read(BASE, "optimizer: {name: SGD, lr: 1.0, momentum: 0.0, l2: null}\nmax_norm: 1.0"))


def test_arguments_that_are_always_written_exist():
    known = {**OPTIMIZERS, **SCHEDULES, **MODELS, **READERS}
    for name, arguments in STATED.items():
        assert set(arguments) <= set(inspect.signature(known[name]).parameters)


def test_paths_of_a_file_are_read_plain():
    config = read(BASE, "{split: {kind: folds, file: .//a/./b.json}, initialize_from: {checkpoint: 'run:a//b/'}}")
    assert config.split.file == "a/b.json" and config.initialize_from is not None
    assert config.initialize_from.checkpoint == "run:a//b/"
