"""Two processes never train in one run folder, and one that was killed keeps nobody out."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from engine.errors import UserError
from engine.files import lock_holder, locked
from engine.training.folder import LOCK
from tests.engine.small import small_config, write_archive
from tests.engine.training.test_resume import TRAIN, CutOff, cut_after, make_trainer

ROOT = Path(__file__).resolve().parents[3]
HERE = f"process {os.getpid()} on {socket.gethostname()}, this one"


@pytest.fixture
def other():
    """Begins processes that hold a run folder until they are killed."""
    begun = []

    def begin(folder):
        code = "import sys, time\nfrom pathlib import Path\nfrom engine.training.folder import only_training\n"
        code += "with only_training(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n"
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        begun.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_folder_that_another_process_trains_in_is_refused_and_left_alone(tmp_path, other):
    out = tmp_path / "run"
    make_trainer(out).fit(TRAIN, epochs=1)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    process = other(out)
    where = f"another training \\(process {process.pid} on {socket.gethostname()}\\) is at work here"
    with pytest.raises(UserError, match=where) as told:
        make_trainer(out).fit(TRAIN, epochs=2, resume=True)
    assert str(out) in str(told.value) and "--out" in str(told.value)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.name != LOCK} == before
    process.send_signal(signal.SIGKILL)
    assert len(make_trainer(out).fit(TRAIN, epochs=2, resume=True).epochs) == 2


def test_a_killed_process_keeps_nobody_out(tmp_path, other):
    process = other(tmp_path)
    process.kill()
    process.wait()
    assert (tmp_path / LOCK).exists() and lock_holder(tmp_path / LOCK) is None
    make_trainer(tmp_path).fit(TRAIN, epochs=1)
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("content", ["", "1\n", "nonsense \0 " * 1000])
def test_what_stands_in_a_lock_that_nobody_holds_does_not_matter(tmp_path, content):
    (tmp_path / LOCK).write_text(content)
    make_trainer(tmp_path).fit(TRAIN, epochs=1)


def test_two_trainers_of_one_process_are_one_too_many(tmp_path):
    def second(record):
        with pytest.raises(UserError, match=f"another training \\({HERE}\\)"):
            make_trainer(tmp_path).fit(TRAIN, epochs=3, resume=True)
        refused.append(record["epoch"])

    refused = []
    make_trainer(tmp_path).fit(TRAIN, epochs=2, callbacks=[second])
    assert refused == [1, 2]
    assert [json.loads(line)["epoch"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 2]


def test_a_run_that_fails_lets_go(tmp_path):
    trainer = make_trainer(tmp_path / "run")
    cut_after(trainer, 3)
    with pytest.raises(CutOff):
        trainer.fit(TRAIN, epochs=1)
    make_trainer(tmp_path / "run").fit(TRAIN, epochs=1, resume=True)


def test_a_run_that_does_not_begin_leaves_no_folder(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path / "run")
    monkeypatch.setattr(trainer, "open_session", lambda batch: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(TRAIN, epochs=1)
    assert not any(tmp_path.iterdir())


def test_without_locks_a_warning_says_so_and_training_goes_on(tmp_path, monkeypatch):
    def none(file, what):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.warns(UserWarning, match="the file system has no locks"):
        make_trainer(tmp_path).fit(TRAIN, epochs=1)


def test_one_of_many_at_a_time(tmp_path):
    """Also where each removes the lock file at its end and others have opened it already."""
    code = (
        "import sys, time, warnings\nfrom pathlib import Path\nfrom engine.files import locked\n"
        "folder = Path(sys.argv[1])\n"
        "for _ in range(40):\n"
        "    with locked(folder / 'lock', str, patience=60):\n"
        "        value = int((folder / 'count').read_text())\n"
        "        time.sleep(0.001)\n"
        "        (folder / 'count').write_text(str(value + 1))\n"
    )
    (tmp_path / "count").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert (tmp_path / "count").read_text() == "160"


def command(name, place, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", f"engine.{name}", str(place / "small.yaml"), "--out", str(place / "run"), *arguments],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def place(tmp_path):
    """A configuration whose training takes a while."""
    config = small_config(write_archive(tmp_path / "small.npz"))
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({**config, "epochs": 60}))
    return tmp_path


@pytest.mark.parametrize("name", ["train", "crossval"])
def test_two_starts_at_once_train_once(place, name):
    options = [] if name == "train" else ["--no-final", "split.folds=2", "split.kind=folds"]
    both = [command(name, place, *options) for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    (refused,) = (error for process, error in zip(both, errors) if process.returncode == 2)
    # Where the machine is slow, the one had ended before the other looked.
    assert "is at work here" in refused or "holds a" in refused
    for log in place.glob("run/**/log.jsonl"):
        assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == list(range(1, 61))
    assert not [*place.rglob(LOCK)]


def test_resume_beside_a_running_training_is_refused(place):
    first = command("train", place)
    log = place / "run" / "log.jsonl"
    while not (log.exists() and log.stat().st_size):
        assert first.poll() is None
        time.sleep(0.01)
    second = command("train", place, "--resume", "epochs=80")
    error = second.communicate()[1]
    first.communicate()
    assert first.returncode == 0
    if second.returncode == 2:  # else the first one had ended before the second looked
        assert f"another training (process {first.pid} on {socket.gethostname()})" in error
    epochs = [json.loads(line)["epoch"] for line in log.read_text().splitlines()]
    assert epochs == list(range(1, len(epochs) + 1))


def test_the_folder_is_held_until_the_result_is_written(place, monkeypatch):
    from engine.recipe import fit
    from engine.recipe.config import load_config

    def evaluate(*arguments):
        assert lock_holder(place / "run" / LOCK) == HERE
        return {"loss": np.nan}

    config = load_config(place / "small.yaml", ["epochs=1"])
    trainer = fit.make_trainer(config, place / "run")
    original = trainer.fit

    def then_measures(*given, **options):
        history = original(*given, **options)
        monkeypatch.setattr(trainer, "evaluate", evaluate)
        return history

    monkeypatch.setattr(trainer, "fit", then_measures)
    train, validation, _ = fit.load_data(config, None, "")
    _, result = fit.fit_and_test(config, trainer, train, validation, validation, resume=False)
    assert "test_loss" in result


def test_the_lock_of_a_moment_is_waited_for(tmp_path):
    import threading

    entered, leave = threading.Event(), threading.Event()

    def briefly():
        with locked(tmp_path / "lock", str):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=briefly)
    thread.start()
    entered.wait()
    threading.Timer(0.2, leave.set).start()
    with locked(tmp_path / "lock", str, patience=60):
        pass
    thread.join()
