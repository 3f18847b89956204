"""What the options of `python -m experiments.ablation` choose: study, store, and where runs are trained."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.errors import UserError
from experiments.cluster.scheduler import Scheduler, parse_scheduler, require_distributed
from experiments.options import parse_seeds
from experiments.records.store import Store
from experiments.running.executors import Executor, InProcess, Processes
from experiments.study.read import load_study, select
from experiments.study.study import Study
from experiments.tasks.fingerprint import Fingerprints


def chosen_rows(options: argparse.Namespace) -> list[str]:
    """The names after --rows; none for all."""
    return [name.strip() for name in options.rows.split(",")] if options.rows else []


def chosen_study(options: argparse.Namespace) -> Study:
    """The study that the options describe."""
    whole = load_study(options.study or "quickstart", options.overrides, options.budget)
    return select(whole, chosen_rows(options), parse_seeds(options.seeds))


def chosen_scheduler(options: argparse.Namespace) -> Scheduler | None:
    """What --scheduler says, if it is given; UserError beside another option that it contradicts."""
    if options.scheduler is None:
        return None

    scheduler = parse_scheduler(options.scheduler)
    if options.jobs is not None:
        raise UserError(
            f"-j {options.jobs} and --scheduler {options.scheduler} both say how many runs are trained at a time: "
            "drop -j (a scheduler has one run for each of its workers; local:N starts N of them)"
        )
    if options.search:
        raise UserError("--search trains one trial after the other, in this process: drop --scheduler")
    return scheduler


def jobs_of(options: argparse.Namespace) -> int:
    """How many runs are trained at a time on this machine."""
    scheduler = chosen_scheduler(options)
    if scheduler is not None:
        return scheduler.workers
    return 1 if options.jobs is None else options.jobs


def executor_of(options: argparse.Namespace, scheduler: Scheduler | None, store: Store) -> Executor:
    """What trains: this process, several ones, or workers of a cluster."""
    if scheduler is not None:
        require_distributed()
        from experiments.cluster.cluster import Cluster  # only now: an optional package, and slow to load

        return Cluster(scheduler, store.root, Fingerprints(store.notes("data")))
    jobs = jobs_of(options)
    return InProcess() if jobs == 1 else Processes(jobs)


def store_of(options: argparse.Namespace, study: Study) -> Store:
    return Store(options.out or Path("runs") / study.name)
