"""A study in memory: rows, stages, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.recipe.build import build_optimizer
from engine.recipe.config import TrainConfig
from experiments.stats import DEFAULT_MARGIN
from experiments.study.claims import Claim
from experiments.study.schema import FULL, PublishedSource, PublishedValue, ScoreEpoch
from experiments.study.search import Search

AS_WRITTEN = "every row at full length, on all samples"


@dataclass(frozen=True)
class Budget:
    """What a study may cost, by name, and how it was made smaller for that."""

    name: str = FULL
    how: str = AS_WRITTEN


@dataclass(frozen=True)
class Stage:
    """A training that is no row; like a row it runs once per seed, and before all that need it.

    score_epoch  instead of the study's; seed_offset: added to the seed of each of its runs
    full         the configuration as the study writes it, without budget and overrides (None: `config` is that one)
    """

    name: str
    config: TrainConfig
    needs: tuple[str, ...] = ()
    score_epoch: ScoreEpoch | None = None
    seed_offset: int = 0
    full: TrainConfig | None = None


@dataclass(frozen=True)
class Row:
    """One named configuration of a study; its seed is the runs' to set.

    group         the report's table
    published     by column: val_macro_f1, test_accuracy, parameters, seconds_per_epoch …; accuracies from 0 to 1
    same_as       another row with this very configuration, whose runs are this row's as well
    footnotes     their texts
    incomparable  why the published values cannot be compared with ours; empty: they can
    base          the row that the others of its group are compared with
    needs         rows and stages whose runs (of the same seed) must have ended first; run:NAME in the configuration
                  stands for the weights of such a run (see experiments.study.needs)
    score_epoch   instead of the study's
    full          the configuration as the study writes it, without budget and overrides (None: `config` is that one)
    limits        what of a comparison with the published values the data at hand leave open; the values compare
    more_seeds    seeds of this row alone, after the study's
    """

    name: str
    config: TrainConfig
    group: str = ""
    published: Mapping[str, PublishedValue] = field(default_factory=dict)
    same_as: str | None = None
    footnotes: tuple[str, ...] = ()
    incomparable: str = ""
    base: bool = False
    needs: tuple[str, ...] = ()
    score_epoch: ScoreEpoch | None = None
    full: TrainConfig | None = None
    limits: str = ""
    more_seeds: tuple[int, ...] = ()

    @property
    def learning_rate(self) -> float:
        return build_optimizer(self.config.optimizer).lr


@dataclass(frozen=True)
class Study:
    """A study: rows, each trained once per seed.

    metric          picks the best epoch of every run
    metrics         what is shown and compared, the headline first
    score_epoch     whose figures count: those of the best epoch by `metric`, or of the last one
    split_per_seed  whether split.seed is the seed of each run
    stages          trainings that rows need and that are no rows
    sequential      whether seeds are added until rows are decided, and so judged by looks (`experiments.sequential`)
    margin          difference to a published value that does not matter (None: `margin_of` has a default)
    footnotes       those that concern the whole report
    overrides       were laid over all rows and stages, whatever the file says
    budget          what the study was scaled to; budgets: all that there are
    search          settings of a row that Optuna varies, on demand
    claims          what the report says of its rows
    base_groups     groups that have a base row, those included whose base row was not selected (`read.select`)
    """

    name: str
    title: str
    metric: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    metrics: tuple[str, ...] = ()
    score_epoch: ScoreEpoch = "best"
    split_per_seed: bool = False
    stages: tuple[Stage, ...] = ()
    published: PublishedSource = PublishedSource()
    assumptions: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    budget: Budget = Budget()
    budgets: tuple[Budget, ...] = (Budget(),)
    search: Search | None = None
    margin: float | None = None
    sequential: bool = False
    claims: tuple[Claim, ...] = ()
    base_groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.base_groups:
            object.__setattr__(self, "base_groups", tuple(row.group for row in self.rows if row.base))
        if not self.metrics:
            object.__setattr__(self, "metrics", (self.metric,))

    @property
    def trainings(self) -> tuple[Row | Stage, ...]:
        """All rows and stages."""
        return (*self.rows, *self.stages)


def seeds_of(study: Study, row: Row) -> tuple[int, ...]:
    """The seeds of the row's runs, in their order."""
    return (*study.seeds, *(seed for seed in row.more_seeds if seed not in study.seeds))


def headline(study: Study, row: Row) -> str:
    """The metric that stands for the row: the first of the study's that is published for it, or the first of all."""
    return next((name for name in study.metrics if name in row.published), study.metrics[0])


def margin_of(study: Study, metric: str) -> float | None:
    """The margin within which a published value of the metric counts as reproduced; None: the study states none, and
    the metric is no fraction from 0 to 1."""
    if study.margin is not None:
        return study.margin
    return DEFAULT_MARGIN if metric.endswith(("_accuracy", "_f1")) else None


def base_of(study: Study, row: Row) -> Row | None:
    """The row that this one is compared with: the base row of its group, else the study's only one, else none. Which it
    is does not depend on what other rows were selected: without it there is none."""
    bases = {each.group: each for each in study.rows if each.base}
    group = row.group if row.group in study.base_groups or len(study.base_groups) != 1 else study.base_groups[0]
    return bases.get(group)
