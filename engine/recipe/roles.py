"""What each key of a configuration decides. Every field states its role in its metadata; all lists of keys are derived.

list          which keys                                                  roles in it
indifferent   the result is the same whatever they say                    PLACE, USE, READING, LOG
resumable     may differ from the run that goes on                        those, and LENGTH
shared        may differ between runs that train the same                 those of indifferent, and SEED
comparable    may be set anew, and published values still compare         those of shared, and RECORD
untold        say nothing about a row of a study                          those of shared, and SCORE
of_samples    what the samples depend on, beside the root of the data     DATA, READING
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

from engine.reading.settings import FALSE_IS_NONE


class Role(Enum):
    """What a key decides, in words."""

    DATA = "which samples there are, and what is done to them once"
    TRAINING = "the network, its first weights and every step"
    SCORE = "which figure picks the best epoch; in a study the same for all rows"
    RECORD = "what else is measured of each epoch"
    LENGTH = "how long a run goes on"
    SEED = "what is drawn; in a study the runs of a row set it"
    PLACE = "where and how fast a run works, and how often it is saved"
    USE = "what is done with the network later"
    READING = "whether an image that cannot be read ends the run, and whether prepared ones are kept"
    LOG = "where else the log is shown"


INDIFFERENT = (Role.PLACE, Role.USE, Role.READING, Role.LOG)
SHARED = (*INDIFFERENT, Role.SEED)

_ROLE, _LATER = "role", "later"


def decides(role: Role, *, false_is_none: bool = False, later: bool = False) -> dict[str, Any]:
    """The metadata of a field. `false_is_none`: a file may say `false` for none. `later`: there were runs before the
    key; a configuration that leaves it at its default is written without it, and so known as they are."""
    return {_ROLE: role, FALSE_IS_NONE: false_is_none, _LATER: later}


def role_of(field: dataclasses.Field[Any]) -> Role:
    """The field's role; TypeError where it states none."""
    role = field.metadata.get(_ROLE)
    if not isinstance(role, Role):
        raise TypeError(f"the key {field.name!r} has no role; say what it decides (engine.recipe.roles.decides)")
    return role


def keys(schema: type, *roles: Role) -> tuple[str, ...]:
    """The keys with these roles, role by role. TypeError where a field of the dataclass `schema` states none."""
    stated = {each.name: role_of(each) for each in dataclasses.fields(schema)}
    return tuple(name for role in roles for name, own in stated.items() if own is role)


def indifferent(schema: type) -> tuple[str, ...]:
    """Keys on which the result does not depend. Runs are known by the others, so none may come or go lightly."""
    return keys(schema, *INDIFFERENT)


def resumable(schema: type) -> tuple[str, ...]:
    """Keys in which a run may differ from the one that it goes on from."""
    return keys(schema, *INDIFFERENT, Role.LENGTH)


def shared(schema: type) -> tuple[str, ...]:
    """Keys in which two configurations that train the same may differ."""
    return keys(schema, *SHARED)


def comparable(schema: type) -> tuple[str, ...]:
    """Keys that may be set anew without making a row's figures others than those that were published for it."""
    return keys(schema, *SHARED, Role.RECORD)


def untold(schema: type) -> tuple[str, ...]:
    """Keys that say nothing about a row of a study."""
    return keys(schema, *SHARED, Role.SCORE)


def of_samples(schema: type) -> tuple[str, ...]:
    """Keys that decide what the samples are, beside the root folder of the data."""
    return keys(schema, Role.DATA, Role.READING)


def none_if_false(schema: type) -> tuple[str, ...]:
    """Keys that take `false` for none, as the script of the NumtaDB report has it."""
    return tuple(each.name for each in dataclasses.fields(schema) if each.metadata.get(FALSE_IS_NONE))


def unsaid(config: Any) -> tuple[str, ...]:
    """Keys that came later and stand at their defaults."""
    fields = dataclasses.fields(config)
    return tuple(
        each.name for each in fields if each.metadata.get(_LATER) and getattr(config, each.name) == each.default
    )
