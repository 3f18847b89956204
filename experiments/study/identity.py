"""What a run's result depends on, in one form, however a configuration writes it; and whether two train the same.

`lr: 1e-2` and `lr: 0.01`, 1 and 1.0, a default that is written out, the order of keys, `./photos/` and `photos` make no
difference: values are read as the types of their sections have them, and written in the form below. Runs are known by
it, so a form once chosen stays. Where the order of keys decides (`order_counts`), it is part of the form.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

from engine.data.readers import READERS
from engine.errors import UserError, unknown
from engine.models import MODELS
from engine.reading.schema import read_arguments
from engine.recipe.build import build_layers, build_loss, build_optimizer, build_schedule
from engine.recipe.config import ModelConfig, TrainConfig, read_config
from engine.recipe.roles import indifferent, shared
from engine.training.metrics import direction
from engine.training.stepper import describe

INDIFFERENT_KEYS = indifferent(TrainConfig)  # the result of a run does not depend on them

# Arguments that stand in the form also with their defaults: those that studies had always written out when the form was
# fixed. All others are left out where they have their default, so that a new argument changes no key.
STATED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("SGD", "Adam", "AdamW"), ("lr",)),
    "ReduceLROnPlateau": ("factor", "patience", "metric"),
    "scene_cnn": ("conv_layers", "filters", "kernel", "dense_layers", "input_size"),
    "vgg19": ("input_size",),
    "midas_cnn": ("classes", "dense_units", "dropout"),
    **dict.fromkeys(("mnist", "emnist", "cifar10", "scenes", "cmaterdb"), ("split",)),
    "numtadb": ("parts",),
    "digits5k": ("sheets", "seed"),
}


def settings(config: TrainConfig) -> dict[str, Any]:
    """All keys on which the result depends, in JSON's types: equal for configurations that ask for the same run.

    A section that cannot be read stays as it is written: its run will fail, and say why.
    """
    config = _or_as_written(lambda: read_config(config.to_dict()), config)
    content = {name: value for name, value in config.to_dict().items() if name not in INDIFFERENT_KEYS}
    builders = {"optimizer": build_optimizer, "schedule": build_schedule, "loss": build_loss}
    for name, build in builders.items():
        content[name] = _or_as_written(partial(_built, build, content[name]), content[name])
    content["model"] = _or_as_written(partial(_model, config), content["model"])
    for part in ("train", "test"):
        options = content["dataset"][part]
        if options is not None:
            read = partial(_options, config.dataset.name, options)
            content["dataset"] = {**content["dataset"], part: _or_as_written(read, options)}
    content["freeze"] = [str(name) for name in config.freeze or ()] or None
    content["learning_rates"] = _by_pattern(config.learning_rates or {}) or None
    if ends := content.pop("freeze_after", None):
        content["freeze_after"] = _by_pattern(ends)
    content["class_weights"] = _plain(config.class_weights)
    if transfer := content["initialize_from"]:
        names = {key: [str(name) for name in transfer[key]] for key in ("layers", "exclude")}
        content["initialize_from"] = {**transfer, **names, "rename": _texts(transfer["rename"])}
    return {**content, **_watched(config, content)}


def identity(config: TrainConfig) -> dict[str, Any]:
    """What the training depends on: equal for two configurations that train the same network in the same way."""
    left_out = shared(TrainConfig)
    content = {key: value for key, value in settings(config).items() if key not in left_out}
    return {**content, "model": model_identity(config.model, content["model"])}


def same_text(config: TrainConfig) -> str:
    """The identity as a text to compare."""
    return json.dumps(identity(config), sort_keys=True, default=repr)


def model_identity(section: ModelConfig, content: Any) -> Any:
    """The factory with all its arguments, or the layers; `content` is the section's form."""
    if section.name is None or section.name not in MODELS:
        return content
    factory = MODELS[section.name]
    defaults = {name: each.default for name, each in inspect.signature(factory).parameters.items()}
    function = factory.func if isinstance(factory, partial) else factory
    return function.__name__, _plain({**defaults, **content["arguments"], "seed": None})


def difference(ours: TrainConfig, theirs: TrainConfig) -> str | None:
    """The first key in which two configurations differ; None where they train the same."""
    left, right = identity(ours), identity(theirs)
    return next((key for key in {**left, **right} if left.get(key) != right.get(key)), None)


