"""Studies: a file's rows as whole training configurations, beside the published values that they reproduce.

A study file has the keys of `experiments.study.schema.StudyFile`: `base:` is a training configuration
(`recipe.config.TrainConfig`) that all rows share, and `changes:` of a row is what it changes in it. Reading is strict:
an unknown key names its nearest valid one, a missing key and a wrong type are named with the place where they stand,
and no two rows train the same unless one says so. `assumptions:` lists what a published report leaves open and how it
was chosen here; every table shows it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import UserError, twice, unknown
from engine.reading.schema import parse_override, read_mapping
from engine.reading.settings import joined, laid_over, with_dataset_section
from engine.reading.yaml_text import parse_yaml
from engine.recipe.build import build_loss, build_optimizer, build_schedule, check_metrics
from engine.recipe.config import TrainConfig, read_config
from experiments.study.budget import scaling
from experiments.study.cited import with_cited
from experiments.study.claims import check_claims
from experiments.study.factors import crossed_rows
from experiments.study.identity import difference, same_text
from experiments.study.needs import checked_order, references, with_all_needed
from experiments.study.own_keys import refuse_own_keys
from experiments.study.packaged import study_text
from experiments.study.schema import FULL, BudgetFile, RowFile, StageFile, StudyFile, check_metric, read_published
from experiments.study.search import check_search
from experiments.study.study import Budget, Row, Stage, Study


def parse_study(text: str, where: str, overrides: Iterable[str] = (), budget: str = FULL) -> Study:
    """Read a study from YAML text; `where` stands for it in errors. Overrides are laid over the configuration of every
    row and stage, after the budget."""
    given = read_mapping(StudyFile, parse_yaml(text, where), where)
    rows = (*given.rows, *crossed_rows(given.factors, where))
    if not rows or not given.seeds:
        raise UserError(f"{where}: a study needs at least one row and one seed")
    _check_study(given, rows, where)
    everything: tuple[RowFile | StageFile, ...] = (*rows, *given.stages)
    if budget != FULL and budget not in given.budgets:
        raise UserError(f"{where}: {unknown('budget', budget, (FULL, *given.budgets))}")
    limits = None if budget == FULL else given.budgets[budget]

    # Rows are told apart as they are written: a budget may make some of them the same.
    configs = {each.name: _config(each, given, where, None, {}) for each in everything}
    same = _checked_repeats(rows, configs, where)
    written = {name: configs[same.get(name, name)] for name in configs}
    overrides = tuple(overrides)
    if limits:
        configs = {each.name: _config(each, given, where, limits, {}) for each in everything}
    if overrides:
        on_top = joined(TrainConfig, map(parse_override, overrides))
        configs = {each.name: _config(each, given, where, limits, on_top) for each in everything}
    configs = {name: configs[same.get(name, name)] for name in configs}
    full = written if limits or overrides else {}
    needs = {each.name: _needs(each, configs[each.name]) for each in everything}
    checked_order(needs, where)
    if given.search is not None:
        by_row = {row.name: configs[row.name] for row in rows}
        check_search(given.search, by_row, where, split_per_seed=given.split_per_seed)
    used = {name for row in rows for name in row.footnotes}
    budgets = (Budget(), *(Budget(name, each.how) for name, each in given.budgets.items()))
    return Study(
        name=given.name,
        title=given.title,
        metric=given.metric,
        seeds=limits.seeds if limits and limits.seeds else given.seeds,
        rows=tuple(
            dataclasses.replace(
                _row(each, given, configs[each.name], needs[each.name], where), full=full.get(each.name)
            )
            for each in rows
        ),
        metrics=given.metrics,
        score_epoch=given.score_epoch,
        split_per_seed=given.split_per_seed,
        stages=tuple(
            Stage(
                each.name,
                configs[each.name],
                needs[each.name],
                each.score_epoch,
                each.seed_offset,
                full.get(each.name),
            )
            for each in given.stages
        ),
        published=given.published,
        assumptions=given.assumptions,
        footnotes=tuple(text for name, text in given.footnotes.items() if name not in used),
        overrides=overrides,
        budget=next(each for each in budgets if each.name == budget),
        budgets=budgets,
        search=given.search,
        margin=given.margin,
        claims=given.claims,
    )


def _check_study(given: StudyFile, rows: Sequence[RowFile], where: str) -> None:
    """UserError for anything wrong in the file that shows without the configurations."""
    _refuse_repeats(where, "row", [row.name for row in rows])
    _refuse_repeats(where, "row or stage", [*(row.name for row in rows), *(stage.name for stage in given.stages)])
    _refuse_seeds(where, given.seeds)
    for row in rows:
        if "," in row.name:
            raise UserError(
                f"{where}: the row {row.name!r} has a comma in its name, which separates the names in --rows"
            )
    for name in (given.metric, *given.metrics, *given.published.columns):
        check_metric(name, where)
    if FULL in given.budgets:
        raise UserError(f"{where}: budgets.{FULL} is the study as it stands and cannot be given")
    check_claims(given.claims, [row.name for row in rows], where)
    for claim in given.claims:
        if claim.metric is not None:
            check_metric(claim.metric, f"{where}: claims")
    bases = [row.group for row in rows if row.base]
    for group in bases:
        if bases.count(group) > 1:
            raise UserError(f"{where}: {f'the group {group!r}' if group else 'the study'} has more than one base row")
    for row in rows:
        for name in row.footnotes:
            if name not in given.footnotes:
                raise UserError(f"{where}, row {row.name!r}: {unknown('footnote', name, given.footnotes)}")
    for budget_name, budget in given.budgets.items():
        _refuse_seeds(f"{where}: budgets.{budget_name}", budget.seeds)
        for name in budget.rows:
            known = [*(row.name for row in rows), *(stage.name for stage in given.stages)]
            if name not in known:
                raise UserError(f"{where}: budgets.{budget_name}: {unknown('row or stage in rows:', name, known)}")


def _config(
    given: RowFile | StageFile,
    study: StudyFile,
    where: str,
    budget: BudgetFile | None,
    on_top: Mapping[str, Any],
) -> TrainConfig:
    """The configuration of a row or stage, read once all that makes it up is merged: base, its changes, the budget's,
    the scaling, the overrides, the study's metric."""
    kind = "row" if isinstance(given, RowFile) else "stage"
    place = f"{where}, {kind} {given.name!r}"
    content = laid_over(TrainConfig, study.base, given.changes)
    own = {} if budget is None else budget.rows.get(given.name, {})
    for changes in (budget.changes, own) if budget is not None else ():
        content = laid_over(TrainConfig, content, changes)
    content = _with_defaults(content)
    if budget is not None:
        content = laid_over(TrainConfig, content, scaling(content, budget, place))
        content = laid_over(TrainConfig, content, own)  # once more: what is scaled gives way to it
    content = laid_over(TrainConfig, content, on_top)
    refuse_own_keys(content, place, split_per_seed=study.split_per_seed)
    config = read_config({**content, "metric": study.metric}, place)
    try:
        build_optimizer(config.optimizer)
        build_schedule(config.schedule)
        build_loss(config.loss)
        check_metrics(config)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    return config


