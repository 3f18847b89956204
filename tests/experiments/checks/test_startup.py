"""The check of how soon a fresh process predicts."""

from pathlib import Path

import pytest

from engine.cli import run
from engine.models import make_model
from experiments.checks import startup


def test_a_process_is_timed_until_its_last_line() -> None:
    assert startup.seconds("import time; time.sleep(0.2)") > 0.2


def test_a_process_that_fails_is_not_timed() -> None:
    with pytest.raises(RuntimeError, match="status 3: raise SystemExit"):
        startup.seconds("raise SystemExit(3)")


def test_every_kind_runs_once_a_round(tmp_path: Path) -> None:
    network = tmp_path / "lenet.safetensors"
    make_model("lenet").save(network)
    times = startup.measure(network, rounds=1)
    assert list(times) == list(startup.programs(network)) and all(len(values) == 1 for values in times.values())
    assert times[startup.FIRST][0] > times[startup.NOTHING][0]


@pytest.mark.parametrize(
    "engine, first, wheel, good",
    [(0.13, 0.2, 2 << 20, True), (0.15, 0.2, 1, False), (0.13, 0.31, 1, False), (0.13, 0.2, (2 << 20) + 1, False)],
)
def test_what_is_promised(
    engine: float, first: float, wheel: int, good: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cnn_engine.whl"
    file.write_bytes(bytes(wheel))
    times = {startup.NOTHING: [0.01], startup.NUMPY: [0.1], startup.ENGINE: [engine], startup.FIRST: [first]}
    assert startup.report(times, file) == good
    assert ("FAILED" in capsys.readouterr().out) != good


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--wheel", "nowhere.whl"]])
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: startup.main(arguments)) == 2
    assert arguments[0] in capsys.readouterr().err
