"""This engine: `Trainer.step` and `predict`, as a user calls them; a recipe is its configuration's trainer."""

from __future__ import annotations

import cnncore

from engine.losses import CrossEntropy, PixelCrossEntropy
from engine.network.network import Network
from engine.optim import SGD, Adam
from engine.plan.plan import Plan
from engine.quantize import reading
from engine.quantize.network import QuantizedNetwork
from engine.recipe.config import read_config
from engine.recipe.fit import make_trainer
from engine.training.trainer import Trainer
from experiments.peers import job as jobs
from experiments.peers.exact import loaded
from experiments.peers.job import Job, Prepared, Recipe


def version() -> str:
    return f"cnn-engine, {cnncore.isa()}"


def prepare(job: Job, side: str) -> Prepared:
    cnncore.set_num_threads(job.threads)
    if job.recipe is not None:
        return _recipe_steps(job, job.recipe)
    if not job.trains:
        integers = job.task == jobs.INT8 and side != jobs.OURS_FLOAT
        return _predictions(job, reading.load(job.folder / jobs.QUANTIZED) if integers else loaded(job))
    net = loaded(job)
    x, y = job.arrays["x"], job.arrays["y"]
    optimizer = (
        SGD(lr=job.learning_rate, momentum=jobs.MOMENTUM)
        if job.optimizer == jobs.SGD
        else Adam(lr=job.learning_rate, betas=jobs.BETAS, eps=jobs.EPSILON)
    )
    loss = PixelCrossEntropy() if len(job.output_shape) == 3 else CrossEntropy()
    trainer = Trainer(net, optimizer, loss, batch_size=job.batch)
    session = trainer.open_session(job.batch)
    return Prepared(lambda: trainer.step(x, y), lambda: planned_bytes(session.plan))


def _predictions(job: Job, net: Network | QuantizedNetwork) -> Prepared:
    x = job.arrays["x"]
    return Prepared(lambda: net.predict(x, batch_size=job.batch), lambda: planned_bytes(net.plan(batch=job.batch)))


def planned_bytes(plan: Plan) -> int:
    """All that the program works on, with the present number of threads."""
    return plan.footprint.bytes(cnncore.get_num_threads())


def _recipe_steps(job: Job, recipe: Recipe) -> Prepared:
    """The trainer of the recipe's configuration, from the job's weights on."""
    trainer = make_trainer(read_config(recipe.config), None)
    trainer.net.load_parameters({name: job.arrays[name] for name in trainer.net.store.slots})
    trainer.net.load_buffers({name: job.arrays[name] for name in trainer.net.store.buffer_slots})
    per_epoch = len(recipe.rates) // recipe.epochs
    trainer.set_length(recipe.epochs, per_epoch)
    session = trainer.open_session(job.batch)
    batches = list(zip(job.arrays["x"], job.arrays["y"], strict=True))
    taken = 0

    def step() -> float:
        nonlocal taken
        trainer.steps = taken % len(recipe.rates)
        trainer.epoch = trainer.steps // per_epoch
        x, y = batches[taken % len(batches)]
        taken += 1
        return trainer.step(x, y)

    return Prepared(step, lambda: planned_bytes(session.plan))