def _or_as_written(read: Callable[[], Any], written: Any) -> Any:
    try:
        return read()
    except UserError:
        return written


def _built(build: Callable[[Mapping[str, Any]], Any], section: Mapping[str, Any]) -> dict[str, Any]:
    """The section of an optimiser, schedule or loss: its class's name and what was chosen."""
    thing = build(section)
    given = describe(thing)
    if given.get("mode") is not None and given["mode"] == direction(given["metric"]):
        given["mode"] = None
    name = given.pop("name")
    return {"name": name, **_chosen(name, type(thing), given)}


def _model(config: TrainConfig) -> dict[str, Any]:
    section = config.model
    content = dataclasses.asdict(section)
    if section.name is not None:
        if section.name not in MODELS:
            raise unknown("model", section.name, MODELS)
        given = read_arguments(MODELS[section.name], section.arguments, "model")
        if given.get("seed") == config.seed:  # which the network would have had from there
            del given["seed"]
        return {**content, "arguments": _chosen(section.name, MODELS[section.name], given, ("seed",))}
    layers = [
        {type(layer).__name__: _squares(_chosen(type(layer).__name__, type(layer), layer.arguments()))}
        for layer in build_layers(section)
    ]
    return {**content, "layers": layers}


def _options(reader: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a data set's reader is told."""
    if reader not in READERS:
        raise unknown("data set", reader, READERS)
    function = partial(READERS[reader], None)
    return _chosen(reader, function, read_arguments(function, options, reader))


def _chosen(
    name: str, function: Callable[..., Any], given: Mapping[str, Any], needed: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Arguments of a function or class without those at their defaults, but with those in STATED and, if they are
    given, those in `needed`."""
    content: dict[str, Any] = {}
    for argument, parameter in inspect.signature(function).parameters.items():
        value = given.get(argument, parameter.default)
        stated = argument in STATED.get(name, ()) or (argument in needed and argument in given)
        if value is not parameter.empty and (stated or value != parameter.default):
            content[argument] = _plain(value)
    return content


def _plain(value: Any) -> Any:
    """The value in JSON's types, a float that is whole as the whole number."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def order_counts(config: TrainConfig) -> bool:
    """Whether the order of `learning_rates` or `freeze_after` may decide what is trained, which JSON with sorted keys
    does not tell."""
    return any(_overlap([*(given or {}).items()]) for given in (config.learning_rates, config.freeze_after))


def _by_pattern(given: Mapping[Any, Any]) -> dict[str, Any] | list[list[Any]]:
    """What layers or parameters are given by name or pattern, of which the last that matches counts: in its order as a
    list where two may match the same."""
    if _overlap([*given.items()]):
        return [[str(name), value] for name, value in given.items()]
    return {str(name): value for name, value in given.items()}


def _overlap(given: Sequence[tuple[Any, Any]]) -> bool:
    """Whether two names or patterns with different values may match the same parameter."""
    pairs = combinations([(str(name), value) for name, value in given], 2)
    return any(value != other and _may_match_the_same(name, second) for (name, value), (second, other) in pairs)


def _may_match_the_same(first: str, second: str) -> bool:
    """By what stands before the first wildcard; a layer's name stands for `LAYER.weights` as well."""
    starts = [re.split(r"[*?[]", each)[0] for each in (first, second)]
    if [first, second] == starts:
        starts = [f"{each}." for each in starts]
    return starts[0].startswith(starts[1]) or starts[1].startswith(starts[0])


def _texts(names: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): str(other) for name, other in names.items()}


def _squares(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's arguments with one number for a size that is the same in all directions."""
    return {
        name: value[0] if isinstance(value, list) and len(set(map(repr, value))) == 1 else value
        for name, value in arguments.items()
    }


def _watched(config: TrainConfig, content: Mapping[str, Any]) -> dict[str, Any]:
    """What the run goes by, with the metrics that it takes by itself."""
    metric = config.metric or ("train_loss" if config.split.kind == "none" else "val_loss")
    mode, stop = config.mode, content["early_stopping"]
    if mode is not None and mode == direction(metric):
        mode = None
    if stop is not None and mode is None:
        watched = stop["metric"] or metric
        stop = {**stop, "metric": watched}
        if stop["mode"] == direction(watched):
            stop["mode"] = None
    return {"metric": metric, "mode": mode, "early_stopping": stop}
