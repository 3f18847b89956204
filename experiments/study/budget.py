"""Smaller versions of a study: fewer epochs, samples, pixels and seeds, in the way that the file states."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from engine.errors import UserError
from engine.models import MODELS
from engine.recipe.config import TrainConfig, read_config
from engine.schema import merge
from experiments.study.schema import BudgetFile

LEAST_SIZE = {"vgg19": 32}  # five poolings


def scaled(config: TrainConfig, budget: BudgetFile, where: str) -> TrainConfig:
    """The configuration of a row or stage under a budget (its `changes` are merged before)."""
    least = min(budget.least_epochs, config.epochs)
    epochs = max(least, math.ceil(round(config.epochs * budget.epochs, 6)))
    factor = epochs / config.epochs
    steps = factor if budget.steps is None else budget.steps
    changes: dict[str, Any] = {"epochs": epochs, "schedule": scaled_schedule(config.schedule, factor, steps)}
    samples = _of_set(budget.samples, config.dataset.name)
    if samples is not None:
        changes["select"] = {"deduplicated": None, "per_class": None, "fraction": None, "count": samples}
    tests = _of_set(budget.test_samples, config.dataset.name)
    if tests is not None and config.dataset.test is not None:
        changes["dataset"] = {"test_subset": tests}
    content = merge(config.to_dict(), changes)
    if budget.size is not None:
        content = _resized(content, config, budget.size, where)
    return read_config(content, where)


def _of_set(given: Any, name: str) -> int | None:
    return given.get(name) if isinstance(given, Mapping) else given


def scaled_schedule(section: Mapping[str, Any], epochs: float, steps: float) -> dict[str, Any]:
    """A schedule's section for a run of another length: patience and what counts epochs times `epochs`, the rest
    times `steps`, rounded; nothing below 1 but what is 0."""
    scaled = dict(section)
    factor = epochs if section.get("unit") == "epoch" else steps
    for key, by in (("total", factor), ("warmup", factor), ("patience", epochs), ("cooldown", epochs)):
        if section.get(key):
            scaled[key] = max(1, round(section[key] * by))
    if "boundaries" in section:
        rising = [0]
        for boundary in section["boundaries"]:
            rising.append(max(rising[-1] + 1, round(boundary * factor)))
        scaled["boundaries"] = rising[1:]
    if "total" in scaled:
        scaled["total"] = max(scaled["total"], scaled.get("warmup", 0) + 1)
    return scaled


def _resized(content: Mapping[str, Any], config: TrainConfig, size: int, where: str) -> dict[str, Any]:
    name = config.model.name
    if name is None or "input_size" not in inspect.signature(MODELS[name]).parameters:
        raise UserError(f"{where}: the budget has a size, but the network {name!r} takes images of one size only")
    size = max(size, LEAST_SIZE.get(name, 1))
    arguments = {"arguments": {"input_size": size}}
    return merge(content, {"preprocess": {"size": [size, size]}, "model": arguments})
