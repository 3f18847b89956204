"""Other engines that run an ONNX model, to hold a written file against the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Run = Callable[[Path, NDArray[Any]], NDArray[Any]]
"""Gives what the model in the file says about an input."""


def reference(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """ONNX's own evaluator, in NumPy."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    return np.asarray(ReferenceEvaluator(model).run(None, {model.graph.input[0].name: values})[0])


def onnxruntime(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    import onnxruntime as ort

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: values})[0])


def openvino(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """In float32: it would compute in bfloat16 by itself where the processor can."""
    import openvino as ov

    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(values)[0])


def tract(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    import tract as engine

    model = engine.onnx().load(str(path))
    model.set_input_fact(0, f"{','.join(map(str, values.shape))},{'u8' if values.dtype == np.uint8 else 'f32'}")
    return np.asarray(model.into_model().into_runnable().run([values])[0].to_numpy())


ENGINES: Mapping[str, tuple[str, Run]] = {
    "ONNX Runtime": ("onnxruntime", onnxruntime),
    "OpenVINO": ("openvino", openvino),
    "the reference evaluator": ("onnx", reference),
    "tract": ("tract", tract),
}
"""Name → the package that must be installed, and how it runs a file."""


def installed() -> Iterator[tuple[str, Run]]:
    """The engines that are here, by name."""
    for name, (package, run) in ENGINES.items():
        with suppress(ValueError):  # a package that is only half there
            if find_spec(package) is not None:
                yield name, run
