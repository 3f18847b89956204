"""The check of how near streaming layers come to the cache's bandwidth."""

import cnncore
import numpy as np
import pytest

from engine.cli import run
from experiments.checks import streaming
from experiments.measuring.networks import chosen
from experiments.stats import spread


def test_all_is_read_but_a_rest() -> None:
    before = cnncore.get_num_threads()
    try:
        for threads in (1, 3):
            cnncore.set_num_threads(threads)
            assert cnncore.read_burst(np.ones(130, np.float32), 7) == 7 * 128 * 4
        assert cnncore.read_burst(np.ones(0, np.float32), 7) == 0
        assert streaming.read(np.ones(1 << 18, np.float32)) > 0
    finally:
        cnncore.set_num_threads(before)


def test_layers_with_many_weights_are_measured() -> None:
    before = cnncore.get_num_threads()
    try:
        found = streaming.measure(chosen(["model3"])[0], 1, rounds=2)
    finally:
        cnncore.set_num_threads(before)
    assert found.layers == 2 and found.size == 4 * (1152 * 1024 + 1024 * 512)  # the last layer has few weights
    assert found.share.median == pytest.approx(found.rate.median / found.bandwidth.median, rel=0.5)


@pytest.mark.parametrize("share, status", [(0.81, 0), (0.79, 1)])
def test_the_verdict(
    share: float, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = streaming.Streaming("model3", 2, 2, 1 << 20, spread([share * 1e11]), spread([1e11]), spread([share]))
    monkeypatch.setattr(streaming, "measure", lambda case, threads, rounds: one)
    assert streaming.main(["--threads", "2"]) == status
    assert ("MISSED by model3 on 2" in capsys.readouterr().out) == bool(status)


@pytest.mark.parametrize(
    "arguments, named", [(["--rounds", "0"], "--rounds"), (["--networks", "lenet"], "lenet has 256 KiB")]
)
def test_bad_arguments(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = cnncore.get_num_threads()
    try:
        assert run(lambda: streaming.main(arguments)) == 2
    finally:
        cnncore.set_num_threads(before)
    assert named in capsys.readouterr().err
