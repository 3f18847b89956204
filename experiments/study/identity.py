"""Whether two configurations train the same: a default that is written out makes no difference, nor does the seed."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from engine.models import MODELS
from engine.recipe.build import build_loss, build_optimizer, build_schedule
from engine.recipe.config import ModelConfig, TrainConfig

# Keys that say where and how fast a run works, or what is done with it later: its result does not depend on them.
INDIFFERENT_KEYS = (
    "data_root",
    "threads",
    "out",
    "checkpoint_every",
    "checkpoint_seconds",
    "checkpoint_path",
    "gt_csv",
    "strict",
    "cache",
    "tensorboard",
    "wandb",
)
INDIFFERENT = (*INDIFFERENT_KEYS, "seed")  # the seed is set by the runs of a row


def identity(config: TrainConfig) -> dict[str, Any]:
    """What the training depends on: equal for two configurations that train the same network in the same way."""
    content = {key: value for key, value in config.to_dict().items() if key not in INDIFFERENT}
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
