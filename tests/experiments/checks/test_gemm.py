"""The check of matrix products and convolutions against the peak: what it counts, what it refuses, one tiny run."""

from collections.abc import Iterator

import cnncore
import numpy as np
import pytest

from engine.errors import UserError
from experiments.checks import gemm
from experiments.checks.gemm import Job, Row, Sample
from experiments.stats import spread


@pytest.fixture(autouse=True)
def default_threads() -> Iterator[None]:
    yield
    cnncore.set_num_threads(0)


def job(kind: str, name: str, side: str) -> Job:
    return Job(kind, name, side, 2e6, lambda: gemm.ENOUGH)


def row(kind: str, share: float, name: str = "a", side: str = gemm.OURS) -> Row:
    return Row(kind, name, side, 1.0, spread([share]), share)


def test_a_share_is_of_the_peak_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([4e9, 6e9])
    monkeypatch.setattr(gemm, "measure_peak", lambda: next(peaks))
    sample, after = gemm.take(job("gemm", "a", gemm.OURS), before=gemm.measure_peak())
    assert (sample.peak, after) == (5e9, 6e9)
    assert sample.rate == pytest.approx(2e6 / gemm.ENOUGH) and sample.share == pytest.approx(0.1)


def test_libraries_are_compared_round_by_round() -> None:
    jobs = [job("gemm", "8^3", gemm.OURS), job("gemm", "8^3", gemm.OPENBLAS), job("direct", "8^3", gemm.OURS)]
    samples = [[Sample(2.0, 4.0), Sample(2.0, 2.0)], [Sample(1.0, 4.0), Sample(4.0, 4.0)], [Sample(9.0, 9.0)]]
    found = gemm.ratios(jobs, samples, gemm.OPENBLAS)
    assert (found["8^3"].least, found["8^3"].most) == (1.0, 2.0)
    assert not gemm.ratios(jobs, samples, gemm.MKL)


def test_a_bar_names_what_is_below_it() -> None:
    rows = [row("gemm", 0.86), row("direct", 0.9, "b"), row("direct", 0.8, "c"), row("gemm", 0.1, side=gemm.OPENBLAS)]
    found = gemm.bars(rows, {gemm.OPENBLAS: {"a": spread([1.1])}, gemm.MKL: {}})
    assert [bool(each.missed) for each in found] == [False, False, False, True, False]
    assert "c 80%" in str(found[3]) and "b 90%" not in str(found[3]) and "1 of 2" in str(found[3])
    assert "not measured" in str(found[2])
    assert gemm.bars([row("gemm", float("nan"))], {})[0].missed


def test_wrong_products_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = cnncore.sgemm
    monkeypatch.setattr(cnncore, "sgemm", lambda a, b, out: np.multiply(right(a, b, out=out), 1.01, out=out))
    with pytest.raises(UserError, match=r"sgemm 24\^3: cnncore and numpy differ"):
        gemm.products(24)


def test_every_pass_is_measured_with_both_algorithms() -> None:
    jobs = gemm.convolutions_of(32)
    passes = ["forward", "backward_data", "backward_weights"]
    assert sorted((each.kind, each.name.split(", ")[1]) for each in jobs) == sorted(
        (kind, direction) for kind in ("direct", "winograd") for direction in passes
    )
    assert all(each.flops == 2.0 * gemm.BATCH * 9 * 32 * 32 * 32 * 32 for each in jobs)
    assert {each.kind for each in gemm.convolutions_of(16)} == {"direct"}


def test_a_tiny_run_prints_every_row_and_keeps_the_threads(capsys: pytest.CaptureFixture[str]) -> None:
    cnncore.set_num_threads(2)
    status = gemm.main(["--rounds", "1", "--sizes", "64", "--channels", "32"])
    out = capsys.readouterr().out
    assert status == int("MISSED" in out)
    assert out.count("gemm      64^3") >= 2 and out.count("direct    32->32") == out.count("winograd  32->32") == 3
    assert cnncore.get_num_threads() == 2


def test_bad_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--rounds", "0"], ["--sizes", "0"], ["--channels", "a"]):
        with pytest.raises(SystemExit) as stopped:
            gemm.main(options)
        assert stopped.value.code == 2
    assert "error" in capsys.readouterr().err