def _with_defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """With what a configuration has where it says nothing, or no more than a name, so that parts of it can be changed:
    its optimiser, schedule and loss, and the section of its data set."""
    factories = {each.name: each.default_factory for each in dataclasses.fields(TrainConfig)}
    defaults = {name: make() for name, make in factories.items() if make is not dataclasses.MISSING}
    return {**defaults, **with_dataset_section(content)}


def _checked_repeats(rows: Sequence[RowFile], configs: Mapping[str, TrainConfig], where: str) -> dict[str, str]:
    """{row: the row whose runs it shares}. UserError for a same_as that is none, and for a repetition without it."""
    same = {row.name: row.same_as for row in rows if row.same_as is not None}
    names = [row.name for row in rows]
    for row in rows:
        place = f"{where}, row {row.name!r}"
        if row.same_as is None:
            continue
        if row.same_as not in names:
            raise UserError(f"{place}: {unknown('row in same_as:', row.same_as, names)}")
        if row.same_as in same:
            raise UserError(f"{place}: same_as must name a row that trains itself, and {row.same_as!r} does not")
        key = difference(configs[row.name], configs[row.same_as]) if row.changes else None
        if key is not None:
            raise UserError(f"{place}: same_as names {row.same_as!r}, but their {key} differs")
    first: dict[str, str] = {}
    for name in names:
        if name in same:
            continue
        earlier = first.setdefault(same_text(configs[name]), name)
        if earlier != name:
            raise UserError(f"{where}, row {name!r}: trains the same as {earlier!r}; say so with same_as")
    return same


