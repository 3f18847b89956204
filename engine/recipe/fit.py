"""A whole training as a configuration says: trainer, loader, run, test."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from cnncore import set_num_threads

from engine.data.choose.weights import weighted
from engine.data.dataset import Dataset
from engine.data.loader import Loader, batch_mixer
from engine.data.location import data_root
from engine.errors import UserError, warn
from engine.files import json_text, write_atomically
from engine.network.finetune import idle_patterns
from engine.network.network import Network
from engine.network.transfer import InitializeConfig, Report, initialize_as
from engine.recipe.build import build_loss, build_network, build_optimizer, with_warmup, without_effect
from engine.recipe.config import TrainConfig, load_config
from engine.recipe.libraries import deciders
from engine.recipe.maps import check_maps
from engine.recipe.pseudo import pseudo_labels_line
from engine.recipe.roles import resumable
from engine.recipe.samples import load_data
from engine.recipe.whitening import check_whitening, whiten
from engine.training.checks import check_fits, check_preprocess
from engine.training.folder import RESULT, measured_values
from engine.training.history import History, Record
from engine.training.resume import find_last, holds_run, instruction_set
from engine.training.schedules.finder import Sweep, find_learning_rate
from engine.training.tracking import make_trackers
from engine.training.trainer import Trainer


def train(options: argparse.Namespace) -> None:
    """Do what the command line asks for: train, then evaluate on the test part if there is one.

    The test uses the best epoch where a validation set picked it, otherwise the last weights.
    """
    config = load_config(options.config, options.overrides)
    out = options.out or Path(config.out or Path("runs") / options.config.stem)
    holds_run(out, options.resume)
    where = f"{options.config}: "
    trainer = checked_trainer(config, out, where)
    if trainer.initialized is not None:
        print(Report(**trainer.initialized))
    train_set, validation, test = load_data(config, data_root(options.data_root, config.data_root), where)
    if idle := [*without_effect(config), *on_frozen_layers(config, trainer)]:
        warn(f"{where}what has no effect: {'; '.join(idle)}")
    if "pseudo_labels" in train_set.record:
        print(pseudo_labels_line(train_set.record["pseudo_labels"]))
    history, result = fit_and_test(config, trainer, train_set, validation, test, resume=options.resume)
    print(f"best epoch {history.best_epoch}: {history.metric} {history.best_value}")
    measured = [f"{name.removeprefix('test_')} {value:.4f}" for name, value in result.items() if name[:5] == "test_"]
    if measured:
        print("test: " + ", ".join(measured))
    print(f"written: {out}")


def on_frozen_layers(config: TrainConfig, trainer: Trainer) -> list[str]:
    """What the configuration says of the learning of frozen layers, as `without_effect`."""
    slots, rates, ends = trainer.net.store.slots, config.learning_rates, config.freeze_after
    return [
        f"{key}.{pattern}: freeze holds it"
        for key, given in (("learning_rates", rates), ("freeze_after", ends))
        for pattern in idle_patterns(slots, trainer.frozen, given)
    ]


def find_rate(options: argparse.Namespace) -> Sweep:
    """What the search for a learning rate measures on the configuration's training samples; nothing is written."""
    config = load_config(options.config, options.overrides)
    where = f"{options.config}: "
    trainer = checked_trainer(config, None, where)
    train_set, _, _ = load_data(config, data_root(options.data_root, config.data_root), where)
    set_first_filters(config, trainer, train_set)
    loader = make_loader(config, train_set, trainer.net)
    names = ("max_norm", "algorithm", "freeze", "learning_rates", "accumulate", "memory")
    given = {name: getattr(config, name) for name in names}
    if config.average is not None and config.average.kind == "lookahead":  # other averages leave the steps as they are
        given["average"] = config.average
    return find_learning_rate(
        trainer.net, loader, trainer.optimizer, trainer.loss, batch_size=config.batch_size, seed=config.seed, **given
    )


def checked_trainer(config: TrainConfig, out: Path | None, where: str) -> Trainer:
    """The trainer of the configuration, with its threads set.

    All that can be wrong in the file shows here, before data are read, which may take long; `where` begins the message.
    """
    try:
        set_num_threads(config.threads)
    except ValueError as error:
        raise UserError(f"{where}threads: {error}") from None
    try:
        trainer = make_trainer(config, out)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    try:
        check_preprocess(config.preprocess, trainer.net.input_shape)
    except UserError as error:
        raise UserError(f"{where}preprocess: {error}") from None
    return trainer


