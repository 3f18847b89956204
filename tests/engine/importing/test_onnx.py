"""Networks from ONNX models: those of other programs, and constructs one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.errors import UserError
from tests.engine.importing.models import model, weights, written

onnx = pytest.importorskip("onnx", reason="needs the package onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")

FILES = Path(__file__).parent / "files"
FOREIGN = sorted(path.name for path in FILES.glob("*.onnx"))


@pytest.mark.parametrize("name", FOREIGN)
def test_models_of_other_programs_say_what_they_said_there(name: str) -> None:
    said = np.load(FILES / f"{'_'.join(name.removesuffix('.onnx').split('_')[:2])}.npz")
    net = engine.from_onnx(FILES / name)
    given, expected = (
        np.ascontiguousarray(np.moveaxis(said[what], -1, 1)) if "keras" in name and said[what].ndim == 4 else said[what]
        for what in ("input", "output")
    )
    np.testing.assert_allclose(net.predict(given), expected, atol=1e-5)


def test_there_are_models_of_every_converter() -> None:
    assert {name.split("_")[0] for name in FOREIGN} == {"torch", "keras", "sklearn"}
    assert {name.split("_")[-1] for name in FOREIGN if "torch" in name} == {"script.onnx", "dynamo.onnx", "kept.onnx"}


def test_batch_normalisation_is_kept_and_can_be_trained() -> None:
    net = engine.from_onnx(FILES / "torch_resnet_kept.onnx")
    norms = [layer for layer in net.layers.values() if isinstance(layer, engine.BatchNorm)]
    assert len(norms) == 9 and {norm.momentum for norm in norms} == {0.1} and {norm.eps for norm in norms} == {1e-5}
    before = net.buffers()
    x = np.random.default_rng(0).standard_normal((4, *net.input_shape), np.float32)
    net.loss_and_gradients(x, np.arange(4), engine.CrossEntropy())
    assert any((net.buffers()[key] != before[key]).any() for key in before)


def test_numbers_in_a_file_beside_the_model(tmp_path: Path) -> None:
    whole = onnx.load(FILES / "torch_resnet_script.onnx")
    onnx.save(whole, tmp_path / "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0)
    assert (tmp_path / "net.bin").stat().st_size > (tmp_path / "net.onnx").stat().st_size / 2
    x = np.load(FILES / "torch_resnet.npz")["input"]
    expected = engine.from_onnx(FILES / "torch_resnet_script.onnx").predict(x)
    assert engine.from_onnx(tmp_path / "net.onnx").predict(x).tobytes() == expected.tobytes()


CONV = ("Conv", "x w", {"kernel_shape": (3, 3)})
CASES: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any]]] = {
    "same upper": ([("Conv", "x w", {"auto_pad": "SAME_UPPER", "strides": (2, 2)})], {"w": weights(3, 2, 4, 3)}, {}),
    "same lower": ([("Conv", "x w", {"auto_pad": "SAME_LOWER"})], {"w": weights(3, 2, 4, 3)}, {}),
    "valid": ([("Conv", "x w", {"auto_pad": "VALID", "dilations": (2, 2)})], {"w": weights(3, 2, 3, 3)}, {}),
    "sequence": ([("Conv", "x w", {"pads": (1, 0)})], {"w": weights(3, 2, 3)}, {"shape": ("N", 2, 6)}),
    "transposed same": (
        [("ConvTranspose", "x w", {"auto_pad": "SAME_UPPER", "strides": (2, 2)})],
        {"w": weights(2, 3, 3, 3)},
        {},
    ),
    "bias behind": ([CONV, ("Add", "0 b", {})], {"w": weights(3, 2, 3, 3), "b": weights(3, 1, 1)}, {}),
    "bias before": ([("Add", "b x", {}), ("Conv", "0 w", {})], {"w": weights(3, 2, 3, 3), "b": weights(2, 1, 1)}, {}),
    "norm by hand": (
        [("Sub", "x m", {}), ("Div", "0 s", {}), ("Mul", "1 w", {}), ("Add", "2 b", {})],
        {"m": weights(2, 1, 1), "s": np.abs(weights(2, 1, 1)) + 1, "w": weights(1, 2, 1, 1), "b": np.float32(0.5)},
        {},
    ),
    "difference": ([("Relu", "x", {}), ("Sub", "x 0", {})], {}, {}),
    "constant first": ([("Sub", "one x", {})], {"one": np.float32(1)}, {}),
    "max pads": ([("MaxPool", "x", {"kernel_shape": (3, 3), "pads": (2, 0, 0, 2)})], {}, {}),
    "max same": ([("MaxPool", "x", {"kernel_shape": (2, 2), "auto_pad": "SAME_LOWER"})], {}, {}),
    "max ceil": ([("MaxPool", "x", {"kernel_shape": (3, 3), "strides": (2, 2), "ceil_mode": 1})], {}, {}),
    "mean pads": (
        [("AveragePool", "x", {"kernel_shape": (3, 3), "pads": (1, 0, 0, 2), "count_include_pad": 1})],
        {},
        {},
    ),
    "mean same": (
        [("AveragePool", "x", {"kernel_shape": (3, 3), "strides": (2, 2), "auto_pad": "SAME_UPPER"})],
        {},
        {},
    ),
    "padded mean and a factor": (
        [("Pad", "x p z", {}), ("AveragePool", "0", {"kernel_shape": (2, 2)}), ("Mul", "1 c", {})],
        {"p": [0, 0, 1, 1, 0, 0, 1, 1], "z": np.float32(0), "c": np.float32(0.5)},
        {},
    ),
    "global maximum": ([("GlobalMaxPool", "x", {})], {}, {}),
    "mean of places": ([("ReduceMean", "x", {"axes": (-1, 2), "keepdims": 0})], {}, {}),
    "mean of one axis": ([("ReduceMean", "x", {"axes": (-1,), "keepdims": 0})], {}, {"shape": ("N", 3, 1, 5)}),
    "mean kept": (
        [("ReduceMean", "x axes", {}), ("Conv", "0 w", {})],
        {"axes": [2, 3], "w": weights(3, 2, 1, 1)},
        {"opset": 18},
    ),
    "gemm": (
        [("Flatten", "x", {}), ("Gemm", "0 w b", {"alpha": 0.5, "beta": 2.0})],
        {"w": weights(72, 5), "b": weights(1, 5)},
        {},
    ),
    "shape by operations": (
        [
            ("Shape", "x", {}),
            ("Gather", "0 first", {}),
            ("Unsqueeze", "1 axis", {}),
            ("Concat", "2 rest", {"axis": 0}),
            ("Reshape", "x 3", {}),
            ("MatMul", "4 w", {}),
            ("Add", "b 5", {}),
        ],
        {"first": np.int64(0), "axis": [0], "rest": [-1], "w": weights(72, 3), "b": weights(3)},
        {},
    ),
    "slice without axes but with steps": (
        [
            onnx.helper.make_node("Slice", ["numbers", "from", "to", "", "step"], ["column"]),
            ("Squeeze", "column one", {}),
            ("Reshape", "x 1", {}),
            ("MatMul", "2 w", {}),
        ],
        {
            "numbers": [[-1, 7], [5, 7], [72, 7]],
            "from": [0, 0],
            "to": [3, 1],
            "step": [2, 1],
            "one": [1],
            "w": weights(72, 3),
        },
        {},
    ),
    "channels last inside": (
        [
            ("Transpose", "x", {"perm": (0, 2, 3, 1)}),
            ("Add", "0 b", {}),
            ("Relu", "1", {}),
            ("Softmax", "2", {"axis": -1}),
            ("Reshape", "3 shape", {}),
            ("MatMul", "4 w", {}),
        ],
        {"b": weights(2), "shape": [-1, 72], "w": weights(72, 3)},
        {},
    ),
    "clips": (
        [("Clip", "x low", {}), ("Min", "0 three", {}), ("Max", "half 1", {})],
        {"low": np.float32(-1), "three": np.float32(1.5), "half": np.float32(-0.5)},
        {},
    ),
    "activations": (
        [
            ("Selu", "x", {}),
            ("Celu", "0", {"alpha": 2.0}),
            ("HardSigmoid", "1", {}),
            ("PRelu", "2 s", {}),
            ("Elu", "3", {"alpha": 0.5}),
            ("Softplus", "4", {}),
            ("Neg", "5", {}),
        ],
        {"s": weights(2, 1, 1)},
        {},
    ),
    "groups": (
        [("Reshape", "x inner", {}), ("InstanceNormalization", "0 s b", {"epsilon": 1e-3}), ("Reshape", "1 outer", {})],
        {"inner": [0, 1, -1], "s": weights(1), "b": weights(1) + 1, "outer": [0, 2, 6, 6]},
        {},
    ),
    "gated": ([("GlobalAveragePool", "x", {}), ("Sigmoid", "0", {}), ("Mul", "1 x", {})], {}, {}),
    "pads": (
        [("Pad", "x p", {"mode": "edge"}), ("Pad", "0 c", {})],
        {"p": [0, 0, 1, 0, 0, 0, 0, 2], "c": [0, 1, 0, 0] * 2},
        {},
    ),
    "resized to sizes": (
        [("Resize", "x n n s", {"mode": "linear"})],
        {"n": np.zeros(0, np.float32), "s": [3, 2, 12, 18]},
        {"shape": (3, 2, 6, 6)},
    ),
    "dropout": ([("Dropout", "x r", {}), ("Identity", "0", {})], {"r": np.float32(0.25)}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_construct_is_read_as_onnx_runtime_reads_it(name: str, tmp_path: Path) -> None:
    nodes, constants, settings = CASES[name]
    path = written(tmp_path / "net.onnx", nodes, constants, **settings)
    shape = [3, *settings.get("shape", (0, 2, 6, 6))[1:]]
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": values})
    net = engine.from_onnx(path)
    said = net.predict(values.reshape(3, *net.input_shape))
    np.testing.assert_allclose(said.reshape(expected.shape), expected, rtol=1e-5, atol=1e-5)


def test_several_operations_become_one_layer(tmp_path: Path) -> None:
    gate = [("HardSigmoid", "x", {"alpha": 1 / 6, "beta": 0.5}), ("Mul", "0 x", {})]
    cases = {
        "Hardswish()": gate,
        "SiLU()": [("Sigmoid", "x", {}), ("Mul", "x 0", {})],
        "ReLU6()": [("Clip", "x zero six", {})],
    }
    for layer, nodes in cases.items():
        net = engine.from_onnx(written(tmp_path / "net.onnx", nodes, {"zero": np.float32(0), "six": np.float32(6)}))
        assert [str(each) for each in net.layers.values()] == [layer]
    # The gate is read elsewhere, too: the product is still one layer.
    both = [*gate, ("Add", "0 1", {})]
    net = engine.from_onnx(written(tmp_path / "net.onnx", both))
    assert sorted(str(each) for each in net.layers.values()) == ["Add()", "Hardsigmoid()", "Hardswish()"]


def test_a_bias_is_not_added_to_a_value_that_others_read(tmp_path: Path) -> None:
    nodes = [CONV, ("Add", "0 b", {}), ("Mul", "0 1", {})]
    path = written(tmp_path / "net.onnx", nodes, {"w": weights(3, 2, 3, 3), "b": weights(3, 1, 1)})
    values = weights(2, 2, 6, 6)
    (expected,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": values})
    np.testing.assert_allclose(engine.from_onnx(path).predict(values), expected, rtol=1e-5, atol=1e-5)


def test_shapes_and_outputs_that_the_file_leaves_open_can_be_given(tmp_path: Path) -> None:
    path = written(
        tmp_path / "net.onnx", [("Relu", "x", {}), ("Tanh", "0", {})], shape=("N", 2, "H", "W"), outputs=("0", "y")
    )
    with pytest.raises(UserError, match=r"has shape \(\?, 2, \?, \?\).*give input_shape"):
        engine.from_onnx(path)
    with pytest.raises(UserError, match="expected one output of float32, but the model's outputs are '0', 'y'"):
        engine.from_onnx(path, input_shape=(2, 5, 4))
    with pytest.raises(UserError, match="has no output 'z'"):
        engine.from_onnx(path, input_shape=(2, 5, 4), output="z")
    with pytest.raises(UserError, match="which is not"):
        engine.from_onnx(path, input_shape=(3, 5, 4), output="y")
    assert list(engine.from_onnx(path, (2, 5, 4), "0").layers) == ["n0"]
    assert engine.from_onnx(path, (2, 5, 4), "y").input_shape == (2, 5, 4)


def test_the_layers_have_the_names_of_the_nodes(tmp_path: Path) -> None:
    made = onnx.helper.make_node("Conv", ["x", "w"], ["z"], name="/stage 1/conv")
    path = written(tmp_path / "net.onnx", [made, ("Relu", "z", {})], {"w": weights(3, 2, 3, 3)})
    assert list(engine.from_onnx(path).layers) == ["stage_1/conv", "n1"]
    assert model([("Relu", "x", {})]).graph.node[0].name == "n0"


def ours(net: engine.Network, path: Path) -> None:
    """The network's own file gives its outputs back, bit by bit and in their shape."""
    x = np.random.default_rng(0).standard_normal((3, *net.input_shape)).astype(np.float32)
    net.to_onnx(path)
    back = engine.from_onnx(path)
    assert back.output_shape == net.output_shape
    assert np.array_equal(back.predict(x), net.predict(x))


