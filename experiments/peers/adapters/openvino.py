"""OpenVINO on its CPU plugin, for the shortest latency: float32 throughout, shapes fixed, tensors bound beforehand.

Without the hint it computes in bfloat16 on processors that can.
"""

from __future__ import annotations

from typing import Any

import openvino

from experiments.peers.job import MODEL, Job, Prepared


def version() -> str:
    return f"openvino {openvino.__version__.partition('-')[0]}"


def prepare(job: Job, side: str) -> Prepared:
    core = openvino.Core()
    x = job.arrays["x"]
    model = core.read_model(str(job.folder / MODEL))
    model.reshape(list(x.shape))
    settings = {
        "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job.threads
    }  # fmt: skip
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
    said = request.get_output_tensor().data

    def predict() -> Any:
        request.infer()
        return said

    return Prepared(predict)
