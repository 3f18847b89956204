"""The things that sections of a configuration describe: network, optimiser, loss, schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from engine.data.readers import WITH_MASKS
from engine.errors import UserError, unknown
from engine.layers import LAYERS, Layer, make_layer
from engine.losses import LOSSES, Loss
from engine.models import MODELS, make_model
from engine.network.graph import Sequential
from engine.network.load import load
from engine.network.network import Network
from engine.optim import OPTIMIZERS, Optimizer
from engine.quantize.network import AnyNetwork
from engine.quantize.reading import is_quantized
from engine.quantize.reading import load as load_quantized
from engine.reading.schema import parse_override, read_arguments, read_mapping
from engine.recipe.config import ModelConfig, SplitConfig, TrainConfig, load_config
from engine.training.checks import WITH_CLASSES, WITH_PIXELS, logged_names, watched_per_class
from engine.training.folder import find_checkpoint
from engine.training.schedules import SCHEDULES, Constant, Schedule, Warmup

Built = TypeVar("Built")


def build_optimizer(section: Mapping[str, Any]) -> Optimizer:
    """The optimiser that the section describes."""
    return _build(OPTIMIZERS, section, "optimizer")


def build_loss(section: Mapping[str, Any]) -> Loss:
    """The loss that the section describes."""
    return _build(LOSSES, section, "loss")


def build_schedule(section: Mapping[str, Any]) -> Schedule:
    """The schedule that the section describes; `schedule: {}` is the constant one."""
    return _build(SCHEDULES, section, "schedule") if section else Constant()


def with_warmup(config: TrainConfig) -> Schedule:
    """The configuration's schedule, with its warm-up."""
    schedule, warmup = build_schedule(config.schedule), config.warmup
    return schedule if warmup is None else Warmup(schedule, warmup.steps, warmup.epochs, warmup.start)


def without_effect(config: TrainConfig) -> list[str]:
    """What the configuration sets and then has no use for, each as "key: why"."""
    section, split, model, optimizer = config.dataset, config.split, config.model, build_optimizer(config.optimizer)
    schedule = build_schedule(config.schedule)
    own = ModelConfig()
    usual = SplitConfig()
    decays = getattr(optimizer, "weight_decay", 0.0) != 0.0
    found = {
        "model.input_shape: belongs to layers": model.name is not None and model.input_shape is not None,
        "model.initializer: belongs to layers": model.name is not None and model.initializer != own.initializer,
        "optimizer.decay: there is no weight_decay": bool(optimizer.decay) and not decays,
        "optimizer.decoupled: there is no weight_decay": getattr(optimizer, "decoupled", False) and not decays,
        "schedule.growth: there are no restarts": getattr(schedule, "growth", 1.0) != 1.0
        and not getattr(schedule, "restarts", 0),
        "dataset.test_subset: there is no dataset.test": section.test_subset is not None and section.test is None,
        f"split.fraction: split.kind is {split.kind}": split.kind != "fraction" and split.fraction != usual.fraction,
        f"split.folds: split.kind is {split.kind}": split.kind != "folds" and split.folds != usual.folds,
        f"split.fold: split.kind is {split.kind}": split.kind != "folds" and split.fold != usual.fold,
        "evaluation_views: there are neither validation nor test samples": config.evaluation_views is not None
        and split.kind == "none"
        and section.test is None,
    }
    for name in ("rotation", "scaling", "shift", "crop"):
        each = getattr(config.augment, name)
        if each is not None:
            found[f"augment.{name}.value: fill is {each.fill}"] = each.value != 0 and each.fill != "constant"
    return [what for what, idle in found.items() if idle]


def build_network(section: ModelConfig, seed: int) -> Network:
    """The network that the section describes, initialised from `seed`."""
    if (section.name is None) == (section.layers is None):
        raise UserError("model: give either name (and arguments) or layers (and input_shape)")
    if section.name is not None:
        return make_model(section.name, **{"seed": seed, **section.arguments})
    if section.input_shape is None:
        raise UserError("model: layers need input_shape, (C, H, W)")
    layers = build_layers(section)
    try:
        return Sequential(layers, input_shape=section.input_shape, seed=seed, initializer=section.initializer)
    except UserError as error:
        raise UserError(f"model.layers: {error}") from None


def build_layers(section: ModelConfig) -> list[Layer]:
    """The layers that the section lists."""
    return [_build_layer(entry) for entry in section.layers or ()]


def _build_layer(entry: Any) -> Layer:
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise UserError(f"model.layers: expected a layer's name, or one name with its arguments, got {entry!r}")
    name, arguments = next(iter(entry.items()))
    if name not in LAYERS:
        raise unknown("layer", name, LAYERS)
    if not isinstance(arguments, Mapping):
        values = arguments if isinstance(arguments, list) else [arguments]
        names = [each.name for each in dataclasses.fields(LAYERS[name])]
        if len(values) > len(names):
            raise UserError(f"model.layers: {name} takes {len(names)} arguments, got {len(values)}")
        arguments = dict(zip(names, values, strict=False))
    return make_layer(name, read_arguments(LAYERS[name], arguments, f"model.layers: {name}"))


def _build(known: Mapping[str, type[Built]], section: Mapping[str, Any], where: str) -> Built:
    """The dataclass that the section's `name` stands for, from the section's other keys."""
    if "name" not in section:
        raise UserError(f"{where}: the key 'name' is missing; known: {', '.join(known)}")
    rest = {key: value for key, value in section.items() if key != "name"}
    # Names are taken in any case: sgd, SGD.
    names = {name.lower(): name for name in known}
    name = names.get(str(section["name"]).lower())
    if name is None:
        raise unknown(where, section["name"], known)
    return read_mapping(known[name], rest, where)


def open_network(source: str, settings: Sequence[str]) -> Network:
    """The network of a checkpoint (.safetensors) or run folder, of a configuration (.yaml, .yml) or of a model's name.

    `settings` are key=value texts: arguments of a named model, or overrides of a configuration.
    """
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix == ".safetensors" or (path.is_dir() and source not in MODELS):
        if settings:
            raise UserError(f"{source}: a checkpoint takes no settings, but got {settings[0]!r}")
        return load(find_checkpoint(path))
    if suffix in (".yaml", ".yml"):
        config = load_config(path, settings)
        return build_network(config.model, config.seed)

    arguments: dict[str, Any] = {}
    for text in settings:
        arguments |= parse_override(text)
    return make_model(source, **arguments)


def open_trained(source: str) -> AnyNetwork:
    """As `open_network`, and a quantised network of its file (.safetensors)."""
    return load_quantized(source) if is_quantized(source) else open_network(source, ())


def check_metrics(config: TrainConfig) -> None:
    """UserError where the run, its early stopping or its schedule goes by a metric that its log will not have. That a
    loss has no classes shows with the labels only."""
    measured = WITH_PIXELS if config.dataset.name in WITH_MASKS else WITH_CLASSES
    train = measured if config.train_metrics else ()
    further = config.evaluation_views.each_epoch if config.evaluation_views else ()
    validation = () if config.split.kind == "none" else (*measured, *further)
    stop = config.early_stopping.metric if config.early_stopping else None
    schedule = build_schedule(config.schedule).metric
    watched = {"metric": config.metric, "early stopping metric": stop, "schedule metric": schedule}
    watched_per_class(logged_names(train, validation), watched)
