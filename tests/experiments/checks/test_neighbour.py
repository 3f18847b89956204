"""The check of what a neighbour costs, on made-up times and on one real process."""

import pytest

from experiments.checks.neighbour import __main__ as command
from experiments.checks.neighbour import measuring


def made_up(step_beside):
    def measure(network, batch, seconds):
        beside = 2e-4 if batch == 1 else step_beside
        return {measuring.ALONE: 1e-4, measuring.BESIDE: beside, measuring.SINGLE: 1.9e-4}

    return measure


@pytest.mark.parametrize(("beside", "status"), [(1.7e-4, 0), (2.5e-4, 1)])
def test_a_step_has_to_keep_its_share(beside, status, monkeypatch, capsys):
    monkeypatch.setattr(measuring, "measure", made_up(beside))
    assert command.main(["--rounds", "3"]) == status
    out = capsys.readouterr().out
    assert f"{1e-4 / beside:.2f}" in out and out.count("step 64") == 3
    assert ("FAILED" in out) == bool(status)


def test_a_process_measures_and_the_busy_one_ends():
    with measuring.busy():
        beside = measuring.in_a_process("lenet", 1, 0.01, 2)
    assert 0 < beside < 10