@pytest.mark.parametrize("shape", [(1, 1, 20), (1, 20, 1), (20, 1, 1), (1, 4, 5)])
def test_a_map_of_one_wide_axis_is_a_vector_once_it_is_flattened(shape: tuple[int, ...], tmp_path: Path) -> None:
    layers = engine.layers
    behind: list[list[engine.Layer]] = [
        [],
        [layers.BatchNorm(20)],
        [layers.LayerNorm(20), engine.Linear(20, 3)],
        [layers.Scale(channels=20)],
        [layers.PReLU(20)],
        [layers.Softmax()],
    ]
    for last in behind:
        ours(engine.Sequential([engine.Flatten(), *last], shape), tmp_path / "net.onnx")
        ours(engine.Sequential([engine.ReLU(), engine.Flatten(), *last], shape), tmp_path / "net.onnx")
    for join, outputs in ((layers.Add(), 20), (layers.Multiply(), 20), (layers.Concat(), 3)):
        net = engine.Graph(shape)
        flat = net.add(engine.Flatten(), net.input)
        net.output = net.add(join, flat, net.add(engine.Linear(20, outputs), flat))
        ours(net, tmp_path / "net.onnx")


def test_a_convolution_that_leaves_one_axis_is_flattened(tmp_path: Path) -> None:
    ours(engine.Sequential([engine.Conv2D(1, 1, (4, 1)), engine.Flatten()], (1, 4, 9)), tmp_path / "net.onnx")
    ours(engine.Sequential([engine.Conv2D(3, 5, (4, 9)), engine.Flatten()], (3, 4, 9)), tmp_path / "net.onnx")
