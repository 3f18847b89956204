"""Whether two configurations train the same: a default that is written out makes no difference, nor does the seed."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from engine.models import MODELS
from engine.recipe.build import build_loss, build_optimizer, build_schedule
from engine.recipe.config import ModelConfig, TrainConfig
from engine.recipe.roles import indifferent, shared

INDIFFERENT_KEYS = indifferent(TrainConfig)  # the result of a run does not depend on them


def identity(config: TrainConfig) -> dict[str, Any]:
    """What the training depends on: equal for two configurations that train the same network in the same way."""
    left_out = shared(TrainConfig)
    content = {key: value for key, value in config.to_dict().items() if key not in left_out}
    content["model"] = model_identity(config.model)
    content["optimizer"] = repr(build_optimizer(config.optimizer))
    content["schedule"] = repr(build_schedule(config.schedule))
    content["loss"] = repr(build_loss(config.loss))
    return content


def model_identity(section: ModelConfig) -> Any:
    """The factory with all its arguments, or the layers."""
    if section.name is None or section.name not in MODELS:
        return section
    factory = MODELS[section.name]
    defaults = {name: each.default for name, each in inspect.signature(factory).parameters.items()}
    function = factory.func if isinstance(factory, partial) else factory
    return function.__name__, {**defaults, **section.arguments, "seed": None}


def difference(ours: TrainConfig, theirs: TrainConfig) -> str | None:
    """The first key in which two configurations differ; None where they train the same."""
    left, right = identity(ours), identity(theirs)
    return next((key for key in left if left[key] != right[key]), None)
