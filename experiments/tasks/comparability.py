"""Whether a row's runs can be held against what is published for it: a property of what they train, of no name.

A row compares where its runs, and those that they need, train what the study writes: at full length, on the same data,
with the same network and every step. Where a budget or an override leaves a row as it is, the row compares; where one
changes it, the reason says what differs. What data at hand cannot give at all stands at the row (`incomparable`).
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.recipe.config import TrainConfig
from engine.recipe.roles import comparable
from experiments.study.identity import settings
from experiments.study.needs import with_all_needed
from experiments.study.study import Row, Stage, Study

HARMLESS = comparable(TrainConfig)


def incomparable(study: Study, row: Row) -> str:
    """Why published values of the row cannot be compared with ours; empty: they can."""
    return row.incomparable or other_training(study, row)


def other_training(study: Study, entry: Row | Stage) -> str:
    """In what the runs of a row or stage, or those that they need, differ from what the study writes; empty: in
    nothing."""
    trained = {each.name: each for each in study.trainings}
    needs = {name: [other for other in each.needs if other in trained] for name, each in trained.items()}
    for name in (entry.name, *sorted(with_all_needed([entry.name], needs) - {entry.name})):
        found = ", ".join(_differences(trained[name]))
        if found:
            return found if name == entry.name else f"{name}, which it needs: {found}"
    return ""


def _differences(entry: Row | Stage) -> Iterator[str]:
    """What differs between the configuration that is trained and the one that the study writes, in words."""
    if entry.full is None or entry.full == entry.config:
        return
    ours, theirs = settings(entry.config), settings(entry.full)
    keys = [key for key in ours if key not in HARMLESS and ours[key] != theirs.get(key)]
    if "epochs" in keys:
        yield f"{entry.config.epochs} of {entry.full.epochs} epochs"
    others = [key for key in keys if key != "epochs"]
    if others:
        yield f"with another {', '.join(others)}"
