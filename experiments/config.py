"""The schema of a study, and reading one from YAML.

A study file has the keys of `Study`, with `base:` for the settings that all rows share and, per row, `changes:` for
what it changes in them. Reading is strict: an unknown key names its nearest valid one, a missing key and a wrong type
are named with the place where they stand. `assumptions:` lists what a published report leaves open and how it was
chosen here; every table shows it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from engine.errors import UserError, unknown
from engine.schema import merge, parse_override, read_mapping

if TYPE_CHECKING:  # the module's place differs between Python 3.10 and later
    from importlib.resources.abc import Traversable

DEFAULT_STUDY = "quickstart"


@dataclass(frozen=True)
class DataSettings:
    """Which samples: the digits on sheets of `engine.data.digits`. Sides are in pixels; count 5000 is all of them."""

    seed: int = 0
    sheet_sides: tuple[int, int] = (44, 76)
    digit_sides: tuple[int, int] = (22, 40)
    count: int = 5000


@dataclass(frozen=True)
class PlateauSettings:
    """After `patience` epochs without a better validation macro-F1 the learning rate is multiplied by `factor`."""

    factor: float = 0.5
    patience: int = 3


@dataclass(frozen=True)
class Settings:
    """Everything that one training depends on, but its seed.

    model: a name in `engine.models`; input_shape: (C, H, W) after resizing; steps: image steps of
    `engine.data.augment`, in order; mixup: alpha of its Beta distribution, 0 for none; validation: share of the
    samples, stratified by class.
    """

    model: str
    input_shape: tuple[int, int, int]
    epochs: int
    learning_rate: float
    batch: int = 64
    momentum: float = 0.9
    plateau: PlateauSettings = PlateauSettings()
    steps: tuple[str, ...] = ()
    mixup: float = 0.0
    validation: float = 0.2
    split_seed: int = 0
    data: DataSettings = DataSettings()


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
class Row:
    """One named configuration of a study."""

    name: str
    settings: Settings
    published: PublishedValue | None = None


@dataclass(frozen=True)
class Study:
    """A study: rows, each trained once per seed."""

    name: str
    title: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    published: PublishedSource = PublishedSource()
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class _RowText:
    """A row as a file gives it: `changes` is merged into the study's base."""

    name: str
    changes: dict[str, Any]
    published: PublishedValue | None = None


@dataclass(frozen=True)
class _StudyText:
    """A study as a file gives it."""

    name: str
    title: str
    seeds: tuple[int, ...]
    base: dict[str, Any]
    rows: tuple[_RowText, ...]
    published: PublishedSource = PublishedSource()
    assumptions: tuple[str, ...] = ()


def parse_study(text: str, where: str, overrides: Iterable[str] = ()) -> Study:
    """Read a study from YAML text; `where` stands for it in errors. Overrides are laid over every row's settings."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from None
    given = read_mapping(_StudyText, content, where)
    if not given.rows or not given.seeds:
        raise UserError(f"{where}: a study needs at least one row and one seed")
    _refuse_repeats(where, "row", [row.name for row in given.rows])
    _refuse_repeats(where, "seed", [str(seed) for seed in given.seeds])
    on_top: dict[str, Any] = {}
    for override in overrides:
        on_top = merge(on_top, parse_override(override))
    rows = tuple(_read_row(row, given.base, on_top, where) for row in given.rows)
    return Study(given.name, given.title, given.seeds, rows, given.published, given.assumptions)


def _refuse_repeats(where: str, what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{where}: the {what} {name!r} stands there twice")


def _read_row(row: _RowText, base: Mapping[str, Any], on_top: Mapping[str, Any], where: str) -> Row:
    place = f"{where}, row {row.name!r}"
    settings = read_mapping(Settings, merge(merge(base, row.changes), on_top), place)
    _check_settings(settings, place)
    return Row(row.name, settings, row.published)


def _check_settings(settings: Settings, where: str) -> None:
    """Refuse values that have the right type but no meaning."""
    # Imported here: the functions behind the steps need NumPy, which a listing of studies should not wait for.
    from engine.data.augment import check_steps

    try:
        check_steps(settings.steps)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    for key in ("epochs", "batch", "learning_rate"):
        if not getattr(settings, key) > 0:
            raise UserError(f"{where}: {key} must be above 0, got {getattr(settings, key)}")
    if not 0 < settings.validation < 1:
        raise UserError(f"{where}: validation is a share between 0 and 1, got {settings.validation}")
    if settings.mixup < 0:
        raise UserError(f"{where}: mixup must not be negative, got {settings.mixup}")


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
    _refuse_repeats("--seeds", "seed", [str(seed) for seed in seeds])
    chosen = tuple(row for row in study.rows if not rows or row.name in rows)
    return dataclasses.replace(study, rows=chosen, seeds=tuple(seeds) or study.seeds)
