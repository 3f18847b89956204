"""What outputs are held against: the ONNX model in float64, and the measure of an error."""

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the onnx package is not installed: pip install onnx")

from engine.errors import UserError
from experiments.peers import exact as exactly
from experiments.peers.cases import Case, network_of, scores, write_job
from experiments.peers.job import INFERENCE, MODEL
from experiments.peers.protocol import expected_of

CASE = Case("lenet", INFERENCE, None, 6, 1)


def test_the_model_in_float64_is_near_ours(tmp_path: Path) -> None:
    job = write_job(CASE, network_of(CASE), tmp_path)
    exactly.write_model(job)
    expected, ours = exactly.exact(job), exactly.loaded(job).predict(job.arrays["x"])
    assert expected.dtype == np.float64
    assert expected.shape == (exactly.IMAGES, 10)
    assert 0.0 < exactly.error(expected, ours) < 1e-5
    # Far nearer than any float32: its own rounding is the error of the rounded values.
    assert exactly.error(expected, expected.astype(np.float32)) < 6e-8


def test_an_error_is_a_share_of_the_largest_value() -> None:
    expected = np.array([[4.0, 1.0], [2.0, -8.0]])
    said = np.array([[4.0, 1.5], [2.0, -8.25], [99.0, 99.0]])
    assert exactly.error(expected, said) == 0.5 / 8.0
    assert exactly.error(expected, said[:, :1]) == math.inf
    assert exactly.error(expected, said[:1]) == math.inf
    said[0, 0] = math.nan
    assert math.isnan(exactly.error(expected, said))


def test_the_largest_score_is_1(tmp_path: Path) -> None:
    for network in ("lenet", "unet", "airbench94"):
        case = Case(network, INFERENCE, None, 8, 1)
        job = write_job(case, network_of(case), tmp_path / network)
        assert np.abs(scores(exactly.loaded(job), job.arrays["x"])).max() == pytest.approx(1.0, rel=1e-5)


def test_without_a_model_only_those_that_read_it_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UserError("no onnx here")

    monkeypatch.setattr("experiments.peers.protocol.write_model", refuse)
    left_out: dict[str, str] = {}
    job = write_job(CASE, network_of(CASE), tmp_path)
    assert expected_of(job, ["ours", "torch", "openvino", "tract"], left_out) is None
    assert left_out == {"openvino": "no onnx here", "tract": "no onnx here"}
    assert not (tmp_path / MODEL).exists()
