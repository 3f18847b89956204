"""This engine: `Trainer.step` and `Network.predict`, as a user calls them."""

from __future__ import annotations

import cnncore

from engine.graph import from_config
from engine.network import Network
from engine.optim import SGD, Adam
from engine.plan import Plan
from engine.trainer import Trainer
from experiments.peers import job as jobs
from experiments.peers.job import Job, Prepared


def version() -> str:
    return f"cnn-engine, {cnncore.isa()}"


def prepare(job: Job, side: str) -> Prepared:
    cnncore.set_num_threads(job.threads)
    net = from_config(job.graph)
    net.load_parameters({name: job.arrays[name] for name in net.store.slots})
    net.load_buffers({name: job.arrays[name] for name in net.store.buffer_slots})
    x, y = job.arrays["x"], job.arrays["y"]
    if not job.trains:
        return Prepared(
            lambda: net.predict(x, batch_size=job.batch), lambda: planned_bytes(net, net.plan(batch=job.batch))
        )
    optimizer = (
        SGD(lr=job.learning_rate, momentum=jobs.MOMENTUM)
        if job.optimizer == jobs.SGD
        else Adam(lr=job.learning_rate, betas=jobs.BETAS, eps=jobs.EPSILON)
    )
    trainer = Trainer(net, optimizer, batch_size=job.batch)
    session = trainer.open_session(job.batch)
    states = len(optimizer.states) * net.store.data.nbytes
    return Prepared(
        lambda: trainer.step(x, y), lambda: planned_bytes(net, session.plan) + net.store.gradients.nbytes + states
    )


def planned_bytes(net: Network, plan: Plan) -> int:
    """Arena, constants, parameters and running statistics."""
    return plan.arena_bytes + plan.constant_bytes + net.store.data.nbytes + net.store.buffers.nbytes
