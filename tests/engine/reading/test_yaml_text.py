"""YAML is read as it was meant, or refused with file, line and key: nothing in it is taken for something else."""

from __future__ import annotations

import re
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from engine.data.sets.preview import read_stages
from engine.errors import UserError
from engine.reading.yaml_text import dump_yaml, parse_yaml
from engine.recipe.build import build_network, build_optimizer
from engine.recipe.config import TrainConfig, load_config
from experiments.study.read import parse_study

BASE = "dataset: {name: digits5k}\nmodel: {name: lenet}\n"
SCREEN = 80 * 24


def config(tmp_path: Path, text: str, *overrides: str) -> TrainConfig:
    path = tmp_path / "c.yaml"
    path.write_text(BASE + textwrap.dedent(text), encoding="utf-8")
    return load_config(path, overrides)


def refusal(tmp_path: Path, text: str, *overrides: str) -> str:
    """The message, which is no longer than a screen and comes within a second."""
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        config(tmp_path, text, *overrides)
    message = str(caught.value)
    assert time.process_time() - started < 1
    assert len(message) < SCREEN and message.count("\n") < 24
    return message


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("epochs: 1\nepochs: 2\n", "epochs", 4),
        ("epochs: 1\n'epochs': 2\n", "epochs", 4),
        ("optimizer:\n  name: SGD\n  lr: 0.1\n  lr: 0.2\n", "optimizer.lr", 6),
        ("optimizer: {name: SGD, lr: 0.1, lr: 0.2}\n", "optimizer.lr", 3),
        ("model: {name: vgg3}\n", "model", 3),
        ("augment: {cutout: {size: 0.1,\n  count: 2, count: 3}}\n", "augment.cutout.count", 4),
        ("class_weights: {7: 1, '7': 2}\n", "class_weights.7", 3),
        ("preprocess: {steps: [{dilation: {kernel: 3, kernel: 5}}]}\n", "preprocess.steps[0].dilation.kernel", 3),
        ("optimizer:\n  <<: {lr: 1}\n  <<: {lr: 2}\n  name: SGD\n", "optimizer.<<", 5),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_file_line_and_key(tmp_path, text, key, line):
    message = refusal(tmp_path, text)
    assert message.startswith(f"{tmp_path / 'c.yaml'}, line {line}: {key}: the key stands there twice")


def test_a_key_that_stands_twice_in_an_override_or_a_list_of_stages_is_refused(tmp_path):
    assert "lr: the key stands there twice" in refusal(tmp_path, "", "optimizer={name: SGD, lr: 1, lr: 2}")
    with pytest.raises(UserError, match=r"--augment.*kernel: the key stands there twice"):
        read_stages("bbox,{dilation: {kernel: 3, kernel: 5}}")


STUDY = """
name: small
title: A small study
metric: val_accuracy
seeds: [0]
base: {dataset: digits5k, model: {name: lenet}}
rows:
  - name: first
    changes: {epochs: 2}
"""


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (STUDY + "seeds: [1]\n", "seeds"),
        (STUDY + "    changes: {epochs: 3}\n", "rows[0].changes"),
        (STUDY.replace("{epochs: 2}", "{optimizer: {name: SGD, lr: 1, lr: 2}}"), "rows[0].changes.optimizer.lr"),
        (STUDY + "factors:\n  optimizer.lr: [1]\n  optimizer.lr: [2]\n", "factors.optimizer.lr"),
        (STUDY + "factors: {kind: {plain: {}, plain: {epochs: 3}}}\n", "factors.kind.plain"),
        (STUDY + "budgets:\n  small: {how: a}\n  small: {how: b}\n", "budgets.small"),
    ],
)
def test_a_key_that_stands_twice_in_a_study_is_refused(text, key):
    with pytest.raises(UserError, match=r"^mine.yaml, line \d+: ") as caught:
        parse_study(text, "mine.yaml")
    assert f": {key}: the key stands there twice" in str(caught.value)


def test_merge_keys_stay_and_what_a_mapping_says_itself_counts_most(tmp_path):
    text = """
        optimizer: &base {name: SGD, lr: 0.1, momentum: 0.9}
        learning_rates: {<<: [{a: 1}, {a: 2, b: 3}], c: 4}
        schedule: {name: Constant}
    """
    read = config(tmp_path, text)
    assert read.learning_rates == {"a": 1.0, "b": 3.0, "c": 4.0}
    path = tmp_path / "own.yaml"
    path.write_text(f"base: &base {{name: SGD, lr: 0.1}}\n{BASE}optimizer: {{<<: *base, lr: 0.2}}\n")
    with pytest.raises(UserError, match="unknown key 'base'"):
        load_config(path)
    path.write_text(f"loss: &base {{name: CrossEntropy}}\n{BASE}optimizer: {{<<: *base, name: SGD, lr: 0.2}}\n")
    assert load_config(path).optimizer == {"name": "SGD", "lr": 0.2}
    assert "optimizer.<<: a mapping or a list of them is expected" in refusal(tmp_path, "optimizer: {<<: 3}\n")


