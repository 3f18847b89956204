"""The check of perceptual hashes: its rows and its table."""

import sys

import pytest

from engine.cli import run
from experiments.checks import perceptual_hashes
from experiments.checks.perceptual_hashes import Collisions, table


def test_the_table_of_a_real_set(data_root, monkeypatch, capsys):
    pytest.importorskip("imagehash", reason="ImageHash is not installed: pip install cnn-engine[dedup]")
    monkeypatch.setattr(sys, "argv", ["check", "--sets", "mnist", "--count", "300", "--data-root", str(data_root)])
    assert run(perceptual_hashes.main) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 4 * 4 and all(line.startswith("| mnist | refused |") for line in lines[2:])
    dropped = [int(line.split("|")[6]) for line in lines[2:]]
    for method in range(4):
        of_one = dropped[4 * method : 4 * method + 4]
        assert of_one == sorted(of_one) and of_one[-1] > 0


def test_shares():
    rows = [Collisions("scenes", "phash", 4, 100, 0, 0), Collisions("mnist", "dhash", 8, 100, 8, 2)]
    assert rows[0].share is None and rows[1].share == 0.25
    assert table(rows).splitlines()[2:] == [
        "| scenes | phash, 4 bits | phash | 4 | 100 | 0 | 0 |  |",
        "| mnist | refused | dhash | 8 | 100 | 8 | 2 | 25.0% |",
    ]
