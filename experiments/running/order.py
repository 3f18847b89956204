"""Which run goes first where several are trained at a time: the one that the end of the study waits for the longest.

A long run that begins last is trained alone in the end, beside idle cores. So those that can begin are taken by the
length of the longest path from them to the end of the graph, in epochs times the cost model's seconds of a sample: what
needs a run comes after it and adds to it. The same number of samples in all runs is assumed, as in `eta.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.errors import UserError
from engine.recipe.config import TrainConfig
from experiments.running.eta import modelled_seconds
from experiments.tasks.graph import Task


def longest_first(tasks: Sequence[Task], modelled: Callable[[TrainConfig], float] = modelled_seconds) -> list[Task]:
    """The tasks, each behind what it needs and otherwise the longest path first; equal ones stay in their order.

    tasks: each behind what it needs.
    """
    per_row: dict[str, float] = {}

    def cost(task: Task) -> float:
        row = task.run.row
        if row not in per_row:
            per_row[row] = _per_sample(task.run.config, modelled)
        return task.run.config.epochs * per_row[row]

    behind: dict[str, float] = {}  # of the longest path that begins behind the run of this key
    length: dict[str, float] = {}
    for task in reversed(tasks):
        key = task.run.key
        length[key] = cost(task) + behind.get(key, 0.0)
        for needed in task.needs:
            behind[needed] = max(behind.get(needed, 0.0), length[key])
    return sorted(tasks, key=lambda task: -length[task.run.key])  # stable: a run never overtakes one that it needs


def _per_sample(config: TrainConfig, modelled: Callable[[TrainConfig], float]) -> float:
    try:
        return modelled(config)
    except UserError:  # its training will end with this error at once
        return 0.0
