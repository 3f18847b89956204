"""LiteRT with XNNPACK, maps in the order N, H, W, C.

No converter from ONNX goes with its present release. litert-torch makes the file of the same network in PyTorch: where
that, or PyTorch, is not installed, so is this peer.
"""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from experiments.peers.job import Job, Prepared

FILE = "model.tflite"


def version() -> str:
    return f"ai-edge-litert {installed('ai-edge-litert')} (litert-torch {installed('litert-torch')})"


def export(job: Job) -> None:
    """Write the job's network in LiteRT's format."""
    import litert_torch
    import torch

    from experiments.peers.adapters.torch import network_of

    x = torch.from_numpy(channels_last(job.arrays["x"]))
    network = litert_torch.to_channel_last_io(network_of(job), args=[0]).eval()
    litert_torch.convert(network, (x,)).export(str(job.folder / FILE))


def channels_last(x: Any) -> Any:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def prepare(job: Job, side: str) -> Prepared:
    interpreter = Interpreter(model_path=str(job.folder / FILE), num_threads=job.threads)
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    x = channels_last(job.arrays["x"])

    def predict() -> Any:
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return Prepared(predict)
