"""`python -m engine.profile`: every op with its time, and mistakes in one line."""

import json
import subprocess
import sys

import pytest

from engine.inspection import profile
from engine.models.numtadb import lenet
from engine.plots.roofline import draw_roofline


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(profile, "SECONDS", 0.02)
    monkeypatch.setattr(profile, "STREAM_BYTES", 1 << 20)
    monkeypatch.setattr(profile, "PEAK_SECONDS", 0.002)


@pytest.mark.parametrize("mode", profile.MODES)
def test_every_instruction_has_a_line(mode):
    net = lenet()
    before = net.parameters()
    result = profile.profile(net, "lenet", mode, 4)
    plan = net.plan(4, mode == "training")
    assert [op.op for op in result.ops][: len(plan.instructions)] == [i.op for i in plan.instructions]
    assert all(op.seconds > 0 and op.estimate > 0 and op.peak >= 0 for op in result.ops)
    assert 1 <= result.workers <= result.threads and result.begun > 0
    assert all(op.waited >= 0 for op in result.ops) and (result.workers > 1 or all(op.waited == 0 for op in result.ops))
    assert sum(op.waited for op in result.ops) < 10 * result.seconds
    assert result.peak_flops > 1e8 and result.bandwidth > 1e7 and result.runs >= profile.FEWEST
    table = profile.render(result).split("\n\n")[1].splitlines()
    assert [line.split()[1] for line in table[1:-1]] == [op.op for op in result.ops]
    assert all((before[key] == array).all() for key, array in net.parameters().items())


def test_a_roofline_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "roof.png"
    draw_roofline(profile.profile(lenet(), "lenet", "inference", 2), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def command(*arguments):
    return subprocess.run([sys.executable, "-m", "engine.profile", *arguments], capture_output=True, text=True)


def test_json_comes_from_the_command():
    done = command("lenet", "--batch", "2", "--mode", "inference", "--threads", "1", "--json")
    content = json.loads(done.stdout)
    assert (content["batch"], content["threads"], done.returncode) == (2, 1, 0)
    assert {"op", "seconds", "waited", "flops", "peak"} <= set(content["ops"][0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenot"], "lenet"),
        (["lenet", "--batch", "0"], "batch"),
        (["lenet", "--threads", "9999"], "--threads"),
        (["lenet", "--out", "/nowhere/at/all.png"], "/nowhere/at"),
        (["scene_15", "--batch", "1"], "two samples"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments, message):
    done = command(*arguments)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1
