"""What cannot be read: one error that names the file, the node and the reason, before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.errors import UserError
from tests.engine.costs import check_costs
from tests.engine.importing.models import model, weights, written

onnx = pytest.importorskip("onnx", reason="needs the package onnx")

W = {"w": weights(3, 2, 3, 3)}
FLAT = ("Flatten", "x", {})
REFUSED: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "operator": (
        [("Relu", "x", {}), ("LRN", "0", {"size": 3})],
        {},
        r"node 'n1' \(LRN\): the engine has no such operation",
    ),
    "attribute": ([("Conv", "x w", {"colour": 3})], W, r"node 'n0' \(Conv\): attribute 'colour' is none that"),
    "attribute of another kind": ([("Conv", "x w", {"group": "two"})], W, "attribute group must be a whole number"),
    "flag": ([("MaxPool", "x", {"kernel_shape": (2, 2), "ceil_mode": 3})], {}, "ceil_mode must be 0 or 1, not 3"),
    "computed weights": ([("Relu", "x", {}), ("Conv", "x 0", {})], {}, "its weights, '0', is computed"),
    "kernel": ([("Conv", "x w", {"kernel_shape": (5, 5)})], W, r"kernel_shape is \(5, 5\), but its weights have"),
    "groups": ([("Conv", "x w", {"group": 2})], W, "has weights for 4 channels, but its input has 2"),
    "negative pads": ([("Conv", "x w", {"pads": (-1, 0, 0, 0)})], W, "has negative pads"),
    "both pads": ([("Conv", "x w", {"pads": (1, 0, 0, 0), "auto_pad": "VALID"})], W, "both pads and auto_pad"),
    "strides": ([("Conv", "x w", {"strides": (0, 0)})], W, "stride"),
    "large kernel": ([("Conv", "x w", {"dilations": (4, 4)})], W, "larger than the padded image"),
    "output shape": (
        [("ConvTranspose", "x w", {"output_shape": (9, 9)})],
        {"w": weights(2, 3, 3, 3)},
        "engines read differently",
    ),
    "dilated pool": ([("MaxPool", "x", {"kernel_shape": (2, 2), "dilations": (2, 2)})], {}, "has dilations"),
    "pool that leaves pixels out": (
        [("MaxPool", "x", {"kernel_shape": (2, 2), "strides": (1, 3), "auto_pad": "SAME_UPPER"})],
        {},
        "where strides leave pixels out",
    ),
    "groups over the batch": (
        [("Reshape", "x inner", {}), ("InstanceNormalization", "0 s s", {}), ("Reshape", "1 outer", {})],
        {"inner": [1, 2, -1], "s": weights(2), "outer": [0, 2, -1, 6]},
        r"makes shape \(1, 2, -1\)",
    ),
    "groups in another order": (
        [("Reshape", "x inner", {}), ("InstanceNormalization", "0 s s", {}), ("Reshape", "1 outer", {})],
        {"inner": [0, 2, -1], "s": weights(2), "outer": [0, 2, 4, -1]},
        "gives groups another shape",
    ),
    "indices": (
        [onnx.helper.make_node("MaxPool", ["x"], ["0", "i"], kernel_shape=[2, 2]), ("Add", "0 i", {})],
        {},
        "'i' is a further output",
    ),
    "training": ([("BatchNormalization", "x c c c c", {"training_mode": 1})], {"c": weights(2)}, "in training mode"),
    "variance": (
        [("BatchNormalization", "x c c c v", {})],
        {"c": weights(2), "v": -np.ones(2, np.float32)},
        "negative running variance",
    ),
    "NaN": ([("Mul", "x c", {})], {"c": np.float32(np.nan)}, "has NaN, infinity"),
    "overflow": (
        [FLAT, ("Gemm", "0 w", {"alpha": 3e38})],
        {"w": np.full((72, 2), 10, np.float32)},
        "its weights would have numbers beyond float32",
    ),
    "halves": ([("Cast", "x", {"to": 10})], {}, "changes the type of numbers"),
    "batch flattened": ([("Flatten", "x", {"axis": 0})], {}, "from axis 0 on"),
    "batch moved": ([("Transpose", "x", {"perm": (1, 0, 2, 3)})], {}, "which moves the batch"),
    "batch shaped": ([("Reshape", "x s", {})], {"s": [4, -1]}, r"makes shape \(4, -1\)"),
    "another shape": ([("Reshape", "x s", {})], {"s": [0, 6, 2, 6]}, "which the engine does not have"),
    "places": ([("Add", "x c", {})], {"c": weights(6, 6)}, "differs along other axes than the channels"),
    "samples": ([("Add", "x c", {})], {"c": weights(3, 2, 6, 6)}, "differs from sample to sample"),
    "shifted vector": (
        [FLAT, ("Relu", "0", {}), ("Add", "1 c", {})],
        {"c": weights(72)},
        "adds a constant to a vector",
    ),
    "softmax of rows": ([("Softmax", "x", {"axis": 2})], {}, "over axis 2"),
    "output in another order": (
        [("Relu", "x", {}), ("Transpose", "0", {"perm": (0, 2, 3, 1)})],
        {},
        "is the output, whose axes",
    ),
    "scaled unevenly": (
        [("Resize", "x n s", {})],
        {"n": np.zeros(0, np.float32), "s": np.float32([1, 1, 1.5, 2])},
        "by whole numbers",
    ),
    "cubic": (
        [("Resize", "x n s", {"mode": "cubic"})],
        {"n": np.zeros(0, np.float32), "s": np.float32([1, 1, 2, 2])},
        "mode cubic",
    ),
    "factors of places": (
        [("Pad", "x p z", {}), ("AveragePool", "0", {"kernel_shape": (2, 2)}), ("Mul", "1 c", {})],
        {"p": [0, 0, 1, 1, 0, 0, 1, 1], "z": np.float32(0), "c": weights(1, 1, 7, 7)},
        "by factors that differ from place to place",
    ),
    "padded with ones": ([("Pad", "x p o", {})], {"p": [0] * 7 + [1], "o": np.float32(1)}, "pads with 1"),
    "no data": ([("Constant", "", {"value_float": 1.0})], {}, "does not depend on its input"),
    "unknown value": ([("Relu", "z", {})], {}, "reads 'z', which is neither a constant nor"),
    "twice": (
        [onnx.helper.make_node("Relu", ["x"], ["y"]), ("Relu", "y", {})],
        {},
        "gives 'y', as something before it does",
    ),
    "circle": ([onnx.helper.make_node("Add", ["x", "y"], ["0"]), ("Relu", "0", {})], {}, "reads 'y', which is neither"),
    "division": ([("Div", "x c", {})], {"c": np.float32(0)}, "divides by 0"),
    "large constants": (
        [("Add", "a b", {}), ("Add", "x 0", {})],
        {"a": np.zeros((9000, 1), np.float32), "b": np.zeros(9000, np.float32)},
        "81000000 constants",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named(name: str, tmp_path: Path) -> None:
    nodes, constants, message = REFUSED[name]
    path = written(tmp_path / "net.onnx", nodes, constants)
    with pytest.raises(UserError, match=message) as caught:
        engine.from_onnx(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_grey_image_under_a_shape_of_one_number_is_refused(tmp_path: Path) -> None:
    """Whether the channels stand last is told by the shape that comes first."""
    path = written(tmp_path / "net.onnx", [("Reshape", "x s", {})], {"s": np.int64(-1)}, shape=("N", 5, 5, 1))
    with pytest.raises(UserError, match=r"makes shape \(-1,\)"):
        engine.from_onnx(path)


def test_pads_of_an_axis_that_there_is_not_are_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Pad", ["x", "p", "", "a"], ["y"])
    with pytest.raises(UserError, match=r"pads the axes \(7,\) of \('N', 2, 6, 6\)"):
        engine.from_onnx(written(tmp_path / "net.onnx", [node], {"p": [1, 1], "a": [7]}, opset=18))


def damaged(tmp_path: Path, change: Any, **settings: Any) -> Path:
    """A model of one convolution, after a change."""
    made = model([("Conv", "x w", {})], W, **settings)
    change(made)
    path = tmp_path / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def tensor(made: Any) -> Any:
    return made.graph.initializer[0]


def dims(*extents: int) -> Any:
    def change(made: Any) -> None:
        tensor(made).dims[:] = extents

    return change


def elsewhere(location: str, **entries: str) -> Any:
    def change(made: Any) -> None:
        each = tensor(made)
        each.ClearField("raw_data")
        each.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            each.external_data.add(key=key, value=value)

    return change


def broken_name(made: Any) -> None:
    """Bytes that are no UTF-8 in the name of an operator: a field of the format takes them as they are."""
    node = onnx.NodeProto.FromString(made.graph.node[0].SerializeToString().replace(b"Conv", b"C\xffnv"))
    made.graph.node[0].CopyFrom(node)


LIES: dict[str, tuple[Any, str]] = {
    "another shape": (dims(3, 2, 3, 4), r"has shape \(3, 2, 3, 4\), but 54 numbers"),
    "huge": (dims(2**40, 2**40), "which no array has"),
    "negative": (dims(-1, 2, 3, 3), "which no array has"),
    "half a number": (lambda made: setattr(tensor(made), "raw_data", b"abc"), "which are no whole float numbers"),
    "text": (lambda made: setattr(tensor(made), "data_type", 8), "is of type string"),
    "unknown type": (lambda made: setattr(tensor(made), "data_type", 99), "is of type unknown"),
    "above": (elsewhere("../net.bin"), "outside of the model's folder"),
    "absolute": (elsewhere("/etc/passwd"), "outside of the model's folder"),
    "not there": (elsewhere("net.bin"), "which is not beside the model"),
    "in a link": (elsewhere("link.bin"), "outside of the model's folder"),
    "behind the end": (elsewhere("short.bin", offset="4", length="216"), "has 8 bytes, but 4"),
    "another length": (elsewhere("short.bin"), "but 8 bytes"),
    "no place": (elsewhere("short.bin", offset="ten"), "is no number"),
    "no name": (elsewhere(""), "cannot be read"),
    "no text": (lambda made: broken_name(made), "has a name that is no UTF-8"),
    "functions": (lambda made: made.functions.add(name="f"), "functions of its own"),
    "no version": (lambda made: made.ClearField("opset_import"), "does not state the version"),
    "old": (lambda made: setattr(made.opset_import[0], "version", 5), "is of opset 5"),
    "preprocess": (
        lambda made: made.metadata_props.add(key="preprocess", value="{"),
        "metadata preprocess: is no JSON",
    ),
    "no scaling": (
        lambda made: made.metadata_props.add(key="preprocess_in_graph", value="true"),
        "says that it scales images itself, but no node gives 'normalised'",
    ),
    "steps": (lambda made: made.metadata_props.add(key="preprocess", value='{"a": 1}'), "preprocess"),
    "classes": (lambda made: made.metadata_props.add(key="class_names", value="3"), "class"),
    "nothing computed": (lambda made: setattr(made.graph.output[0], "name", "x"), "its output 'x' is its input"),
    "no input": (lambda made: made.graph.ClearField("input"), "expected one input"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_file_that_lies_is_refused(name: str, tmp_path: Path) -> None:
    change, message = LIES[name]
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "net.bin").write_bytes(bytes(216))
    (folder / "link.bin").symlink_to(tmp_path / "net.bin")
    (folder / "short.bin").write_bytes(bytes(8))
    path = damaged(folder, change)
    with pytest.raises(UserError, match=message) as caught:
        engine.from_onnx(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    whole = model([("Conv", "x w", {})], W).SerializeToString()
    for content in (b"", b"abc", whole[:100], whole[: len(whole) // 2], b"\x00" * 50):
        path.write_bytes(content)
        with pytest.raises(UserError, match="net.onnx: "):
            engine.from_onnx(path)
    with pytest.raises(OSError):
        engine.from_onnx(tmp_path / "missing.onnx")


READ = """
import engine
read = engine.from_onnx
"""


def test_small_files_that_ask_for_much_are_refused_soon(tmp_path: Path) -> None:
    one = {"c": np.float32(1)}
    sums = [(("Add", f"{2 * i - 1} c", {}), ("Relu", str(2 * i), {})) for i in range(4)]  # filters for every channel
    chain = [("Add", "x c", {}), *[op for pair in sums for op in pair][1:]]
    files = {
        written(tmp_path / "channels.onnx", chain, one, shape=("N", 2**23, 1, 1)): "weights so far take",
        written(tmp_path / "map.onnx", [("Relu", "x", {})], shape=("N", 4, 4000, 4000)): "of memory for one sample",
        written(tmp_path / "vector.onnx", [("Relu", "x", {})], shape=("N", 2**30)): "of memory for one sample",
        written(
            tmp_path / "beyond.onnx", [("Relu", "x", {})], shape=("N", 2**40, 2**40)
        ): "must be a whole number of at most",
        written(
            tmp_path / "pads.onnx", [("Pad", "x p", {})], {"p": [0, 0, 4000, 4000] * 2}
        ): "of memory for one sample",
        written(
            tmp_path / "filled.onnx", [("ConstantOfShape", "s", {}), ("Add", "x 0", {})], {"s": [2**40]}
        ): "makes an",
    }
    check_costs(READ, files)
