"""Runs on the workers of a Dask scheduler: the results of one after the other, whoever dies and wherever files lie."""

import dataclasses
import os
import signal
import struct
import sys
import time

import numpy as np
import pytest

pytest.importorskip("distributed", reason="needs the extra [cluster]")

from engine.errors import UserError
from experiments.ablation import parse_arguments
from experiments.checks.kill_study import workers
from experiments.choosing import chosen_scheduler, executor_of
from experiments.cluster import cluster, local_workers, members, scheduler, worker
from experiments.cluster.cluster import DEATHS, Cluster
from experiments.cluster.local_workers import LocalWorkers
from experiments.cluster.scheduler import Scheduler, parse_scheduler
from experiments.records.planned import planned_graph
from experiments.records.store import Store
from experiments.running import runner
from experiments.running.execute import Job
from experiments.running.executors import usable_cores
from experiments.study.read import parse_study
from tests.experiments.running.test_executors import comparable
from tests.experiments.running.test_runner import STUDY, Listener

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to find processes in")

MNIST = """
name: digits
title: A tiny study of a set in the data root
metric: val_accuracy
seeds: [0, 1]
base:
  dataset: {name: mnist, train: {split: train}}
  split: {kind: fraction, fraction: 0.25, seed: 0}
  preprocess: {size: [28, 28]}
  model: {name: mnist_cnn}
  batch_size: 8
  epochs: 2
rows:
  - {name: plain, changes: {}}
"""


def job_of(folder, text=STUDY, overrides=()):
    store = Store(folder)
    task = planned_graph(parse_study(text, "tiny.yaml", overrides), store).tasks[0]
    return Job(task.run, task.run.config, store.folder(task.run))


# ---- what needs no worker ----


@pytest.mark.parametrize(
    "text",
    ["tcp:/x", "tcp://host", "tcp://host:0", "tcp://host:99999", "http://host:80", "local", "local:x", "", "host:8786"],
)
def test_a_wrong_address_is_refused(text):
    with pytest.raises(UserError, match=r"--scheduler takes tcp://HOST:PORT or local:N, got"):
        parse_scheduler(text)


def test_addresses_and_numbers_of_workers_are_understood():
    assert parse_scheduler("tcp://10.0.0.1:8786") == Scheduler(address="tcp://10.0.0.1:8786")
    assert parse_scheduler("tls://[::1]:8786").address == "tls://[::1]:8786"
    assert parse_scheduler("local:1") == Scheduler(workers=1)
    for number in (0, usable_cores() + 1):
        with pytest.raises(UserError, match=rf"local:{number}: .* must be in 1..{usable_cores()}"):
            parse_scheduler(f"local:{number}")


def test_options_that_contradict_a_scheduler_are_refused():
    with pytest.raises(UserError, match="-j 2 and --scheduler local:1 .*drop -j"):
        chosen_scheduler(parse_arguments(["-j", "2", "--scheduler", "local:1"]))
    with pytest.raises(UserError, match="drop --scheduler"):
        chosen_scheduler(parse_arguments(["--search", "--scheduler", "local:1"]))
    assert chosen_scheduler(parse_arguments(["-j", "2"])) is None


def test_without_the_extra_one_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "\.\[cluster\]"'):
        executor_of(parse_arguments([]), Scheduler(workers=1), Store(tmp_path))


