"""The keys of a study's file. `experiments.study.read` turns them into a `Study`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.errors import UserError, unknown
from engine.reading.schema import read_mapping
from engine.training.folder import PARTS
from experiments.study.claims import Claim
from experiments.study.search import Search

FIGURES = ("parameters", "seconds_per_epoch")  # published figures that are no metric of a part
FULL = "full"

ScoreEpoch = Literal["best", "last"]


@dataclass(frozen=True)
class PublishedSource:
    """Where the published values come from.

    title    a title for them, at the head of their columns
    source   one sentence about them
    columns  for each metric that has published values, its place in the source
    """

    title: str = "published"
    source: str = ""
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedValue:
    """A published value of a row.

    value     the number
    note      what differs where it is not the row's own configuration
    by_epoch  the values after every epoch, where the source has them; the last one is the value
    """

    value: float
    note: str = ""
    by_epoch: tuple[float, ...] = ()


@dataclass(frozen=True)
class RowFile:
    """A row as a file gives it.

    name          in tables, after --rows, and in the names of folders
    changes       merged into the study's base; with same_as they may be left out
    group         the table of the report where it stands
    published     published values by column: a number, or {value, note}; a list has the values after every epoch; and
                  {as_in: "STUDY: ROW"} stands for what another study states (see experiments.study.cited)
    same_as       the row that trains this very configuration
    base          the row of its group that the others are compared with
    needs         rows and stages that must have ended first, besides those whose checkpoints it names (run:NAME)
    footnotes     names of the study's footnotes
    incomparable  why its published values cannot be compared with ours (empty: they can)
    limits        what of that comparison the data at hand leave open, though the values compare
    score_epoch   instead of the study's
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    group: str = ""
    published: dict[str, Any] = field(default_factory=dict)
    same_as: str | None = None
    base: bool = False
    needs: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()
    incomparable: str = ""
    limits: str = ""
    score_epoch: ScoreEpoch | None = None


@dataclass(frozen=True)
class StageFile:
    """A training that is no row, such as a pretraining.

    name         by which rows and other stages name its checkpoints (run:NAME)
    changes      merged into the study's base
    needs        rows and stages that must have ended first
    score_epoch  instead of the study's
    seed_offset  added to the seed of each of its runs: a second network of an otherwise equal training
    """

    name: str
    changes: dict[str, Any]
    needs: tuple[str, ...] = ()
    score_epoch: ScoreEpoch | None = None
    seed_offset: int = 0

    def __post_init__(self) -> None:
        if self.seed_offset < 0:
            raise UserError(f"seed_offset must not be negative, got {self.seed_offset}")


@dataclass(frozen=True)
class BudgetFile:
    """A smaller version of a study.

    how           one sentence that says what was made smaller; it stands in every table
    epochs        factor on each row's epochs (rounded up), which the positions and patience of schedules, warm-up and
                  freeze_after follow (early_stopping does not)
    least_epochs  but no fewer than these, where the row has so many
    steps         factor on positions of schedules and a warm-up that count steps (default: as the epochs)
    samples       training samples, every class in its proportion: a number, or numbers by data set
    test_samples  test samples, likewise
    size          side of the images, for networks that take several
    seeds         instead of the study's
    changes       merged into every row and stage, and then scaled
    rows          changes for one row or stage, by its name, to which what is scaled gives way
    """

    how: str
    epochs: float = 1.0
    least_epochs: int = 1
    steps: float | None = None
    samples: Any = None
    test_samples: Any = None
    size: int | None = None
    seeds: tuple[int, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("epochs", "steps"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise UserError(f"{name} is a factor above 0 and at most 1, got {value}")
        for name in ("least_epochs", "size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be 1 or more, got {value}")
        for name in ("samples", "test_samples"):
            given = getattr(self, name)
            for value in given.values() if isinstance(given, Mapping) else [given]:
                if given is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                    raise UserError(f"{name} is a number of at least 1, or one for each data set, got {value!r}")


@dataclass(frozen=True)
class StudyFile:
    """A study as a file gives it.

    name            of the study and of its folder under runs/
    title           one line
    metric          picks the best epoch of every run
    metrics         what is shown and compared, the headline first (default: metric)
    score_epoch     the epoch whose figures count: the best one by `metric`, or the last
    seeds           every row is trained once with each
    split_per_seed  whether every seed divides the samples anew (split.seed is then the seed); else all share a division
    base            the configuration (`engine.recipe.config.TrainConfig`) that rows and stages change
    rows            of the table
    stages          trainings that are no rows
    published       where the published values come from
    factors         crossed to further rows (see experiments.study.factors)
    margin          difference between our mean and a published value that does not matter, in the metric's unit: only
                    within it a value counts as reproduced (default: 0.01 for accuracies and F1, none for others)
    assumptions     what the report leaves open, and how it was chosen here
    footnotes       what is odd about the report, by name; those that no row names concern all of it
    budgets         smaller versions of the study, by name
    search          settings of a row that Optuna varies, on demand (see experiments.study.search)
    claims          what the report says of its rows, as comparisons (see experiments.study.claims)
    """

    name: str
    title: str
    metric: str
    seeds: tuple[int, ...]
    base: dict[str, Any]
    rows: tuple[RowFile, ...] = ()
    metrics: tuple[str, ...] = ()
    score_epoch: ScoreEpoch = "best"
    split_per_seed: bool = False
    factors: dict[str, Any] = field(default_factory=dict)
    stages: tuple[StageFile, ...] = ()
    published: PublishedSource = PublishedSource()
    margin: float | None = None
    assumptions: tuple[str, ...] = ()
    footnotes: dict[str, str] = field(default_factory=dict)
    budgets: dict[str, BudgetFile] = field(default_factory=dict)
    search: Search | None = None
    claims: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        name = self.name
        if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
            raise UserError(f"name: expected a folder's name, got {name!r}")
        if self.margin is not None and not 0 < self.margin < float("inf"):
            raise UserError(f"margin must be a number above 0, got {self.margin}")


def check_metric(name: str, where: str) -> None:
    """UserError unless the name is a metric of a part (train_, val_, test_) or a published figure."""
    if name not in FIGURES and not name.startswith(PARTS):
        raise UserError(
            f"{where}: {name!r} is no metric; a metric begins with {', '.join(PARTS)} or is {' or '.join(FIGURES)}"
        )


def read_published(given: Mapping[str, Any], columns: Iterable[str], where: str) -> dict[str, PublishedValue]:
    """The published values of a row. UserError for a column without a source, and for an accuracy in per cent."""
    columns = tuple(columns)
    values = {}
    for name, value in given.items():
        place = f"{where}: published.{name}"
        if name not in columns:
            if not columns:
                raise UserError(f"{place}: say where the column comes from, in published.columns of the study")
            raise UserError(f"{where}: {unknown('column in published:', name, columns)}")
        found = values[name] = read_mapping(PublishedValue, published_section(value), place)
        for each in (found.value, *found.by_epoch):
            if name.endswith(("_accuracy", "_f1")) and not 0 <= each <= 1:
                raise UserError(f"{place}: a fraction from 0 to 1 is expected, got {each:g}")
    return values


def published_section(value: Any) -> Mapping[str, Any]:
    """A published value as a mapping, in whichever form a file has it."""
    if isinstance(value, list) and value:
        return {"value": value[-1], "by_epoch": value}
    return value if isinstance(value, Mapping) else {"value": value}
