"""The schema of a study, and reading one from YAML.

A study file has the keys of `StudyFile`: `base:` is a training configuration (`engine.config.TrainConfig`) that all
rows share, and `changes:` of a row is what it changes in it. Reading is strict: an unknown key names its nearest valid
one, a missing key and a wrong type are named with the place where they stand. `assumptions:` lists what a published
report leaves open and how it was chosen here; every table shows it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from engine.config import TrainConfig, build_optimizer, build_schedule, read_config
from engine.errors import UserError, unknown
from engine.schema import merge, parse_override, read_mapping

if TYPE_CHECKING:  # the module's place differs between Python 3.10 and later
    from importlib.resources.abc import Traversable


@dataclass(frozen=True)
class PublishedSource:
    """Where the published values come from: the title of their column, and one sentence on the source."""

    title: str = "published"
    source: str = ""


@dataclass(frozen=True)
class PublishedValue:
    """A published value of a row; `note` says what differs where it is not the row's own configuration."""

    value: float
    note: str = ""


@dataclass(frozen=True)
class RowFile:
    """A row as a file gives it: `changes` is merged into the study's base."""

    name: str
    changes: dict[str, Any]
    published: PublishedValue | None = None


@dataclass(frozen=True)
class StudyFile:
    """A study as a file gives it. `metric` picks the best epoch of every run, and its best value is the run's score."""

    name: str
    title: str
    metric: str
    seeds: tuple[int, ...]
    base: dict[str, Any]
    rows: tuple[RowFile, ...]
    published: PublishedSource = PublishedSource()
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One named configuration of a study; its seed is the runs' to set."""

    name: str
    config: TrainConfig
    published: PublishedValue | None = None

    @property
    def learning_rate(self) -> float:
        return build_optimizer(self.config.optimizer).lr


@dataclass(frozen=True)
class Study:
    """A study: rows, each trained once per seed. `overrides` were laid over all rows, whatever the file says."""

    name: str
    title: str
    metric: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    published: PublishedSource = PublishedSource()
    assumptions: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()


def parse_study(text: str, where: str, overrides: Iterable[str] = ()) -> Study:
    """Read a study from YAML text; `where` stands for it in errors. Overrides are laid over the configuration of every
    row."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from None
    given = read_mapping(StudyFile, content, where)
    if not given.rows or not given.seeds:
        raise UserError(f"{where}: a study needs at least one row and one seed")
    _refuse_repeats(where, "row", [row.name for row in given.rows])
    _refuse_seeds(where, given.seeds)
    on_top: dict[str, Any] = {"metric": given.metric}
    overrides = tuple(overrides)
    for override in overrides:
        on_top = merge(on_top, parse_override(override))
    rows = tuple(_read_row(row, given.base, on_top, where) for row in given.rows)
    return Study(
        given.name, given.title, given.metric, given.seeds, rows, given.published, given.assumptions, overrides
    )


def _read_row(row: RowFile, base: Mapping[str, Any], on_top: Mapping[str, Any], where: str) -> Row:
    place = f"{where}, row {row.name!r}"
    config = read_config(merge(merge(base, row.changes), on_top), place)
    try:
        build_optimizer(config.optimizer)
        build_schedule(config.schedule)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    return Row(row.name, config, row.published)


def _refuse_repeats(where: str, what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{where}: the {what} {name!r} stands there twice")


def _refuse_seeds(where: str, seeds: Sequence[int]) -> None:
    _refuse_repeats(where, "seed", [str(seed) for seed in seeds])
    if any(seed < 0 for seed in seeds):
        raise UserError(f"{where}: a seed must not be negative, got {min(seeds)}")


def _studies() -> Traversable:
    return files("experiments") / "studies"


def study_names() -> tuple[str, ...]:
    """The names of the studies that come with the package."""
    suffix = ".yaml"
    return tuple(sorted(each.name[: -len(suffix)] for each in _studies().iterdir() if each.name.endswith(suffix)))


def load_study(name: str, overrides: Iterable[str] = ()) -> Study:
    """Load a study that comes with the package, by name."""
    if name not in study_names():
        raise unknown("study", name, study_names())
    return parse_study((_studies() / f"{name}.yaml").read_text("utf-8"), f"study {name}", overrides)


def select(study: Study, rows: Sequence[str] = (), seeds: Sequence[int] = ()) -> Study:
    """The study reduced to the named rows (in its own order) and to the given seeds; empty means all."""
    known = [row.name for row in study.rows]
    for name in rows:
        if name not in known:
            raise unknown("row", name, known)
    _refuse_seeds("--seeds", seeds)
    chosen = tuple(row for row in study.rows if not rows or row.name in rows)
    return dataclasses.replace(study, rows=chosen, seeds=tuple(seeds) or study.seeds)
