"""Where nothing can be written the error names the file that was to be written, and looking works all the same."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from engine import cli, files
from engine.network import checkpoint
from engine.plots.canvas import new_figure, save
from engine.recipe import fit
from engine.recipe.config import load_config
from engine.training import runlog
from tests.engine.disk import mounted, no_file_longer_than, set_read_only
from tests.engine.small import small_config, small_net, write_archive
from tests.engine.training.test_resume import TRAIN, make_trainer


def fails_at(path, action, *errnos):
    """The action ends with an error that names the path, and leaves nothing half-written."""
    before = {each: each.read_bytes() for each in path.parent.glob("*") if each.is_file()}
    with pytest.raises(OSError, match=f"{re.escape(str(path))}'?$") as told:
        action()
    assert told.value.errno in errnos and told.value.filename == str(path)
    return before == {each: each.read_bytes() for each in path.parent.glob("*") if each.is_file()}


WRITERS = {
    "checkpoint": lambda path: checkpoint.save(small_net(), path),
    "bytes": lambda path: files.write_atomically(path, b"x" * 5000),
    "log": lambda path: files.append_text(path, "x" * 5000),
    "figure": lambda path: save(new_figure(3, 2), path.with_suffix(".png")),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_names_the_file(tmp_path, name):
    if name == "figure":
        pytest.importorskip("matplotlib", reason="needs matplotlib (extra [plots])")
    path = tmp_path / ("target.png" if name == "figure" else "target")
    path.write_bytes(b"")
    with no_file_longer_than(100):
        whole = fails_at(path, lambda: WRITERS[name](path), errno.EFBIG)
    assert whole or name == "log"
    WRITERS[name](path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_so_does_an_error_of_any_other_call(tmp_path, monkeypatch, call):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *map(str, arguments[:1] if call == "replace" else ()))

    owner = Path if call == "replace" else files.os
    monkeypatch.setattr(owner, call, full)
    assert fails_at(tmp_path / "target", lambda: files.write_atomically(tmp_path / "target", b"x"), errno.ENOSPC)


def test_an_error_that_names_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as told, files.replacing(tmp_path / "target"):
        (tmp_path / "nowhere").read_bytes()
    assert told.value.filename == str(tmp_path / "nowhere") and not [*tmp_path.iterdir()]


def test_a_training_names_its_log(tmp_path, monkeypatch):
    def full(path, text):
        with no_file_longer_than(10):
            files.append_text(path, text)

    monkeypatch.setattr(runlog, "append_text", full)
    with pytest.raises(OSError, match="log.jsonl") as told:
        make_trainer(tmp_path).fit(TRAIN, epochs=2)
    assert told.value.filename == str(tmp_path / "log.jsonl")
    monkeypatch.undo()
    history = make_trainer(tmp_path).fit(TRAIN, epochs=2, resume=True)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == len(history.epochs) == 2


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = small_config(write_archive(tmp_path / "small.npz"))
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({**config, "epochs": 2}))
    return tmp_path


def call(module, *arguments, **options):
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CNN_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **options)


def test_every_file_of_a_run_is_named_that_a_full_disk_keeps_from_being_written(place):
    """The files of a run grow from the log to the checkpoints: each limit meets another one first."""
    named = set()
    config = load_config(place / "small.yaml")
    parts = fit.load_data(config, None, "")
    for limit in (1, 300, 1500, 4000):
        trainer = fit.make_trainer(config, place / f"run-{limit}")
        trainer.progress = "none"
        with no_file_longer_than(limit), pytest.raises(OSError, match="run-") as told:
            fit.fit_and_test(config, trainer, *parts, resume=False)
        path = Path(told.value.filename)
        assert path.parent == trainer.out or path == trainer.out
        assert not path.name.endswith(".tmp") and not [*place.glob("run-*/.*.tmp")]
        named.add(path.name)
    assert "best.safetensors" in named and len(named) >= 2


def test_standard_output_is_named_too(place):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    make_trainer(place / "run").fit(TRAIN, epochs=1)
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "engine.summary", str(place / "run" / "last.safetensors")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        told = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert (told.returncode, told.stderr) == (2, f"error: standard output: {os.strerror(errno.ENOSPC)}\n")


def test_a_reader_that_has_gone_is_no_error_to_tell(capsys):
    def gone():
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    assert cli.run(gone) == 2 and capsys.readouterr().err == ""


def test_a_run_on_a_read_only_disk_can_be_looked_at_but_not_gone_on_with(place):
    with mounted(place / "disk", "size=8m") as disk:
        assert call("engine.train", "small.yaml", "--out", disk / "run").returncode == 0
        set_read_only(disk)
        run = disk / "run"
        for module, arguments in {
            "engine.summary": [run / "best.safetensors"],
            "engine.plots": ["curves", run, "--out", place / "curves.png"],
        }.items():
            told = call(module, *arguments)
            assert told.returncode == 0, told.stderr
        for out, options, name in [
            (run, ["--resume", "epochs=3"], run),
            (disk / "new", [], disk / "new"),
        ]:
            told = call("engine.train", "small.yaml", "--out", out, *options)
            assert (told.returncode, told.stderr) == (2, f"error: {name}: {os.strerror(errno.EROFS)}\n")
        told = call(
            "engine.predict", "--checkpoint", run / "best.safetensors", place / "image.png", "--out", run / "p.csv"
        )
        assert told.returncode == 2 and "image.png" in told.stderr


def test_a_disk_that_fills_up_in_training_is_told_of_with_the_file(place):
    with mounted(place / "disk", "size=16k") as disk:
        told = call("engine.train", "small.yaml", "--out", disk / "run")
        assert told.returncode == 2
        assert re.fullmatch(rf"error: {disk}/run/[a-z]+\.\w+: No space left on device", told.stderr.splitlines()[-1])


def test_predictions_that_do_not_fit_name_their_file(place):
    make_trainer(place / "run").fit(TRAIN, epochs=1)
    (place / "images").mkdir()
    for number in range(60):
        cv2.imwrite(str(place / "images" / f"{'long' * 50}-{number}.png"), np.zeros((10, 10), np.uint8))
    with mounted(place / "disk", "size=4k") as disk:
        told = call("engine.predict", "images", "--checkpoint", "run/last.safetensors", "--out", disk / "p.csv")
        assert told.returncode == 2 and told.stderr.startswith(f"error: {disk}/p.csv: "), told.stderr
        assert not [*disk.iterdir()]
