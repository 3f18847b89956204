"""Our networks in the engines that read ONNX models, each in a process of its own, as in a measurement."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the onnx package is not installed: pip install onnx")

from experiments.peers.cases import Case
from experiments.peers.frameworks import FRAMEWORKS, OURS
from experiments.peers.job import INFERENCE, INT8, OURS_FLOAT, STATIC
from experiments.peers.protocol import Settings, measure

# Modules that a side needs here, and its largest error: that of MNN's algorithms is larger than that of float32.
NEEDED = {
    "onnxruntime": (["onnxruntime"], 1e-5),
    "openvino": (["openvino"], 1e-5),
    "mnn": (["MNN"], 1e-3),
    "ncnn": (["ncnn", "pnnx"], 1e-4),
    "litert": (["ai_edge_litert", "litert_torch", "torch"], 1e-5),
    "tract": (["tract"], 1e-5),
}
# Of integers: the engines, and how far from ours they may be. The softmax behind the integers is each one's own. Two
# quantise by themselves, or not at all. OpenVINO is not held to anything: 2026.4.1 does not round the branch of a
# residual, and gives `lenet` of a fixed batch other values on one thread than on two.
INTEGERS = {"onnxruntime": 1e-6, "tract": 1e-6, STATIC: 0.2, OURS_FLOAT: 0.2}
NETWORKS = ["lenet", "resnet20", "mobilenet_v2", "unet", "odd_33"]
ONCE = Settings(rounds=1, turn=1e-9)


def test_every_engine_that_reads_models_is_tested() -> None:
    engines = {task: {name for name, each in FRAMEWORKS.items() if task in each.usual} for task in (INFERENCE, INT8)}
    assert set(NEEDED) == {name for name in engines[INFERENCE] if FRAMEWORKS[name].reads}
    assert set(INTEGERS) == engines[INT8] - {"openvino"}


def need(side: str, modules: list[str]) -> None:
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        pytest.skip(f"{side} needs {', '.join(missing)}, which is not installed")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("side", NEEDED)
def test_an_engine_gives_our_outputs(side: str, network: str, tmp_path: Path) -> None:
    modules, largest = NEEDED[side]
    need(side, modules)
    case = Case(network, INFERENCE, None, 2, 1)
    record = measure(case, [side], dict.fromkeys((OURS, side), sys.executable), tmp_path, ONCE)
    assert not record.left_out
    ours, theirs = record.sides[OURS], record.sides[side]
    assert ours.error is not None and ours.error < 1e-5
    assert theirs.error is not None and theirs.error < largest
    assert theirs.difference <= 1.1 * (ours.error + theirs.error)
    assert theirs.calls == 1 and theirs.p95 == theirs.p99 == theirs.seconds[0]


@pytest.mark.parametrize("network", ["lenet", "resnet20"])
@pytest.mark.parametrize("side", INTEGERS)
def test_an_engine_gives_our_integers(side: str, network: str, tmp_path: Path) -> None:
    engine = side.partition("-")[0]
    need(side, [] if side == OURS_FLOAT else NEEDED[engine][0])
    record = measure(
        Case(network, INT8, None, 2, 1), [side], dict.fromkeys((OURS, side), sys.executable), tmp_path, ONCE
    )
    assert not record.left_out
    assert record.sides[side].difference <= INTEGERS[side]
    assert record.best == (None if side == OURS_FLOAT else side)
