"""ONNX Runtime on its CPU provider: every graph optimisation, the size of the batch fixed in the graph."""

from __future__ import annotations

import onnxruntime

from experiments.peers.job import MODEL, Job, Prepared


def version() -> str:
    return f"onnxruntime {onnxruntime.__version__}"


def prepare(job: Job, side: str) -> Prepared:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    options.add_free_dimension_override_by_name("batch", job.batch)
    session = onnxruntime.InferenceSession(str(job.folder / MODEL), options, providers=["CPUExecutionProvider"])
    feed = {"input": job.arrays["x"]}
    return Prepared(lambda: session.run(None, feed)[0])