def fit_and_test(
    config: TrainConfig,
    trainer: Trainer,
    train_set: Dataset,
    validation: Dataset | None,
    test: Dataset | None,
    *,
    resume: bool,
    callbacks: Sequence[Callable[[Record], None]] = (),
    restore_best: bool = True,
) -> tuple[History, Record]:
    """Train in the trainer's folder, then measure the test part with the best epoch's weights, or with the last ones
    where no validation set picked it or `restore_best` is off. Returns the history and the content of result.json,
    which is written last. No other process may train in the folder meanwhile.
    """
    if test is not None:  # now: what does not fit would show after all epochs
        test = test.with_classes(train_set.class_names)
        check_fits(trainer, test)
    with trainer.holding():
        set_first_filters(config, trainer, train_set)
        history = trainer.fit(
            make_loader(config, train_set, trainer.net),
            validation,
            epochs=config.epochs,
            early_stopping=config.early_stopping,
            resume=resume,
            checkpoint_every=config.checkpoint_every,
            checkpoint_seconds=config.checkpoint_seconds,
            callbacks=callbacks,
            train_metrics=config.train_metrics,
            restore_best=restore_best and validation is not None,
        )
        result = final_figures(history)
        result["seed"] = config.seed
        result["parameters"] = trainer.net.num_parameters
        result["classes"] = list(train_set.class_names)
        parts = {"training": train_set, "validation": validation, "test": test}
        result["samples"] = {name: len(part) for name, part in parts.items() if part is not None}
        if trainer.initialized is not None:
            result["initialized"] = trainer.initialized
        if validation is not None and not trainer.each_epoch:
            with instruction_set(trainer.isa):
                measured = trainer.further(validation)
            result |= {f"val_{name}": value for name, value in measured.items()}
        if test is not None:
            with instruction_set(trainer.isa):
                measured = trainer.evaluate(test) | trainer.further(test)
            best = restore_best and validation is not None and history.best_epoch is not None
            result["tested_epoch"] = history.best_epoch if best else len(history.epochs)
            result |= {f"test_{name}": value for name, value in measured.items()}
        if any(len(versions) > 1 for versions in trainer.used_libraries.values()):
            result["libraries"] = dict(trainer.used_libraries)
        result |= train_set.record
        skipped = list(dict.fromkeys([*train_set.skipped, *(test.skipped if test is not None else ())]))
        if skipped:
            result["skipped_images"] = skipped
        if trainer.out is not None:
            write_atomically(trainer.out / RESULT, (json_text(result, indent=2) + "\n").encode())
        return history, result


def set_first_filters(config: TrainConfig, trainer: Trainer, train_set: Dataset) -> None:
    """Give the network the filters of the section `whiten`, if there is one and the training begins."""
    if config.whiten is not None and not _goes_on(trainer):
        whiten(trainer.net, train_set, config.whiten, config.seed)


def final_figures(history: History) -> Record:
    """What a run has come to: its best epoch and its last, with loss and metrics of every part that was evaluated after
    them. seconds: in training steps, evaluation not counted.
    """
    best = None if history.best_epoch is None else measured_values(history.epochs[history.best_epoch - 1])
    last = history.epochs[-1]
    return {
        "metric": history.metric,
        "best_epoch": history.best_epoch,
        "best_value": history.best_value,
        "epochs": len(history.epochs),
        "stopped_early": history.stopped_early,
        "steps": last["step"],
        "seconds": round(sum(history["seconds"]), 3),
        "best": best,
        "last": measured_values(last),
    }


def make_trainer(config: TrainConfig, out: Path | None) -> Trainer:
    """Network (with its first weights), optimiser, loss and schedule of the configuration, ready to fit."""
    loss = build_loss(config.loss)
    check_maps(config, loss)
    trainer = Trainer(
        build_network(config.model, config.seed),
        build_optimizer(config.optimizer),
        loss,
        with_warmup(config),
        batch_size=config.batch_size,
        seed=config.seed,
        out=out,
        metric=config.metric,
        mode=config.mode,
        max_norm=config.max_norm,
        algorithm=config.algorithm,
        tune=config.tune,
        freeze=config.freeze,
        learning_rates=config.learning_rates,
        freeze_after=config.freeze_after,
        average=config.average,
        accumulate=config.accumulate,
        memory=config.memory,
        config=config.to_dict(),
    )
    trainer.free_keys = resumable(TrainConfig)
    trainer.libraries = {name: str(version) for name, version in deciders(config).items()}
    trainer.trackers = make_trackers(out, config.tensorboard, config.wandb, trainer.config or {})
    if config.initialize_from is not None:
        initialize_trainer(trainer, config.initialize_from)
    if config.whiten is not None:
        check_whitening(trainer.net, config.whiten)
        layer, first = str(config.whiten.layer), trainer.initialized or {}
        if layer in first.get("loaded", ()):
            raise UserError(
                f"whiten: the layer {layer!r} has just been loaded from {first['checkpoint']}, whose filters would be "
                f"lost; leave it out there (initialize_from.exclude: [{layer}]), or do without whiten"
            )
        trainer.whitened = asdict(config.whiten)
    if config.evaluation_views is not None:
        config.evaluation_views.check(trainer.net)
        trainer.measure = config.evaluation_views
    return trainer


def make_loader(config: TrainConfig, dataset: Dataset, net: Network | None = None) -> Loader:
    """The loader of the training set, with the configuration's augmentation. Mixed labels have a column for each class,
    or each output of the network that they are for, which may have more."""
    if config.class_weights is not None or config.sample_weights is not None:
        dataset = weighted(dataset, config.class_weights, config.sample_weights)
    classes = max(len(dataset.class_names), 0 if net is None else net.output_shape[0])
    return Loader(
        dataset,
        config.batch_size * config.accumulate,
        seed=config.seed,
        drop_last=config.drop_last,
        augment=config.augment,
        batch_transform=batch_mixer(config.augment, classes),
        description=config.augment.describe(),
    )


def initialize_trainer(trainer: Trainer, section: InitializeConfig) -> None:
    """Give the trainer's network the weights that the section names, and its run the record of it.

    A run that goes on from a checkpoint has weights already: the source may be gone by then.
    """
    trainer.initialize_from = asdict(section)
    if _goes_on(trainer):
        return
    try:
        trainer.initialized = initialize_as(trainer.net, section).to_dict()
    except UserError as error:
        raise UserError(f"initialize_from: {error}") from None


def _goes_on(trainer: Trainer) -> bool:
    """Whether the trainer's run has a checkpoint to go on from, with weights of its own."""
    return trainer.out is not None and find_last(trainer.out).start is not None
