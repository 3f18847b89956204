"""Texts in YAML: plain values, configurations, studies, and the `key=value` of a command line.

An input is the name of one of these in a line of its own, and the text. A value that is read is the same when it is
written and read again; a configuration that is read builds its optimiser, schedule and loss, and has an identity.
"""

from __future__ import annotations

import random
from typing import Any

from engine.errors import UserError
from engine.reading.schema import parse_override
from engine.reading.yaml_text import dump_yaml, parse_yaml
from engine.recipe.build import build_loss, build_optimizer, build_schedule, check_metrics
from engine.recipe.config import TrainConfig, load_config
from experiments.study.read import load_study
from experiments.study.study import Study
from experiments.tasks.keys import Run
from fuzz.promises import promised, scratch
from fuzz.values import Plain, changed, headed, sprinkled

PATH = scratch() / "a.yaml"
KINDS = ("value", "configuration", "study", "override")
WORDS = (
    "&a ",
    "*a",
    "<<: ",
    "!!float ",
    "!!int ",
    "!!str ",
    "!x ",
    "? ",
    "- ",
    "- - ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "|\n ",
    ">-\n",
)
WORDS += (
    "\n---\n",
    "\n...\n",
    "%YAML 1.1\n",
    "%TAG ! x:\n",
    '"\\x41"',
    '"\\U00110000"',
    '"\\ud800"',
    "'",
    '"',
    "#",
    ",",
)
WORDS += (".nan", "-.inf", "1e999", "1_000", "0x1F", "010", "1:30", "~", "null", "no", "on", "2024-01-01", "9" * 41)
WORDS += ("\t", "\r", "\x85", "\u2028", "\ufeff", "\n", "  ", "[" * 70, "&b [*b]", "name: ", "row: ", "run:a", "=", ".")

VALUE = """\
text: &a [one, "two", 'three', 4, 5.5, 1e-2, .5, true, ~]
again: *a
nested: {a: {b: {c: [1, [2, [3]]]}}}
<<: {merged: yes, 7: seven}
long: |
  a line
  another
"""
CONFIGURATION = """\
dataset: {name: digits5k, train: {sheets: true, seed: 0}, test: false, subset: 100}
model: {layers: [{Conv2D: [1, 2, 3]}, ReLU, Flatten, {Linear: [8, 2]}], input_shape: [1, 4, 4]}
preprocess: {colour: false, size: [4, 4], steps: [reverse, {dilation: {kernel: 3}}], mean: [0.5], std: [0.5]}
augment: {rotation: 5, shift: 0.1, flip: 0.5, mixup: 0.2, cutout: 0.2}
split: {kind: folds, folds: 3, fold: 1, stratify: [label], seed: 1}
optimizer: {name: SGD, lr: 0.05, momentum: 0.9, nesterov: true, l2: {conv: 0.001}}
schedule: {name: ReduceLROnPlateau, patience: 1, factor: 0.5, metric: val_loss}
loss: {name: CrossEntropy, label_smoothing: 0.1}
freeze: ["0"]
learning_rates: {"3.*": 0.5}
class_weights: balanced
max_norm: 1.0
select: {count: 50}
early_stopping: {patience: 3}
label_noise: {rate: 0.1}
metric: val_macro_f1
epochs: 4
threads: 1
"""
STUDY = """\
name: small
title: A small study
metric: val_accuracy
seeds: [0, 1]
published: {title: a report, source: a source, columns: {val_accuracy: a table}}
budgets: {less: {how: less of it, epochs: 0.5, samples: 100, seeds: [0], rows: {two: {epochs: 1}}}}
base:
  dataset: {name: digits5k}
  model: {name: lenet}
  optimizer: {name: SGD, lr: 0.01}
  schedule: {name: PiecewiseConstant, boundaries: [2], values: [1.0, 0.5]}
  epochs: 4
stages: [{name: first, changes: {epochs: 1}}]
rows:
  - {name: one, base: true, published: {val_accuracy: 0.5}, footnotes: [note]}
  - {name: two, changes: {initialize_from: {checkpoint: "run:first"}}, published: {val_accuracy: [0.1, 0.2]}}
  - {name: three, same_as: one}
footnotes: {note: a note}
factors: {optimizer.lr: [0.1, 0.2]}
search: {row: one, trials: 3, space: {optimizer.lr: {log: [0.001, 0.1]}, batch_size: {choice: [32, 64]}}}
assumptions: [one, two]
"""


def corpus() -> dict[str, bytes]:
    texts = {"value": VALUE, "configuration": CONFIGURATION, "study": STUDY, "override": "optimizer.lr=[0.1, {a: b}]"}
    return {kind: f"{kind}\n{text}".encode() for kind, text in texts.items()}


def run(data: bytes) -> None:
    kind, content = headed(data, KINDS)
    with promised(data):
        if kind == "study":
            PATH.write_bytes(content)
            study = load_study(str(PATH))
            _check_study(study)
            for budget in study.budgets[1:3]:
                _check_study(load_study(str(PATH), budget=budget.name))
        elif kind == "configuration":
            PATH.write_bytes(content)
            _check_config(load_config(PATH))
        elif kind == "value":
            value = parse_yaml(content.decode("utf-8", "replace"), "a text")
            assert _same(parse_yaml(dump_yaml(value), "written"), value)
        else:
            parse_override(content.decode("utf-8", "replace"))


def _check_config(config: TrainConfig) -> None:
    given = config.to_dict()
    build_optimizer(config.optimizer)
    build_schedule(config.schedule)
    build_loss(config.loss)
    check_metrics(config)
    Run("a", config.seed, config, data="0").identity  # noqa: B018  # it is computed when it is asked for
    assert config.to_dict() == given


def _check_study(study: Study) -> None:
    for each in study.trainings[:4]:
        Run(each.name, 0, each.config, each.score_epoch or study.score_epoch, "0").former  # noqa: B018


def _same(one: Any, other: Any) -> bool:
    """Equal in kind as well: 1 is neither 1.0 nor true."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def mutate(data: bytes, most: int, seed: int, plain: Plain) -> bytes:
    rng = random.Random(seed)
    kind, content = headed(data, KINDS)
    head = f"{kind}\n".encode()
    what = rng.randrange(8)
    if what < 4:
        try:
            text = dump_yaml(
                changed(parse_yaml(content.decode(), ""), rng), default_flow_style=rng.choice((None, True))
            )
            return head + text.encode("utf-8", "surrogatepass")
        except (UserError, UnicodeDecodeError, RecursionError):
            pass
    if what < 7:
        text = content.decode("utf-8", "replace")
        place = rng.randrange(len(text) + 1)
        return head + (text[:place] + rng.choice(WORDS) + text[place + rng.choice((0, 0, 1, 3)) :]).encode()
    return head + sprinkled(content, rng, plain, most)
