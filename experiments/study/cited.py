"""Published values that stand in another study.

    published: {val_macro_f1: {as_in: "numtadb: LeNet Reverse"}}

is the value that the row `LeNet Reverse` of the packaged study `numtadb` has in the same column, with its note unless
one is given here. A report's figure is thus written down once, however many studies show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from engine.errors import UserError, unknown
from engine.reading.schema import read_mapping
from engine.reading.yaml_text import parse_yaml
from experiments.study.packaged import study_names, study_text
from experiments.study.schema import StudyFile, published_section

AS_IN = "as_in"


def with_cited(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The published values of a row with the values themselves in place of citations; UserError for one that leads
    nowhere."""
    return {
        name: _cited(name, value, f"{where}: published.{name}") if _cites(value) else value
        for name, value in given.items()
    }


def _cites(value: Any) -> bool:
    return isinstance(value, Mapping) and AS_IN in value


def _cited(column: str, citation: Mapping[str, Any], where: str) -> dict[str, Any]:
    given = dict(citation)
    place = given.pop(AS_IN)
    study, colon, row = (part.strip() for part in str(place).partition(":"))
    if not colon or not row:
        raise UserError(f'{where}: {AS_IN} reads "STUDY: ROW", got {place!r}')
    if study not in study_names():
        raise UserError(f"{where}: {unknown('study', study, study_names())}")
    rows = _published(study)
    if row not in rows:
        raise UserError(f"{where}: {unknown(f'row in {study}:', row, rows)}")
    if column not in rows[row]:
        raise UserError(f"{where}: {unknown(f'column in {study}, row {row!r}:', column, rows[row])}")
    value = rows[row][column]
    if _cites(value):
        raise UserError(f"{where}: {place!r} cites it too; name the row that states it, {value[AS_IN]!r}")
    return {**published_section(value), **given}


@cache
def _published(study: str) -> Mapping[str, Mapping[str, Any]]:
    """{row: its published values as the file gives them}"""
    place = f"study {study}"
    content = read_mapping(StudyFile, parse_yaml(study_text(study), place), place)
    return {row.name: row.published for row in content.rows}
