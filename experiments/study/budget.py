"""Smaller versions of a study: fewer epochs, samples, pixels and seeds, in the way that the file states."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from engine.errors import UserError
from engine.models import MODELS
from engine.recipe.config import TrainConfig
from experiments.study.schema import BudgetFile

LEAST_SIZE = {"vgg19": 32}  # five poolings


def scaling(content: Mapping[str, Any], budget: BudgetFile, where: str) -> dict[str, Any]:
    """What a budget's factors and numbers change in the mapping of a row or stage; its own `changes` are merged before.

    A value of a wrong type is left as it is, for reading to refuse. UserError for a size that the network cannot take.
    """
    given = content.get("epochs", TrainConfig.epochs)
    if type(given) is not int or given < 1:
        return {}
    least = min(budget.least_epochs, given)
    epochs = max(least, math.ceil(round(given * budget.epochs, 6)))
    factor = epochs / given
    changes: dict[str, Any] = {"epochs": epochs}
    steps = factor if budget.steps is None else budget.steps
    if isinstance(schedule := content.get("schedule"), Mapping):
        changes["schedule"] = scaled_schedule(schedule, factor, steps)
    if warmup := _section(content, "warmup"):
        changes["warmup"] = _scaled(warmup, {"epochs": factor, "steps": steps})
    if ends := _section(content, "freeze_after"):
        changes["freeze_after"] = _scaled(ends, dict.fromkeys(ends, factor))
    dataset = _section(content, "dataset")
    samples = _of_set(budget.samples, dataset.get("name"))
    if samples is not None:
        changes["select"] = {"deduplicated": None, "per_class": None, "fraction": None, "count": samples}
    tests = _of_set(budget.test_samples, dataset.get("name"))
    if tests is not None and dataset.get("test") not in (None, False):
        changes["dataset"] = {"test_subset": tests}
    return changes if budget.size is None else {**changes, **_resized(_section(content, "model"), budget.size, where)}


def _section(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = content.get(key)
    return section if isinstance(section, Mapping) else {}


def _of_set(given: Any, name: Any) -> int | None:
    return given.get(str(name)) if isinstance(given, Mapping) else given


def scaled_schedule(section: Mapping[str, Any], epochs: float, steps: float) -> dict[str, Any]:
    """A schedule's section for a run of another length: patience and what counts epochs times `epochs`, the rest
    times `steps`, rounded; nothing below 1 but what is 0."""
    scaled = dict(section)
    factor = epochs if section.get("unit") == "epoch" else steps
    scaled |= _scaled(section, {"total": factor, "warmup": factor, "patience": epochs, "cooldown": epochs})
    boundaries = section.get("boundaries")
    if isinstance(boundaries, (list, tuple)) and all(map(_is_number, boundaries)):
        rising = [0]
        for boundary in boundaries:
            rising.append(max(rising[-1] + 1, round(boundary * factor)))
        scaled["boundaries"] = rising[1:]
    if _is_number(scaled.get("total")) and _is_number(warmup := scaled.get("warmup", 0)):
        scaled["total"] = max(scaled["total"], warmup + 1)
    return scaled


def _scaled(section: Mapping[Any, Any], factors: Mapping[Any, float]) -> dict[Any, Any]:
    """Those keys of the section that have a factor, times it and rounded; nothing below 1 but what is 0."""
    numbers = {key: section[key] for key in factors if _is_number(section.get(key)) and section[key]}
    return {key: max(1, round(number * factors[key])) for key, number in numbers.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _resized(model: Mapping[str, Any], size: int, where: str) -> dict[str, Any]:
    name = model.get("name")
    if (
        not isinstance(name, str)
        or name not in MODELS
        or "input_size" not in inspect.signature(MODELS[name]).parameters
    ):
        raise UserError(f"{where}: the budget has a size, but the network {name!r} takes images of one size only")
    size = max(size, LEAST_SIZE.get(name, 1))
    return {"preprocess": {"size": [size, size]}, "model": {"arguments": {"input_size": size}}}
