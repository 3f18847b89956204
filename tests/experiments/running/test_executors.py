"""Runs in processes of their own: the same results as one after the other, and no death that goes unnoticed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from engine.errors import UserError
from experiments.checks import kill_study
from experiments.checks.kill_study import workers
from experiments.records.store import Store
from experiments.running import runner
from experiments.running.executors import Processes, usable_cores
from experiments.study.read import parse_study
from tests.cnncore.test_binding import second_runtime
from tests.cnncore.test_environment import printed
from tests.experiments.running.test_runner import STUDY, Listener

pytestmark = pytest.mark.skipif(
    usable_cores() < 2 or sys.platform != "linux", reason="needs two usable cores, and /proc to find processes in"
)


class Killer(Listener):
    """Kills a worker once the first epoch of a run has ended."""

    def epoch(self, run, record):
        super().epoch(run, record)
        if self.epochs == 1:
            os.kill(workers(os.getpid())[0], signal.SIGKILL)


def comparable(results):
    return [(each.key, each.row, each.seed, each.status, dict(each.metrics), each.best_epoch) for each in results]


def test_more_processes_than_cores_are_refused():
    for jobs in (0, usable_cores() + 1):
        with pytest.raises(UserError, match=f"-j {jobs}: .*1..{usable_cores()}"):
            Processes(jobs)


def test_processes_give_the_results_of_one_after_the_other_and_share_the_cores(tmp_path):
    study = parse_study(STUDY, "tiny.yaml", ["epochs=1"])
    serial = runner.run_study(study, Store(tmp_path / "serial"), Listener())
    executor = Processes(2)
    assert executor.threads == usable_cores() // 2
    listener = Listener()
    parallel = runner.run_study(study, Store(tmp_path / "parallel"), listener, executor=executor)
    assert comparable(parallel) == comparable(serial) and listener.epochs == 4
    assert not workers(os.getpid())


def test_a_process_may_use_all_cores_although_openmp_has_pinned_its_parent(tmp_path):
    code = f"""
import ctypes, os
from experiments.running.executors import Processes, _Worker
ctypes.CDLL({str(second_runtime(tmp_path))!r})
pinned = len(os.sched_getaffinity(0))
worker = _Worker(1)
print(pinned, len(os.sched_getaffinity(worker.process.pid)), Processes(2).threads)
worker.end()
"""
    assert printed(code, OMP_PROC_BIND="true") == f"1 {usable_cores()} {usable_cores() // 2}"


def test_what_openmp_may_use_in_a_process_does_not_say_how_many_processes_there_may_be():
    code = "from experiments.running.executors import Processes; print(Processes(2).threads)"
    assert printed(code, OMP_NUM_THREADS="1") == "1"


def test_a_killed_process_fails_its_run_alone_and_the_next_command_goes_on(tmp_path):
    study = parse_study(STUDY, "tiny.yaml", ["epochs=30"])  # long enough to be hit
    results = runner.run_study(study, Store(tmp_path), Killer(), executor=Processes(2))
    failed = [each for each in results if each.status == "failed"]
    assert len(failed) == 1 and "SIGKILL" in failed[0].error
    listener = Listener()
    again = runner.run_study(study, Store(tmp_path), listener)
    assert [each.status for each in again] == ["finished"] * 4
    assert sorted(listener.repeated) == [False, True, True, True]


def test_workers_end_with_a_runner_that_is_killed(tmp_path):
    arguments = ["--seeds", "0,1", "--rows", "raw", "epochs=1000", "dataset.train.count=60"]
    process = subprocess.Popen(
        kill_study.command(arguments, tmp_path, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300  # on a busy machine
    while not (begun := workers(process.pid)) or not list(tmp_path.glob("runs/*/last.safetensors")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    while any(alive(worker) for worker in begun):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_killed_studies_end_in_the_results_of_an_undisturbed_one(tmp_path, capsys):
    study = ["--seeds", "0", "--rows", "raw,Reverse", "epochs=2", "dataset.train.count=600", "checkpoint_seconds=0.05"]
    assert kill_study.check(study, tmp_path, kills=2, jobs=2, seed=1, move=True)
    told = capsys.readouterr().out
    assert "after 2 kills" in told and "moved 0 times" not in told
