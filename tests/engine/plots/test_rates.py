"""The plot of a search for a learning rate, and the command that makes it."""

import sys

import pytest
import yaml

from engine import train
from engine.cli import run
from engine.plots.rates import draw_rates
from engine.training.schedules.finder import Sweep
from tests.engine.small import small_config, write_archive

SWEEP = Sweep((0.001, 0.01, 0.1), (2.0, 1.0, 9.0), (2.0, 1.5, 3.0), 0.01, 0.001, True)


def test_the_figure_shows_both_lines_and_both_proposals():
    (axes,) = draw_rates(SWEEP).axes
    assert axes.get_xscale() == "log"
    dots, smoothed, steepest, tenth = axes.get_lines()
    assert tuple(dots.get_ydata()) == SWEEP.losses and tuple(smoothed.get_ydata()) == SWEEP.smoothed
    assert steepest.get_xdata()[0] == 0.01 and tenth.get_xdata()[0] == 0.001
    assert axes.get_ylim()[1] < 9.0  # a step far off does not flatten the rest
    assert draw_rates(Sweep((0.1,) * 5, (1.0,) * 5, (1.0,) * 5, 0.1, 0.01, False)).axes


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["engine.train", *map(str, arguments)])
    return run(train.main)


def test_the_command_prints_the_table_and_writes_the_figure_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(small_config(write_archive(tmp_path / "data.npz"))))
    before = set(tmp_path.iterdir())
    assert command(monkeypatch, config, "--find-lr", "--figure", "rates.png") == 0
    out = capsys.readouterr().out
    assert "smoothed" in out and "steepest fall at" in out and "written: rates.png" in out
    assert set(tmp_path.iterdir()) - before == {tmp_path / "rates.png"}
    assert command(monkeypatch, config, "--find-lr") == 0 and "steepest" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--figure", "a.png"), "--figure belongs to --find-lr"), (("--find-lr", "--figure", "a.txt"), "ends in .png")],
)
def test_mistakes_are_told_at_once(monkeypatch, capsys, arguments, message):
    try:
        code = command(monkeypatch, "none.yaml", *arguments)
    except SystemExit as error:
        code = error.code
    assert code == 2 and message in capsys.readouterr().err
