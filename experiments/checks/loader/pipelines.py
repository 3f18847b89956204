"""The reports' pipelines: configurations, each with an augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import unknown

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@dataclass(frozen=True)
class Pipeline:
    """A configuration (its file's name) and the augmentation on top of it; one file's images are prepared once."""

    name: str
    config: str
    overrides: tuple[str, ...] = ()


PIPELINES: Mapping[str, Pipeline] = {
    each.name: each
    for each in (
        Pipeline("numtadb", "numtadb"),
        Pipeline("numtadb_contour_cutout", "numtadb", ("augment.contour_cutout={}",)),
        Pipeline("numtadb_mixup", "numtadb", ("augment.mixup=0.2",)),
        Pipeline("mnist", "mnist"),
        Pipeline("scenes_flip", "scenes", ("augment.flip=0.5",)),
        Pipeline("cifar10", "cifar10"),
        Pipeline("cifar10_shift_flip", "cifar10", ("augment.shift=0.1", "augment.flip=0.5")),
        Pipeline("midas", "midas"),
    )
}


def chosen(names: Sequence[str]) -> list[Pipeline]:
    """The pipelines with these names, all of them for none; UserError for a name that does not exist."""
    for name in names:
        if name not in PIPELINES:
            raise unknown("pipeline", name, PIPELINES)
    return [each for each in PIPELINES.values() if not names or each.name in names]
