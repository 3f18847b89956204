"""This engine: `Trainer.step` and `Network.predict`, as a user calls them."""

from __future__ import annotations

import cnncore

from engine.network.load import from_config
from engine.optim import SGD, Adam
from engine.plan.plan import Plan
from engine.training.trainer import Trainer
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
        return Prepared(lambda: net.predict(x, batch_size=job.batch), lambda: planned_bytes(net.plan(batch=job.batch)))
    optimizer = (
        SGD(lr=job.learning_rate, momentum=jobs.MOMENTUM)
        if job.optimizer == jobs.SGD
        else Adam(lr=job.learning_rate, betas=jobs.BETAS, eps=jobs.EPSILON)
    )
    trainer = Trainer(net, optimizer, batch_size=job.batch)
    session = trainer.open_session(job.batch)
    return Prepared(lambda: trainer.step(x, y), lambda: planned_bytes(session.plan))


def planned_bytes(plan: Plan) -> int:
    """All that the program works on, with the present number of threads."""
    return plan.footprint.bytes(cnncore.get_num_threads())
