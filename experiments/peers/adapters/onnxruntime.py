"""ONNX Runtime on its CPU provider: every graph optimisation, the batch size fixed in the graph.

`export` runs beforehand in a process of its own, as it needs the onnx package: a user finds the model's file ready.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from experiments.peers.job import Job, Node, Prepared

FILE = "model.onnx"
OPSET, IR_VERSION = 17, 8  # old enough for every release of the last years, with all that is needed here


def version() -> str:
    return f"onnxruntime {onnxruntime.__version__}"


def prepare(job: Job, side: str) -> Prepared:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(job.folder / FILE), options, providers=["CPUExecutionProvider"])
    feed = {"input": job.arrays["x"]}
    return Prepared(lambda: session.run(None, feed)[0])


def export(job: Job) -> None:
    """Write the job's network as ONNX to its folder."""
    from onnx import TensorProto, checker, helper, numpy_helper, save  # only now: a user's process runs without it

    constants: list[Any] = []
    operators: list[Any] = []
    value = "input"
    for node in job.nodes:
        operator, attributes = _operator(node)
        if operator is None:
            continue
        names = []
        for name in _arrays(node):
            array = job.get(node, name)
            if array is None:
                array = _left_out(job, node, name)
            if array is not None:
                names.append(f"{node.name}.{name}")
                constants.append(numpy_helper.from_array(array, names[-1]))
        operators.append(helper.make_node(operator, [value, *names], [f"value.{node.name}"], **attributes))
        value = f"value.{node.name}"
        if node.kind == "GlobalAvgPool2D":
            operators.append(helper.make_node("Flatten", [value], [f"{value}.flat"]))
            value = f"{value}.flat"
    graph = helper.make_graph(
        operators,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [job.batch, *job.nodes[0].shape])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [job.batch, *job.output_shape])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model)
    save(model, str(job.folder / FILE))


def _arrays(node: Node) -> tuple[str, ...]:
    if node.kind == "BatchNorm":
        return ("weights", "bias", "running_mean", "running_var")
    return ("weights", "bias")


def _left_out(job: Job, node: Node, name: str) -> Any:
    """Scale or shift of a batch normalisation that has none: the operator wants both."""
    if node.kind != "BatchNorm" or name not in ("weights", "bias"):
        return None
    mean = job.get(node, "running_mean")
    return np.ones_like(mean) if name == "weights" else np.zeros_like(mean)


def _operator(node: Node) -> tuple[str | None, dict[str, Any]]:
    """ONNX operator of a layer and its attributes; None where inference does nothing."""
    given = node.arguments
    match node.kind:
        case "Conv2D":
            top, bottom, left, right = node.zero_pads
            return "Conv", {
                "kernel_shape": node.pair("kernel"),
                "strides": node.pair("stride"),
                "dilations": node.pair("dilation"),
                "group": given["groups"],
                "pads": (top, left, bottom, right),
            }
        case "Linear":
            return "Gemm", {"transB": 1}
        case "MaxPool2D":
            return "MaxPool", {
                "kernel_shape": node.pair("kernel"),
                "strides": node.pair("stride", default="kernel"),
                "pads": node.pair("padding") * 2,
                "ceil_mode": int(given["ceil_mode"]),
            }
        case "BatchNorm":
            return "BatchNormalization", {"epsilon": given["eps"]}
        case "Softmax":
            return "Softmax", {"axis": 1}
        case "ELU":
            return "Elu", {"alpha": given["alpha"]}
        case "GELU":
            return "Gelu", {"approximate": given["approximate"]}
        case "Dropout" | "Dropout2D" | "StochasticDepth":
            return None, {}
    return {"ReLU": "Relu", "Flatten": "Flatten", "GlobalAvgPool2D": "GlobalAveragePool"}[node.kind], {}