def test_nobody_at_an_address_is_one_error(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with pytest.raises(UserError, match=r"--scheduler tcp://127.0.0.1:9: no Dask scheduler answered within 0.5 s"):
        Cluster(parse_scheduler("tcp://127.0.0.1:9"), tmp_path)


def test_a_run_that_kills_its_workers_has_failed(tmp_path):
    executor, job = Cluster(Scheduler(workers=1), tmp_path), job_of(tmp_path)
    held = members.Held(job, executor._order(job))
    for death in range(1, 2 * DEATHS):
        if death == DEATHS:
            held.epochs += 1  # the count begins anew where the run gets on
        executor._lose(members.Member(f"tcp://host:{death}", "busy", held=held))
        assert list(executor._queue) == [held] * (death if death < 2 * DEATHS - 1 else death - 1)
    (result,) = executor._ended
    assert result.status == "failed" and f"{DEATHS} workers died in this run" in result.error


def test_a_worker_refuses_a_run_that_would_be_another_one_there(tmp_path):
    job = job_of(tmp_path)
    order = Cluster(Scheduler(workers=1), tmp_path)._order(job)
    assert worker.refusal(order) == ""
    assert "other code" in worker.refusal(dataclasses.replace(order, code="0" * 64))
    assert "instruction set here" in worker.refusal(dataclasses.replace(order, key="0" * 64))


# ---- workers on this machine ----


def test_a_worker_that_is_killed_while_it_begins_is_replaced(monkeypatch):
    local = LocalWorkers(1)
    try:
        for kills in range(2):
            process = local._processes[0]
            process.kill()
            process.join()
            monkeypatch.setattr(local_workers, "FALSE_STARTS", 1)
            if kills:
                with pytest.raises(UserError, match="end as soon as they begin"):
                    local.tend(welcomed=False)
            else:
                local.tend(welcomed=False)
                assert local._processes[0] is not process and local._processes[0].is_alive()
    finally:
        local.close()


class Killer(Listener):
    """Kills a worker once the first epoch of a run has ended."""

    killed = 0

    def epoch(self, run, record):
        super().epoch(run, record)
        if not self.killed:
            self.killed = workers(os.getpid())[0]
            os.kill(self.killed, signal.SIGKILL)


@linux
@pytest.mark.skipif(usable_cores() < 2, reason="needs two usable cores")
def test_a_killed_worker_costs_nothing_but_time(tmp_path):
    study = dataclasses.replace(parse_study(STUDY, "tiny.yaml", ["epochs=15"]), seeds=(0,))  # long enough to be hit
    serial = runner.run_study(study, Store(tmp_path / "serial"), Listener())
    listener, store = Killer(), Store(tmp_path / "cluster")
    results = runner.run_study(study, store, listener, executor=Cluster(parse_scheduler("local:2"), store.root))
    assert listener.killed and listener.repeated == [False] * 2
    assert comparable(results) == comparable(serial)
    assert not workers(os.getpid()) and not list(store.root.glob(".runner-*"))


# ---- a scheduler elsewhere, whose worker has a disk of its own ----


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A scheduler with one worker that has no data: (address, the worker's folder)."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with pytest.MonkeyPatch.context() as patch:  # which a process that is begun inherits
        patch.setenv("CNN_DATA", str(folder / "nothing"))
        patch.setenv("DASK_TEMPORARY_DIRECTORY", str(folder))
        local = LocalWorkers(1)
    yield local.address, folder / "dask-scratch-space" / worker.FOLDER
    local.close()


class Elsewhere(Cluster):
    """Its workers see neither the store nor the paths of this side."""

    def _order(self, job):
        order = super()._order(job)
        return dataclasses.replace(order, token=order.token.with_name("unseen"), configs=order.configs[:1])


def write_idx(path, array):
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist(folder):
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, count in (("train", 40), ("t10k", 10)):
        write_idx(folder / f"{name}-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28)))
        write_idx(folder / f"{name}-labels-idx1-ubyte", np.arange(count) % 10)


def test_data_are_sent_once_and_the_folder_of_the_run_comes_back(tmp_path, served, monkeypatch, capsys):
    address, kept = served
    monkeypatch.setenv("CNN_DATA", str(tmp_path / "data"))
    write_mnist(tmp_path / "data" / "mnist")
    study = parse_study(MNIST, "digits.yaml")
    serial = runner.run_study(study, Store(tmp_path / "serial"), Listener())
    store, listener = Store(tmp_path / "store"), Listener()
    results = runner.run_study(study, store, listener, executor=Elsewhere(parse_scheduler(address), store.root))
    assert comparable(results) == comparable(serial) and listener.epochs == 4
    assert capsys.readouterr().err.count("sending") == 1
    assert len(list((kept / "data").iterdir())) == 1 and not list((kept / "runs").iterdir())
    for one, other in zip(serial, results):
        assert other.folder.is_relative_to(store.root)
        names = [{path.name for path in folder.iterdir()} - {".lock"} for folder in (one.folder, other.folder)]
        assert names[0] == names[1]
    listener = Listener()
    runner.run_study(study, store, listener)
    assert listener.repeated == [True, True]


def test_a_run_that_fails_elsewhere_says_why(tmp_path, served):
    study = parse_study(STUDY, "tiny.yaml", ["preprocess.size=[14,14]"])
    study = dataclasses.replace(study, seeds=(0,), rows=study.rows[:1])
    executor = Elsewhere(parse_scheduler(served[0]), tmp_path)
    (result,) = runner.run_study(study, Store(tmp_path), Listener(), executor=executor)
    assert result.status == "failed" and "(3, 14, 14)" in result.error


def test_workers_of_other_code_alone_stop_the_study(tmp_path, served, monkeypatch):
    monkeypatch.setattr(cluster, "code_hash", lambda: "f" * 64)
    store = Store(tmp_path)
    with pytest.raises(UserError, match=r"no worker can train .* other code \(\w{12}\) than the runner \(f{12}\).*pip"):
        runner.run_study(
            parse_study(STUDY, "tiny.yaml"), store, Listener(), executor=Cluster(parse_scheduler(served[0]), tmp_path)
        )
    assert not store.records() and not list(tmp_path.glob("runs/*"))


class Interrupter(Listener):
    def epoch(self, run, record):
        raise KeyboardInterrupt


def test_an_interrupted_study_leaves_no_training_behind(tmp_path, served):
    import distributed

    study = parse_study(STUDY, "tiny.yaml", ["epochs=100000"])
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(study, Store(tmp_path), Interrupter(), executor=Cluster(parse_scheduler(served[0]), tmp_path))
    with distributed.Client(served[0], set_as_default=False) as client:
        deadline = time.monotonic() + 60
        while any(client.run(lambda: worker._state().turn.locked()).values()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
