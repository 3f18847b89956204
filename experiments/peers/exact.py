"""A job's network as an ONNX model, of integers too, which other engines read, and what that model says in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.export.onnx.model import to_onnx
from engine.network.load import from_config
from engine.network.network import Network
from engine.quantize.build import quantize
from engine.reading.packages import optional
from experiments.peers.job import FLOAT_MODEL, INT8, MODEL, QUANTIZED, Array, Job

IMAGES = 4  # of a batch that are computed in float64: the evaluator's pools take a second for an image


def loaded(job: Job) -> Network:
    """The network with the job's weights and running statistics."""
    net = from_config(job.graph)
    net.load_parameters({name: job.arrays[name] for name in net.store.slots})
    net.load_buffers({name: job.arrays[name] for name in net.store.buffer_slots})
    return net


def write_model(job: Job) -> None:
    """Write MODEL to the job's folder, and for integers FLOAT_MODEL and QUANTIZED; UserError without the onnx package,
    or for a layer that ONNX, or the integers, cannot express."""
    net = loaded(job)
    if job.task != INT8:
        to_onnx(net, job.folder / MODEL)
        return
    quantized = quantize(net, job.arrays["samples"])
    quantized.save(job.folder / QUANTIZED)
    to_onnx(quantized, job.folder / MODEL)
    to_onnx(net, job.folder / FLOAT_MODEL)


def exact(job: Job) -> Array:
    """What MODEL says of the first IMAGES images, float64 (n, *output shape), by onnx's reference evaluator.

    UserError without the onnx package.
    """
    onnx = optional("onnx", "peers", "the comparison of errors")
    reference = optional("onnx.reference", "peers", "the comparison of errors")
    model = in_float64(onnx, onnx.load(job.folder / MODEL))
    values = job.arrays["x"][:IMAGES].astype(np.float64)
    (said,) = reference.ReferenceEvaluator(model).run(None, {model.graph.input[0].name: values})
    assert said.dtype == np.float64, "a constant of the model is still float32"
    return np.asarray(said)


def in_float64(onnx: Any, model: Any) -> Any:
    """The model with its float32 constants, input and output as float64."""
    kinds, arrays = onnx.TensorProto, onnx.numpy_helper
    for constant in model.graph.initializer:
        if constant.data_type == kinds.FLOAT:
            values = arrays.to_array(constant).astype(np.float64)
            constant.CopyFrom(arrays.from_array(values, constant.name))
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.type.tensor_type.elem_type == kinds.FLOAT:
            value.type.tensor_type.elem_type = kinds.DOUBLE
    return model


def error(expected: Array, said: Array) -> float:
    """Largest difference from what is expected of the first images, as a share of the largest value expected; infinite
    where the shapes do not fit."""
    said = said[: len(expected)]
    if said.shape != expected.shape:
        return float("inf")
    return float(np.abs(said - expected).max() / np.abs(expected).max())
