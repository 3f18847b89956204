"""The check of matrix products and convolutions against the peak: what it counts, what it refuses, one tiny run."""

from collections.abc import Iterator

import cnncore
import numpy as np
import pytest

from engine.errors import UserError
from experiments.checks.gemm import __main__ as command
from experiments.checks.gemm import rounds, table
from experiments.checks.gemm.jobs import BATCH, MKL, OPENBLAS, OURS, Job, convolutions_of, products
from experiments.checks.gemm.rounds import Sample
from experiments.checks.gemm.table import Row
from experiments.stats import spread


@pytest.fixture(autouse=True)
def default_threads() -> Iterator[None]:
    yield
    cnncore.set_num_threads(0)


def job(kind: str, name: str, side: str) -> Job:
    return Job(kind, name, side, 2e6, lambda: rounds.ENOUGH)


def row(kind: str, share: float, name: str = "a", side: str = OURS) -> Row:
    return Row(kind, name, side, 1.0, spread([share]), share)


def test_a_share_is_of_the_peak_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([4e9, 6e9])
    monkeypatch.setattr(rounds, "measure_peak", lambda: next(peaks))
    sample, after = rounds.take(job("gemm", "a", OURS), before=rounds.measure_peak())
    assert (sample.peak, after) == (5e9, 6e9)
    assert sample.rate == pytest.approx(2e6 / rounds.ENOUGH) and sample.share == pytest.approx(0.1)


def test_libraries_are_compared_round_by_round() -> None:
    jobs = [job("gemm", "8^3", OURS), job("gemm", "8^3", OPENBLAS), job("direct", "8^3", OURS)]
    samples = [[Sample(2.0, 4.0), Sample(2.0, 2.0)], [Sample(1.0, 4.0), Sample(4.0, 4.0)], [Sample(9.0, 9.0)]]
    found = table.ratios(jobs, samples, OPENBLAS)
    assert (found["8^3"].least, found["8^3"].most) == (1.0, 2.0)
    assert not table.ratios(jobs, samples, MKL)


def test_a_bar_names_what_is_below_it() -> None:
    rows = [row("gemm", 0.86), row("direct", 0.9, "b"), row("direct", 0.8, "c"), row("gemm", 0.1, side=OPENBLAS)]
    found = table.bars(rows, {OPENBLAS: {"a": spread([1.1])}, MKL: {}})
    assert [bool(each.missed) for each in found] == [False, False, False, True, False]
    assert "c 80%" in str(found[3]) and "b 90%" not in str(found[3]) and "1 of 2" in str(found[3])
    assert "not measured" in str(found[2])
    assert table.bars([row("gemm", float("nan"))], {})[0].missed


def test_wrong_products_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = cnncore.sgemm
    monkeypatch.setattr(cnncore, "sgemm", lambda a, b, out: np.multiply(right(a, b, out=out), 1.01, out=out))
    with pytest.raises(UserError, match=r"sgemm 24\^3: cnncore and numpy differ"):
        products(24)


def test_every_pass_is_measured_with_both_algorithms() -> None:
    jobs = convolutions_of(32)
    passes = ["forward", "backward_data", "backward_weights"]
    assert sorted((each.kind, each.name.split(", ")[1]) for each in jobs) == sorted(
        (kind, direction) for kind in ("direct", "winograd") for direction in passes
    )
    assert all(each.flops == 2.0 * BATCH * 9 * 32 * 32 * 32 * 32 for each in jobs)
    assert {each.kind for each in convolutions_of(16)} == {"direct"}


def test_a_tiny_run_prints_every_row_and_keeps_the_threads(capsys: pytest.CaptureFixture[str]) -> None:
    cnncore.set_num_threads(2)
    status = command.main(["--rounds", "1", "--sizes", "64", "--channels", "32"])
    out = capsys.readouterr().out
    assert status == int("MISSED" in out)
    assert out.count("gemm      64^3") >= 2 and out.count("direct    32->32") == out.count("winograd  32->32") == 3
    assert cnncore.get_num_threads() == 2


def test_bad_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--rounds", "0"], ["--sizes", "0"], ["--channels", "a"]):
        with pytest.raises(SystemExit) as stopped:
            command.main(options)
        assert stopped.value.code == 2
    assert "error" in capsys.readouterr().err