@pytest.mark.parametrize(
    ("written", "lr"),
    [("1e-2", 0.01), ("1E-2", 0.01), (".5", 0.5), ("5.", 5.0), ("+.5e-1", 0.05), ("1", 1.0), ("1_000", 1000.0)],
)
def test_a_number_is_read_however_it_is_written(tmp_path, written, lr):
    for given in (
        config(tmp_path, f"optimizer: {{name: SGD, lr: {written}}}\n"),
        config(tmp_path, "optimizer: {name: SGD}\n", f"optimizer.lr={written}"),
    ):
        assert build_optimizer(given.optimizer).lr == lr


@pytest.mark.parametrize(("written", "count"), [("1_000", 1000), ("+7", 7), ("0x1F", 31)])
def test_a_whole_number_that_can_only_be_one_is_read(tmp_path, written, count):
    assert config(tmp_path, f"batch_size: {written}\n").batch_size == count


@pytest.mark.parametrize("written", ["010", "0o10", "0b11", "1:30", "1e3", "1.0", "yes", "2024-01-01", "1__0", "10_0"])
def test_a_whole_number_that_could_be_another_is_refused(tmp_path, written):
    assert f"{tmp_path / 'c.yaml'}: batch_size: expected int, got" in refusal(tmp_path, f"batch_size: {written}\n")


@pytest.mark.parametrize("written", ["010", "1:30", "1:30.5", "nan", "inf", "infinity", "1,5", "yes", "'.nan'"])
def test_a_number_that_could_be_another_is_refused(tmp_path, written):
    assert "max_norm: expected float, got str" in refusal(tmp_path, f"max_norm: {written}\n")


@pytest.mark.parametrize("written", [".nan", ".NaN", ".inf", "-.Inf", "+.INF", "1e999", "1e-999", "'1e999'"])
@pytest.mark.parametrize("key", ["max_norm", "checkpoint_seconds", "mixup"])
def test_what_is_no_finite_number_is_refused_with_its_key(tmp_path, key, written):
    text = f"augment: {{mixup: {written}}}\n" if key == "mixup" else f"{key}: {written}\n"
    message = refusal(tmp_path, text)
    assert message.startswith(str(tmp_path / "c.yaml")) and f"{key}: " in message
    message = refusal(tmp_path, f"optimizer: {{name: SGD, lr: {written}}}\n") if written[0] != "'" else "optimizer.lr"
    assert "optimizer.lr" in message
    with pytest.raises(UserError, match="early_stopping"):
        config(tmp_path, f"early_stopping: {{patience: 1, threshold: {written}}}\n")


@pytest.mark.parametrize(
    ("written", "truth"),
    [(word, True) for word in ("true", "True", "yes", "Yes", "ON", "on")]
    + [(word, False) for word in ("false", "FALSE", "no", "No", "off", "OFF")],
)
def test_truth_values_in_every_word_of_yaml(tmp_path, written, truth):
    assert config(tmp_path, f"drop_last: {written}\n").drop_last is truth
    assert build_optimizer({"name": "SGD", "momentum": 0.9, "nesterov": written}).nesterov is truth
    conv = f"Conv2D: {{in_channels: 1, out_channels: 2, kernel: 3, bias: {written}}}"
    layers = f"model: {{input_shape: [1, 9, 9], layers: [{{{conv}}}]}}"
    path = tmp_path / "layers.yaml"
    path.write_text(f"dataset: digits5k\n{layers}\n")
    assert ("0.bias" in build_network(load_config(path).model, 0).parameters()) is truth


@pytest.mark.parametrize("word", ["false", "no", "off", "Off", "null"])
def test_none_in_every_word_of_yaml(tmp_path, word):
    text = f"early_stopping: {word}\ngt_csv: {word}\ndataset: {{name: mnist, test: {word}}}\nmodel: {{name: lenet}}\n"
    path = tmp_path / "c.yaml"
    path.write_text(text)
    read = load_config(path)
    assert read.early_stopping is None and read.gt_csv is None and read.dataset.test is None


