"""The checks of ONNX files: what they print, and that they end with status 1 where something is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cli import run
from engine.importing.onnx import network
from engine.models import make_model
from experiments.checks.onnx import engines, light, node_tests

pytest.importorskip("onnx", reason="needs the package onnx")
pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")

FILES = Path(__file__).resolve().parents[3] / "engine" / "importing" / "files"


def test_official_tests_that_pytorch_made(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["check", "--kinds", "pytorch-operator"])
    assert run(node_tests.main) == 0
    lines = capsys.readouterr().out.splitlines()
    name, passed, refused, failed = lines[2].strip("| ").split(" | ")
    assert name == "pytorch-operator" and int(passed) >= 10 and int(refused) >= 1 and int(failed) == 0
    assert any(line.startswith("| Add | ") for line in lines)


def test_a_wrong_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Elu read as a ReLU."""
    wrong = {**network.HANDLERS, "Elu": network.HANDLERS["Relu"]}
    monkeypatch.setattr(network, "HANDLERS", wrong)
    made = case("Elu", lambda x: np.where(x > 0, x, np.expm1(x)))
    found = node_tests.outcome("node", made)
    assert (found.what, found.operator) == (node_tests.FAILED, "Elu")
    monkeypatch.setattr(node_tests, "outcomes", lambda kind: [found])
    monkeypatch.setattr(sys, "argv", ["check", "--kinds", "node", "--list"])
    assert run(node_tests.main) == 1
    assert "| node | 0 | 0 | 1 |" in capsys.readouterr().out


class case:
    """A test of one operator, as the official ones are."""

    rtol, atol, name = 1e-3, 1e-7, "test"

    def __init__(self, operator: str, define: Any):
        from onnx import TensorProto, helper

        x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(2, 6)
        graph = helper.make_graph(
            [helper.make_node(operator, ["x"], ["y"])],
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 6])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 6])],
        )
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        self.data_sets = [([x], [define(x).astype(np.float32)])]


def test_a_case_passes_and_one_without_its_operator_is_refused() -> None:
    assert node_tests.outcome("node", case("Tanh", np.tanh)).what == node_tests.PASSED
    found = node_tests.outcome("node", case("Sin", np.sin))
    assert (found.what, found.reason) == (node_tests.REFUSED, node_tests.MISSING)
    assert "does not have: Sin 1." in node_tests.report([found])


def test_networks_in_other_engines_and_files_of_other_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["check", "--networks", "lenet", "--foreign", str(FILES)])
    here = [each for each in engines.installed() if each[0] == "ONNX Runtime"]
    for module in ("engine.export.onnx.command", "experiments.checks.onnx.engines"):
        monkeypatch.setattr(f"{module}.installed", lambda: here)
    assert run(engines.main) == 0
    out = capsys.readouterr().out
    assert (
        f"| lenet | {make_model('lenet').num_parameters:,} |" in out
        and "| yes |" in out
        and "| keras_grey.onnx |" in out
    )
    row = engines.Row("a", 1, 1, True, {"ONNX Runtime": 1e-3})
    assert not row.good and "1.0e-03" in engines.line(row)
    assert not engines.Row("a", 1, 1, False, {"ONNX Runtime": 0.0}).good
    assert not engines.Row("a", 1, 1, True, {"ONNX Runtime": "refuses the file"}).good


def test_light_models_are_read_or_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not sorted(light.folder().glob("*.onnx")):
        pytest.skip("this ONNX brings no light models along")
    names = ("light_squeezenet", "light_inception_v1")
    read, refused = (light.compared(light.folder() / f"{name}.onnx") for name in names)
    assert read.layers > 50 and read.difference <= 1e-5 and not read.refused
    assert "LRN" in refused.refused and not refused.layers
    monkeypatch.setattr(sys, "argv", ["check"])
    monkeypatch.setattr(light, "compared", lambda path: light.Light(path.stem, 3, 1e-3))
    assert run(light.main) == 1
    assert "FAILED" in capsys.readouterr().out
