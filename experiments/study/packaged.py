"""The studies that come with the package: their names and the texts of their files."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from engine.errors import unknown

if TYPE_CHECKING:  # the module's place differs between Python 3.10 and later
    from importlib.resources.abc import Traversable

SUFFIX = ".yaml"


def _folder() -> Traversable:
    return files("experiments") / "studies"


def study_names() -> tuple[str, ...]:
    """Their names, sorted."""
    return tuple(sorted(each.name[: -len(SUFFIX)] for each in _folder().iterdir() if each.name.endswith(SUFFIX)))


def study_text(name: str) -> str:
    """The file of the study of this name; UserError where there is none."""
    if name not in study_names():
        raise unknown("study", name, study_names())
    return (_folder() / f"{name}{SUFFIX}").read_text("utf-8")
