"""ONNX Runtime on its CPU provider: every graph optimisation, the batch size fixed in the graph.

`export` runs beforehand in a process of its own, as it needs the onnx package: a user finds the model's file ready.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from experiments.peers.job import Job, Node, Prepared

FILE = "model.onnx"
# Old enough for every release of the last years, but for an operator that came later.
OPSET, IR_VERSION = 17, 8
WITH_GELU = 20, 9


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
    values = {job.nodes[0].inputs[0]: "input"}

    def add(name: str, operator: str, inputs: list[str], attributes: dict[str, Any]) -> str:
        operators.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    for node in job.nodes:
        sources = [values[each] for each in node.inputs]
        operator, attributes = _operator(node)
        if operator is None:
            values[node.name] = sources[0]
            continue
        arrays = _arrays(job, node)
        constants += [numpy_helper.from_array(array, f"{node.name}.{name}") for name, array in arrays.items()]
        sources += [f"{node.name}.{name}" for name in arrays]
        value = add(f"value.{node.name}", operator, sources, attributes)
        if node.kind == "GlobalAvgPool2D":
            value = add(f"{value}.flat", "Flatten", [value], {})
        values[node.name] = value
    graph = helper.make_graph(
        operators,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [job.batch, *job.nodes[0].shape])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [job.batch, *job.output_shape])],
        constants,
    )
    opset, ir_version = WITH_GELU if any(node.kind == "GELU" for node in job.nodes) else (OPSET, IR_VERSION)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    checker.check_model(model)
    save(model, str(job.folder / FILE))


def _arrays(job: Job, node: Node) -> dict[str, Any]:
    """The constant inputs of the operator, in its order."""
    given = node.arguments
    if node.kind == "BatchNorm":  # the operator wants scale and shift also where the layer has none
        mean = job.get(node, "running_mean")
        assert mean is not None
        absent = {"weights": np.ones_like(mean), "bias": np.zeros_like(mean)}
        names = ("weights", "bias", "running_mean", "running_var")
        return {name: absent.get(name) if (found := job.get(node, name)) is None else found for name in names}
    if node.kind == "Scale":
        factor = job.get(node, "weights") if given["factor"] is None else np.float32(given["factor"])
        return {"factor": np.asarray(factor).reshape(-1, *[1] * (len(node.shape) - 1))}
    if node.kind == "PadChannels":
        after = given["before"] if given["after"] is None else given["after"]
        rest = [0] * (len(node.shape) - 1)
        return {"pads": np.array([0, given["before"], *rest, 0, after, *rest], np.int64)}
    if node.kind == "Pad2D":
        top, bottom, left, right = node.pads
        return {"pads": np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)}
    if node.kind in ("Clip", "ReLU6"):
        ends = (given["low"], given["high"]) if node.kind == "Clip" else (0.0, 6.0)
        return dict(zip(("low", "high"), np.array(ends, np.float32), strict=True))
    return {name: array for name in ("weights", "bias") if (array := job.get(node, name)) is not None}


def _operator(node: Node) -> tuple[str | None, dict[str, Any]]:
    """ONNX operator of a layer and its attributes; None where inference does nothing."""
    given = node.arguments
    match node.kind:
        case "Conv2D":
            return "Conv", {**_convolution(node, node.zero_pads), "dilations": node.pair("dilation")}
        case "ConvTranspose2D":
            extra = node.pair("output_padding")
            return "ConvTranspose", {
                **_convolution(node, node.pads), "dilations": node.pair("dilation"), "output_padding": extra
            }  # fmt: skip
        case "Linear":
            return "Gemm", {"transB": 1}
        case "MaxPool2D" | "AvgPool2D":
            window = {
                "kernel_shape": node.pair("kernel"),
                "strides": node.pair("stride", default="kernel"),
                "pads": node.pair("padding") * 2,
                "ceil_mode": int(given["ceil_mode"]),
            }
            if node.kind == "MaxPool2D":
                return "MaxPool", window
            return "AveragePool", {**window, "count_include_pad": int(given["count_include_pad"])}
        case "Pad2D":
            return "Pad", {"mode": {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}[given["mode"]]}
        case "BatchNorm":
            return "BatchNormalization", {"epsilon": given["eps"]}
        case "Softmax" | "Concat":
            return node.kind, {"axis": 1}
        case "ELU":
            return "Elu", {"alpha": given["alpha"]}
        case "LeakyReLU":
            return "LeakyRelu", {"alpha": given["slope"]}
        case "Hardsigmoid":
            return "HardSigmoid", {"alpha": 1.0 / 6.0, "beta": 0.5}
        case "GELU":
            return "Gelu", {"approximate": given["approximate"]}
        case "Dropout" | "Dropout2D" | "StochasticDepth":
            return None, {}
    simple = {
        "ReLU": "Relu", "Flatten": "Flatten", "GlobalAvgPool2D": "GlobalAveragePool", "Add": "Sum", "Scale": "Mul",
        "PadChannels": "Pad", "Clip": "Clip", "ReLU6": "Clip", "Sigmoid": "Sigmoid", "Tanh": "Tanh",
        "Softplus": "Softplus", "Hardswish": "HardSwish",
    }  # fmt: skip
    if node.kind not in simple:
        raise NotImplementedError(f"a layer {node.kind}")
    return simple[node.kind], {}


def _convolution(node: Node, pads: tuple[int, int, int, int]) -> dict[str, Any]:
    top, bottom, left, right = pads
    return {
        "kernel_shape": node.pair("kernel"),
        "strides": node.pair("stride"),
        "group": node.arguments["groups"],
        "pads": (top, left, bottom, right),
    }
