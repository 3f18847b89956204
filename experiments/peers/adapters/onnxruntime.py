"""ONNX Runtime on its CPU provider: every graph optimisation, the size of the batch fixed in the graph.

The side STATIC quantises the float32 model by itself, as its documentation advises for processors with
VNNI: QDQ, weights by channel, uint8 values.
"""

from __future__ import annotations

from typing import Any

import onnxruntime

from experiments.peers.job import FLOAT_MODEL, MODEL, STATIC, Array, Job, Prepared

FILE = "static.onnx"


def version() -> str:
    return f"onnxruntime {onnxruntime.__version__}"


def export(job: Job) -> None:
    """Write the job's float32 model as ONNX Runtime quantises it."""
    from onnxruntime import quantization
    from onnxruntime.quantization import shape_inference

    prepared = job.folder / "prepared.onnx"
    shape_inference.quant_pre_process(job.folder / FLOAT_MODEL, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared, job.folder / FILE, _samples(job.arrays["samples"]), per_channel=True,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip


def _samples(images: Array) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Samples(CalibrationDataReader):
        left = iter([{"input": images}])

        def get_next(self) -> dict[str, Array] | None:
            return next(self.left, None)

    return Samples()


def prepare(job: Job, side: str) -> Prepared:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    options.add_free_dimension_override_by_name("batch", job.batch)
    path = job.folder / (FILE if side == STATIC else MODEL)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {"input": job.arrays["x"]}
    return Prepared(lambda: session.run(None, feed)[0])
