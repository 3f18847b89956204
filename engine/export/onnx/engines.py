"""Other engines that run an ONNX model, to hold a written file against the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Run = Callable[[Any, Path, NDArray[Any]], NDArray[Any]]
"""Gives what the model in a file says about an input, by the engine's own module."""


def onnxruntime(engine: Any, path: Path, values: NDArray[Any]) -> NDArray[Any]:
    session = engine.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: values})[0])


def openvino(engine: Any, path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """In float32: it would compute in bfloat16 by itself where the processor can."""
    compiled = engine.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(values)[0])


def reference(engine: Any, path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """ONNX's own evaluator, in NumPy."""
    evaluator = engine.ReferenceEvaluator(str(path))
    with np.errstate(all="ignore"):
        return np.asarray(evaluator.run(None, {evaluator.input_names[0]: values})[0])


def tract(engine: Any, path: Path, values: NDArray[Any]) -> NDArray[Any]:
    model = engine.onnx().load(str(path))
    model.set_input_fact(0, f"{','.join(map(str, values.shape))},{'u8' if values.dtype == np.uint8 else 'f32'}")
    return np.asarray(model.into_model().into_runnable().run([values])[0].to_numpy())


ENGINES: Mapping[str, tuple[str, Run]] = {
    "ONNX Runtime": ("onnxruntime", onnxruntime),
    "OpenVINO": ("openvino", openvino),
    "the reference evaluator": ("onnx.reference", reference),
    "tract": ("tract", tract),
}
"""Name → its module, and how it runs a file."""


def installed() -> Iterator[tuple[str, Any, Run]]:
    """The engines that are here: name, module, and how each runs a file."""
    for name, (module, run) in ENGINES.items():
        with suppress(ImportError):
            yield name, import_module(module), run
