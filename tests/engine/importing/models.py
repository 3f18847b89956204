"""Small ONNX models, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def model(
    nodes: Sequence[Any],
    constants: dict[str, Any] | None = None,
    shape: Sequence[int | str] = ("N", 2, 6, 6),
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
) -> Any:
    """An onnx.ModelProto that reads "x" and gives "y". Nodes are (operator, inputs, attributes), and give "0", "1", …,
    the last one "y"; or onnx.NodeProto."""
    from onnx import TensorProto, helper, numpy_helper

    made = []
    for index, node in enumerate(nodes):
        if isinstance(node, tuple):
            operator, inputs, attributes = node
            output = "y" if index == len(nodes) - 1 else str(index)
            node = helper.make_node(operator, inputs.split(), [output], name=f"n{index}", **attributes)
        made.append(node)
    graph = helper.make_graph(
        made,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


def written(path: Path, *parts: Any, **settings: Any) -> Path:
    path.write_bytes(model(*parts, **settings).SerializeToString())
    return path


def weights(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