def _needs(given: RowFile | StageFile, config: TrainConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*given.needs, *references(config)]))


def _row(given: RowFile, study: StudyFile, config: TrainConfig, needs: tuple[str, ...], where: str) -> Row:
    place = f"{where}, row {given.name!r}"
    return Row(
        name=given.name,
        config=config,
        group=given.group,
        published=read_published(with_cited(given.published, place), study.published.columns, place),
        same_as=given.same_as,
        footnotes=tuple(study.footnotes[name] for name in given.footnotes),
        incomparable=given.incomparable,
        limits=given.limits,
        base=given.base,
        needs=needs,
        score_epoch=given.score_epoch,
    )


def _refuse_repeats(where: str, what: str, names: Sequence[str]) -> None:
    if (again := twice(names)) is not None:
        raise UserError(f"{where}: the {what} {again!r} stands there twice")


def _refuse_seeds(where: str, seeds: Sequence[int]) -> None:
    _refuse_repeats(where, "seed", [str(seed) for seed in seeds])
    if any(seed < 0 for seed in seeds):
        raise UserError(f"{where}: a seed must not be negative, got {min(seeds)}")


def load_study(name: str, overrides: Iterable[str] = (), budget: str = FULL) -> Study:
    """Load a study that comes with the package, by name, or one of the user's own from a YAML file."""
    if name.endswith((".yaml", ".yml")):
        try:
            return parse_study(Path(name).read_text("utf-8"), name, overrides, budget)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{name}: cannot be read ({error})") from None
    return parse_study(study_text(name), f"study {name}", overrides, budget)


def select(study: Study, rows: Sequence[str] = (), seeds: Sequence[int] = ()) -> Study:
    """The study reduced to the named rows (in its own order) and to the given seeds; empty means all.

    What the named rows need is kept as stages. The budget says so where the seeds are not its own.
    """
    known = [row.name for row in study.rows]
    for name in rows:
        if name not in known:
            raise unknown("row", name, known)
    _refuse_seeds("--seeds", seeds)
    chosen = [row for row in study.rows if not rows or row.name in rows]
    names = [row.name for row in chosen]
    needs = {each.name: each.needs for each in study.trainings}
    needed = with_all_needed(names, needs)
    unseen = [row for row in study.rows if row.name in needed and row.name not in names]
    seeds, budget = tuple(seeds) or study.seeds, study.budget
    if seeds != study.seeds:
        budget = dataclasses.replace(budget, how=f"{budget.how}; but --seeds {','.join(map(str, seeds))}")
    claims = [each for each in study.claims if all({pair.row, pair.than} <= set(names) for pair in each.pairs)]
    return dataclasses.replace(
        study,
        budget=budget,
        claims=tuple(claims),
        rows=tuple(row if row.same_as in names else dataclasses.replace(row, same_as=None) for row in chosen),
        stages=(
            *(stage for stage in study.stages if stage.name in needed),
            *(Stage(row.name, row.config, row.needs, row.score_epoch, full=row.full) for row in unseen),
        ),
        seeds=seeds,
    )
