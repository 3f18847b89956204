"""Our networks in ONNX Runtime: what the adapter writes predicts what the engine does."""

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the onnx package is not installed: pip install onnx")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: pip install onnxruntime")

from experiments.peers.adapters import onnxruntime as adapter
from experiments.peers.adapters import ours as our_adapter
from experiments.peers.cases import Case, network_of, write_job
from experiments.peers.job import INFERENCE
from experiments.peers.protocol import agrees, difference


@pytest.mark.parametrize("network", ["lenet", "vgg3_bn_dropout", "resnet20", "airbench94", "mobilenet_v2", "unet"])
def test_both_predict_the_same(network: str, tmp_path: Path) -> None:
    case = Case(network, INFERENCE, None, 1, 1)
    job = write_job(case, network_of(case), tmp_path)
    adapter.export(job)
    ours, theirs = our_adapter.prepare(job, "ours").call(), adapter.prepare(job, "onnxruntime").call()
    assert agrees(case, difference(case, ours, theirs))
    if ours.ndim == 2:
        assert ours.max() < 0.999, "outputs that are 0 and 1 would hide a difference"
