"""`python -m engine.summary`, as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.layers import BatchNorm, Conv2D, Flatten, Linear, ReLU
from engine.models.mnist import mnist_cnn
from engine.network.graph import Sequential
from engine.network.summary import render
from engine.recipe.build import open_network


def summary(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.summary", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=check, timeout=60)


def test_json_of_a_named_model() -> None:
    printed = json.loads(summary("mnist_cnn", "--json").stdout)
    assert (printed["parameters"], printed["trainable"], printed["batch"]) == (93_322, 93_322, 64)
    assert [layer["name"] for layer in printed["layers"]] == [str(i) for i in range(13)]


def test_settings_may_stand_anywhere() -> None:
    printed = json.loads(summary("scene_cnn", "--json", "filters=256", "dense_layers=2", "kernel=3").stdout)
    assert printed["parameters"] == 3_098_376


def test_table_and_totals() -> None:
    net = Sequential([Conv2D(3, 4, 3), BatchNorm(4), ReLU(), Flatten(), Linear(144, 2)], input_shape=(3, 8, 8))
    text = render(net.summarize(batch=2))
    lines = text.splitlines()
    assert lines[2].split() == ["0", "Conv2D(3,", "4,", "3)", "4", "x", "6", "x", "6", "112"]
    assert "parameters: 418 (410 trainable, 8 running statistics)" in text
    assert text == net.summary().replace("batch 64", "batch 2").replace(
        net.summary().splitlines()[-1].replace("batch 64", "batch 2"), lines[-1]
    )


def test_flops_of_the_mnist_network() -> None:
    counted = mnist_cnn().summarize()
    products = 26 * 26 * 32 * 9 + 11 * 11 * 64 * 9 * 32 + 3 * 3 * 64 * 9 * 64 + 576 * 64 + 64 * 10
    assert 2 * products < counted.forward_flops < 2.2 * products
    assert counted.training_flops > 2.5 * counted.forward_flops


def test_a_checkpoint_and_a_configuration(tmp_path: Path) -> None:
    net = mnist_cnn()
    net.save(tmp_path / "net.safetensors")
    assert open_network(str(tmp_path / "net.safetensors"), ()).num_parameters == 93_322
    (tmp_path / "run.yaml").write_text("dataset: mnist\nmodel: {name: lenet, arguments: {classes: 4}}\n")
    assert open_network(str(tmp_path / "run.yaml"), ()).output_shape == (4,)
    assert open_network(str(tmp_path / "run.yaml"), ("model.arguments.classes=5",)).output_shape == (5,)


def test_without_a_name_the_models_are_listed() -> None:
    lines = summary().stdout.splitlines()
    assert lines[0].startswith("lenet") and any(line.startswith("scene_15") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lenett",), "error: unknown model 'lenett'; did you mean 'lenet'?"),
        (("lenet", "classes"), "key=value"),
        (("lenet", "classes=zero"), "classes: expected int"),
        (("lenet", "--batch", "0"), "batch must be a whole number of at least 1"),
        (("nowhere.safetensors",), "nowhere.safetensors"),
        (("nowhere.yaml",), "nowhere.yaml"),
    ],
)
def test_mistakes_give_one_line_and_status_2(arguments: tuple[str, ...], message: str) -> None:
    result = summary(*arguments, check=False)
    assert result.returncode == 2 and result.stdout == ""
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
