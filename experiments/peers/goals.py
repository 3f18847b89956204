"""What we want to be: least ratios to the best peer (training, int8) and to ONNX Runtime (inference), as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.peers.cases import Case
from experiments.peers.job import ADAM, INFERENCE, INT8, SGD, TRAINING
from experiments.peers.records import CaseRecord, best_ratio, geometric_mean
from experiments.stats import spread

Kind = tuple[str, str | None, int, int]  # task, optimizer, batch, threads: other kinds have no goal

# By network; "" stands for every other one.
TRAINING_STEP = {
    "lenet": 5.0, "model3": 3.5, "mnist_cnn": 3.0, "vgg3": 3.0, "vgg3_bn_dropout": 3.0, "scene_15": 5.0, "": 2.0,
}  # fmt: skip
TRAINING_MEAN = 3.5
WITH_ADAM = 0.9  # of these

GOALS: dict[Kind, dict[str, float]] = {
    (TRAINING, SGD, 64, 2): TRAINING_STEP,
    (TRAINING, ADAM, 64, 2): {network: WITH_ADAM * least for network, least in TRAINING_STEP.items()},
    (INFERENCE, None, 1, 2): {"lenet": 2.0, "mnist_cnn": 2.0, "vgg3": 2.0, "model3": 1.7, "": 1.2},
    (INFERENCE, None, 8, 2): {"": 1.2},
    (INFERENCE, None, 64, 2): {"": 1.5},
    (INFERENCE, None, 256, 2): {"": 1.2},
    (INT8, None, 1, 2): {"": 1.5},
}
MEAN_GOALS: dict[Kind, float] = {
    (TRAINING, SGD, 64, 2): TRAINING_MEAN,
    (TRAINING, ADAM, 64, 2): WITH_ADAM * TRAINING_MEAN,
}
JUDGED_BY = {INFERENCE: "onnxruntime"}


@dataclass(frozen=True)
class Verdict:
    """A measured ratio beside the least that is wanted."""

    what: str
    ratio: float
    goal: float

    @property
    def reached(self) -> bool:
        return self.ratio >= self.goal


def goal_of(case: Case) -> float | None:
    by_network = GOALS.get((case.task, case.optimizer, case.batch, case.threads), {})
    return by_network.get(case.network, by_network.get(""))


def judged_ratio(record: CaseRecord) -> float | None:
    """The ratio that the goal is about; None where that peer was not timed."""
    peer = JUDGED_BY.get(record.case.task)
    if peer is None:
        return best_ratio(record)
    return spread(record.ratios(peer)).median if peer in record.peers else None


def verdicts(records: Sequence[CaseRecord]) -> list[Verdict]:
    """Of every case with a goal, and of the geometric means."""
    result = []
    for record in records:
        goal, ratio = goal_of(record.case), judged_ratio(record)
        if goal is not None and ratio is not None:
            result.append(Verdict(str(record.case), ratio, goal))
    for (task, optimizer, batch, threads), goal in MEAN_GOALS.items():
        chosen = [
            each
            for each in records
            if (each.case.task, each.case.optimizer, each.case.batch, each.case.threads)
            == (task, optimizer, batch, threads)
        ]
        mean = geometric_mean([ratio for each in chosen if (ratio := best_ratio(each)) is not None])
        if mean is not None:
            kind = ", ".join(filter(None, (task, optimizer, f"batch {batch}", f"{threads} threads")))
            result.append(Verdict(f"geometric mean, {kind}", mean, goal))
    return result