NAMES = [
    "no",
    "off",
    "yes",
    "On",
    "y",
    "010",
    "007",
    "+5",
    "1_000",
    "1:30",
    "0x10",
    "2024-01-01",
    "2024-02-31",
    "=",
    "nan",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_class_keeps_its_name(tmp_path, name):
    assert config(tmp_path, f"select: {{classes: [{name}, b]}}\n").select.classes == (name, "b")
    read = config(tmp_path, f"class_weights: {{{name}: 2}}\nout: {name}\n")
    assert read.class_weights == {name: 2} and read.out == name


@pytest.mark.parametrize("name", ["true", "null", "~", "1.50", "1e5", ".nan"])
def test_a_class_whose_name_is_something_else_in_yaml_is_refused(tmp_path, name):
    assert "classes" in refusal(tmp_path, f"select: {{classes: [{name}, b]}}\n")
    message = refusal(tmp_path, f"class_weights: {{b: 1, {name}: 2}}\n")
    assert "line 3: class_weights" in message and "quotes" in message
    quoted = config(tmp_path, f"select: {{classes: ['{name}', b]}}\nclass_weights: {{'{name}': 2}}\n")
    assert quoted.select.classes == (name, "b") and quoted.class_weights == {name: 2}


HOSTILE = {
    "an impossible date as a number": "seed: 2024-13-45\n",
    "a time that is none": "epochs: 2024-01-01 99:99:99\n",
    "5,000 digits": f"seed: {'7' * 5000}\n",
    "5,000 digits of a float": f"max_norm: {'7' * 5000}.0\n",
    "5,000 digits after a sign": f"seed: +{'7' * 5000}\n",
    "5,000 digits as text": f"seed: '{'7' * 5000}'\n",
    "5,000 digits in a base": f"seed: 0x{'7' * 5000}\n",
    "a tag that does not fit": "seed: !!int no\n",
    "a tag of a date": "seed: !!timestamp 2024-13-45\n",
    "a tag of bytes": "out: !!binary x\n",
    "a tag of a set": "select: !!set {a, b}\n",
    "a tag of an ordered mapping": "select: !!omap {a: b}\n",
    "a tag of a list before a mapping": "select: !!seq {seed: 1}\n",
    "a tag of Python": "out: !!python/object/apply:os.system [ls]\n",
    "a tag of one's own": "out: !mine x\n",
    "a long tag": f"out: !{'x' * 100_000} y\n",
    "1,500 brackets": f"freeze: {'[' * 1500}{']' * 1500}\n",
    "100,000 brackets": f"freeze: {'[' * 100_000}\n",
    "1,500 braces": f"select: {'{a: ' * 1500}{'}' * 1500}\n",
    "1,500 dashes": f"freeze:\n  {'- ' * 1500}x\n",
    "a mapping as a key": "? {a: b}\n: c\n",
    "a list as a key": "[a, b]: c\n",
    "an unknown alias": "out: *nowhere\n",
    "a long alias": f"out: *{'x' * 10_000}\n",
    "an alias within itself": "freeze: &a [*a]\n",
    "a mapping within itself": "select: &a {<<: *a}\n",
    "two documents": "out: a\n---\nout: b\n",
    "a sign beyond all": 'out: "\\U00110000"\n',
    "a sign far beyond all": 'out: "\\UFFFFFFFF"\n',
    "half of a pair": 'out: "\\ud800"\n',
    "a zero byte": 'out: "a\\0b"\n',
    "a control sign": "out: a\x01b\n",
    "a long key": f"{'k' * 100_000}: 1\n",
    "a long value": f"epochs: {'k' * 100_000}\n",
    "a long word of choice": f"split: {{kind: {'k' * 100_000}}}\n",
    "a key of many lines": '"' + "a\\n" * 1000 + '": 1\n',
    "a value of many lines": "epochs: |\n" + "  a\n" * 1000,
    "aliases within aliases": "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}' if level else 'x'] * 9)}]\n" for level in range(9)
    ),
    "a list of much": f"epochs: [{', '.join(['&a ' + 'x' * 100, *['*a'] * 500])}]\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_gets_one_short_message(tmp_path, name):
    assert refusal(tmp_path, HOSTILE[name]).startswith(str(tmp_path / "c.yaml"))


def test_a_version_that_is_none_is_refused(tmp_path):
    path = tmp_path / "c.yaml"
    for text in (f"%YAML {'1' * 5000}.1\n---\na: b\n", "%YAML 1.x\n---\n", "\ufeff\ufeff{"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"^.{5,200}c.yaml"):
            load_config(path)


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "text\n", "7\n", "---\n"])
def test_a_file_that_holds_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="expected a mapping of keys to values"):
        load_config(path)


def test_what_is_written_is_read_as_it_was():
    values: dict[str, Any] = {
        "texts": [*NAMES, "1e-2", ".5", "5.", "1e5", "-1E3", "true", "null", "~", "", "<<", "a: b", "7", ".nan"],
        "numbers": [0, 7, -3, 10**20, 0.01, 1e-5, 1e300, -2.5, 1e16, 5e-324],
        "others": [None, True, False, [], {}],
        **dict.fromkeys(("1e-2", "no", "1.5", "7", "null", "<<"), 1),
    }
    assert parse_yaml(dump_yaml(values), "here") == values


def test_tags_that_say_what_is_there_anyway_are_taken():
    text = (
        "{a: !!str 7, b: !!int '7', c: !!float 1, d: !!bool true, e: !!null '', f: !!seq [1], g: !!map {h: !!str no}}"
    )
    read = parse_yaml(text, "here")
    assert read == {"a": "7", "b": 7, "c": 1.0, "d": True, "e": None, "f": [1], "g": {"h": "no"}}
    assert isinstance(read["c"], float)


def test_nothing_else_reads_or_writes_yaml():
    root = Path(__file__).resolve().parents[3]
    users = [path for tree in ("engine", "experiments") for path in (root / tree).rglob("*.py")]
    texts = {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in users}
    imports = re.compile(r"^\s*(import|from) yaml\b", re.MULTILINE)
    assert [name for name, text in texts.items() if imports.search(text)] == ["engine/reading/yaml_text.py"]
