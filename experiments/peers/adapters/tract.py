"""tract, whose Python package computes in one thread, whatever the number of the others is."""

from __future__ import annotations

from typing import Any

import tract

from experiments.peers.job import MODEL, Job, Prepared


def version() -> str:
    return f"tract {tract.version()} (one thread)"


def prepare(job: Job, side: str) -> Prepared:
    x = job.arrays["x"]
    model = tract.onnx().load(str(job.folder / MODEL))
    model.set_input_fact(0, f"{','.join(map(str, x.shape))},f32")
    runnable = model.into_model().into_runnable()

    def predict() -> Any:
        return runnable.run([x])[0].to_numpy()

    return Prepared(predict)
