"""MNN: a session at high precision, which on x86 is float32, with its input and output in the order N, C, H, W.

`export` calls the converter as a library: its command installs another package by itself.
"""

from __future__ import annotations

from typing import Any

import MNN
import numpy as np

from experiments.peers.job import MODEL, Job, Prepared

FILE = "model.mnn"
ORDER = MNN.Tensor_DimensionType_Caffe
SETTINGS = {"backend": "CPU", "precision": "high", "power": "high", "memory": "high"}


def version() -> str:
    return f"MNN {MNN.version()}"


def export(job: Job) -> None:
    """Write the job's model in MNN's format."""
    import _tools  # MNN's, which has no better name

    files = ["--modelFile", str(job.folder / MODEL), "--MNNModel", str(job.folder / FILE)]
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", *files, "--bizCode", "none"])
    if not (job.folder / FILE).is_file():
        raise RuntimeError("the converter wrote no file")


def prepare(job: Job, side: str) -> Prepared:
    interpreter = MNN.Interpreter(str(job.folder / FILE))
    session = interpreter.createSession({**SETTINGS, "numThread": job.threads})
    x = job.arrays["x"]
    inside = interpreter.getSessionInput(session)
    interpreter.resizeTensor(inside, x.shape)
    interpreter.resizeSession(session)
    given = MNN.Tensor(x.shape, MNN.Halide_Type_Float, x, ORDER)
    result = interpreter.getSessionOutput(session)
    shape = (job.batch, *job.output_shape)
    taken = MNN.Tensor(shape, MNN.Halide_Type_Float, np.empty(shape, np.float32), ORDER)

    def predict() -> Any:
        inside.copyFrom(given)
        interpreter.runSession(session)
        result.copyToHostTensor(taken)
        return taken.getNumpyData()

    return Prepared(predict)
