"""Checkpoints made by hand: whatever they say, one error that names the file, soon and with little memory."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as serialise

import engine
from engine.errors import EngineWarning, UserError
from engine.inference.ensemble import load_members
from engine.network import checkpoint
from engine.network.checkpoint import METADATA_KEY, Checkpoint, Damaged
from engine.network.transfer import initialize
from tests.engine.costs import check_costs
from tests.engine.small import CLASSES, SIDE, small_dataset, small_net

PREDICT = """
import numpy as np
import engine
def read(path):
    net = engine.load(path)
    net.predict(np.ones((1, *net.input_shape), np.float32))
"""


def forged(path: Path, document: Any, tensors: dict[str, Any] | None = None, /, **header: Any) -> Path:
    """A file whose hash is right, whatever the document says; `header` replaces what stands around that."""
    text = document if isinstance(document, str) else json.dumps(document)
    arrays = tensors or {}
    stated = {"version": 1, "document": text, "sha256": checkpoint.digest(text, arrays), **header}
    path.write_bytes(serialise(arrays, {METADATA_KEY: json.dumps(stated)}))
    return path


def network(*layers: tuple[str, dict[str, Any]], shape: tuple[int, ...] = (1, 8, 8)) -> dict[str, Any]:
    """A description of layers one after the other."""
    nodes = [
        {"name": str(n), "layer": name, "arguments": given, "inputs": [str(n - 1) if n else "input"]}
        for n, (name, given) in enumerate(layers)
    ]
    return {"input_shape": list(shape), "nodes": nodes, "output": str(len(layers) - 1)}


def convolution(**arguments: Any) -> dict[str, Any]:
    return network(("Conv2D", {"in_channels": 1, "out_channels": 1, "kernel": 3, **arguments}))


CONV_ARRAYS = {
    "parameters/0.weights": np.ones((1, 1, 3, 3), np.float32),
    "parameters/0.bias": np.zeros(1, np.float32),
}
LINEAR = ("Linear", {"in_features": 11000, "out_features": 11000})
GRAPHS: dict[str, dict[str, Any]] = {
    **{
        f"conv-{power}{sign}": convolution(dilation=2**power + sign, padding=2**power + sign)
        for power in (31, 61, 62, 63, 64)
        for sign in (-1, 0, 1)
    },  # fmt: skip
    "conv-wide": convolution(dilation=[1, 10**8], padding=[1, 10**8]),
    "conv-stride": convolution(stride=2**63),
    "conv-kernel": convolution(kernel=[3, 2**62], padding=2**62),
    "average": network(("AvgPool2D", {"kernel": 2**32, "padding": 2**31})),
    "average-stride": network(("AvgPool2D", {"kernel": 2, "stride": 2**63})),
    "largest": network(("MaxPool2D", {"kernel": 2, "stride": [2**63, 1]})),
    "linear": network(LINEAR, shape=(11000,)),
    "linears": network(*[LINEAR] * 3, shape=(11000,)),
    "outputs": network(("Linear", {"in_features": 4, "out_features": 10**18}), shape=(4,)),
    "inputs": network(("Flatten", {}), shape=(2**31 - 1, 2**31 - 1, 2**31 - 1)),
    "input": network(("ReLU", {}), shape=(2**63,)),
    "norm": network(("BatchNorm", {"channels": 2**31 - 1}), shape=(2**31 - 1,)),
    "channels": convolution(in_channels=0),
    "minus": convolution(out_channels=-1),
    "digits": convolution(out_channels=10**400),
    "conv-padding": convolution(padding=4096),
    "conv-padding-strided": convolution(padding=4096, stride=512),
    "conv-same": convolution(padding="same", dilation=4096),
    "map": network(("ReLU", {}), shape=(1, 8192, 8192)),
    "maps": network(("AvgPool2D", {"kernel": 64}), shape=(64, 1024, 1024)),
}
LARGEST: dict[str, dict[str, Any]] = {
    "conv-padding": convolution(padding=1920),
    "conv-padding-strided": convolution(padding=3300, stride=512),
    "map": network(("ReLU", {}), shape=(1, 3350, 3350)),
    "maps": network(("AvgPool2D", {"kernel": 64}), shape=(10, 1472, 1472)),
}


def test_small_files_take_little_time_and_memory(tmp_path: Path) -> None:
    paths = []
    for name, graph in GRAPHS.items():
        arrays = CONV_ARRAYS if name.startswith("conv") else {}
        paths.append(forged(tmp_path / f"{name}.safetensors", {"project": "", "graph": graph}, arrays))
    paths += [_file(tmp_path / "long.safetensors", b"{}", 2**63), _file(tmp_path / "deep.safetensors", b"[" * 900)]
    check_costs(PREDICT, {path: str(path) for path in paths})


@pytest.mark.parametrize("name", LARGEST)
def test_the_widest_network_of_a_small_file_fits(tmp_path: Path, name: str) -> None:
    arrays = CONV_ARRAYS if name.startswith("conv") else {}
    check_costs(PREDICT, {forged(tmp_path / name, {"project": "", "graph": LARGEST[name]}, arrays): None})


def test_what_a_network_may_take_grows_with_its_file(tmp_path: Path) -> None:
    net = engine.Sequential([engine.Conv2D(1, 64, 3, padding=1), engine.AvgPool2D(64)], (1, 1024, 1024))
    net.save(tmp_path / "small.safetensors")
    with pytest.raises(UserError, match="small.safetensors: layer '0' takes .* MB .*; build it in Python"):
        engine.load(tmp_path / "small.safetensors")
    initialize(net, tmp_path / "small.safetensors")
    wide = [engine.Conv2D(1, 64, 3, padding=1), engine.AvgPool2D(64), engine.Flatten(), engine.Linear(16384, 10)]
    engine.Sequential(wide, (1, 1024, 1024)).save(tmp_path / "large.safetensors")
    assert engine.load(tmp_path / "large.safetensors").output_shape == (10,)


def test_nothing_is_allocated_for_tensors_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("something was allocated")

    for name in ("cnncore.aligned_zeros", "engine.network.network.draw"):
        monkeypatch.setattr(name, refuse)
    wrong = {"parameters/0.weights": np.zeros((3, 3), np.float32), "parameters/0.bias": np.zeros(3, np.float32)}
    for arrays, message in (
        ({}, "the parameter '0.weights' is missing"),
        (wrong, r"0.weights has shape \(3, 3\), but the network expects \(11000, 11000\)"),
        ({"parameters/1.weights": np.zeros(1, np.float32)}, "the network has no parameter '1.weights'"),
    ):
        path = forged(tmp_path / "a.safetensors", {"project": "", "graph": network(LINEAR, shape=(11000,))}, arrays)
        with pytest.raises(UserError, match=f"a.safetensors: {message}"):
            engine.load(path)


@pytest.mark.parametrize("dtype", ["?", "c8", "S"])
def test_arrays_of_another_type_are_refused(tmp_path: Path, dtype: str) -> None:
    arrays = {**CONV_ARRAYS, "parameters/0.bias": np.zeros(1, dtype if dtype != "S" else "?")}
    with pytest.raises(UserError, match="a.safetensors: 0.bias has dtype .*, but real numbers are expected"):
        engine.load(forged(tmp_path / "a.safetensors", {"project": "", "graph": convolution()}, arrays))


# ---- what stands in the document ----


@pytest.fixture
def content() -> tuple[dict[str, Any], dict[str, Any]]:
    """The document and the tensors of a checkpoint of three classes."""
    net = small_net()
    document = {
        "project": "1",
        "graph": net.to_config(),
        "preprocess": small_dataset().preprocess.to_dict(),
        "class_names": list(CLASSES),
        "plan_choices": {"isa": "avx2", "batch": 8, "mode": "training", "convolutions": {"0": {"forward": "direct"}}},
        "training": {},
    }
    arrays = {"parameters": net.parameters(), "buffers": net.buffers()}
    return document, {f"{group}/{name}": array for group, each in arrays.items() for name, array in each.items()}


def test_the_document_itself_is_a_good_one(tmp_path: Path, content: Any) -> None:
    net = engine.load(forged(tmp_path / "a.safetensors", *content))
    assert net.class_names == list(CLASSES) and net.predict(np.ones((1, 1, SIDE, SIDE), np.float32)).shape == (1, 3)


NESTED = json.loads("[" * 100 + "]" * 100)
WRONG_NAMES = [5, True, "abc", {}, {"a": 1}, ["a", "b", "c", "d"], ["a", "b", "b"], [["a"], "b", "c"], [1, 2, 3]]
WRONG_NAMES += [[None, "b", "c"], ["a", "b", "c" * 10**6], [True, "a", "b"], [{"float": "nan"}, "a", "b"]]


@pytest.mark.parametrize("names", WRONG_NAMES, ids=lambda names: str(names)[:30])
def test_class_names_are_different_texts(tmp_path: Path, content: Any, names: Any) -> None:
    document, arrays = content
    path = forged(tmp_path / "a.safetensors", {**document, "class_names": names}, arrays)
    with pytest.raises(UserError, match="a.safetensors: .*class_names") as said:
        engine.load(path)
    assert len(str(said.value)) < 1000
    with pytest.raises(UserError, match="class_names"):
        small_net().class_names = names


def test_fewer_names_than_outputs_stand_for_the_first(tmp_path: Path, content: Any) -> None:
    """As after a training on a set of fewer classes, which warns of it too."""
    document, arrays = content
    with pytest.warns(EngineWarning, match=r'a: the network has 3 outputs, but names of 1 classes: a; .*"output 1"'):
        net = engine.load(forged(tmp_path / "a", {**document, "class_names": ["a"]}, arrays))
    assert net.class_names == ["a"]
    other = small_net()
    with pytest.warns(EngineWarning, match="class_names: the network has 3 outputs, but names of 2 classes: a, b"):
        other.class_names = ["a", "b"]


WRONG: list[tuple[str, Any]] = [
    *(
        (key, value)
        for key in ("graph", "plan_choices", "training", "preprocess")
        for value in (5, True, "x", [], [1], NESTED)
    ),
    *(("project", value) for value in (5, [], {}, None)),
    *(
        ("plan_choices", {"convolutions": value})
        for value in (5, "x", [], {"0": 5}, {"0": {"forward": 5}}, {"0": "direct"})
    ),
    *(("plan_choices", value) for value in ({"isa": 3}, {"batch": "x"}, {"batch": None}, {"mode": []}, {"more": 1})),
    ("surprise", 1),
]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=lambda value: str(value)[:30])
def test_every_key_has_its_type(tmp_path: Path, content: Any, key: str, value: Any) -> None:
    document, arrays = content
    with pytest.raises(UserError, match="a.safetensors: "):
        engine.load(forged(tmp_path / "a.safetensors", {**document, key: value}, arrays))


@pytest.mark.parametrize("value", [None, {}, {"size": [1, 2, 3]}, {"size": "ab"}, {"mean": "x"}, {"mean": [{}]},
                                   {"scale": []}, {"steps": 5}, {"steps": [[]]}, {"colour": "red"}, {"x": 1},
                                   {"size": [10**9, 10**9]}, {"size": [9, 9]},
                                   {"std": [0]}, {"std": [{"float": "nan"}]}, {"size": [0, 3]}])  # fmt: skip
def test_a_preprocessing_is_checked_where_it_is_used(tmp_path: Path, content: Any, value: Any) -> None:
    document, arrays = content
    path = forged(tmp_path / "a.safetensors", {**document, "preprocess": value}, arrays)
    if value == {}:
        assert load_members([path])[0].preprocess.scale == "0..1"
        return
    with pytest.raises(UserError, match="a.safetensors: "):
        load_members([path])


GRAPH_EDITS: list[dict[str, Any]] = [
    *(
        {"input_shape": value}
        for value in (5, [], [1, 2], "abc", [1, SIDE, "x"], [1, SIDE, 0], [1.0, SIDE, SIDE], NESTED)
    ),
    *({"nodes": value} for value in (5, [], [5], [[]], [{}], [{"name": "0", "inputs": ["input"]}], NESTED)),
    *({"output": value} for value in (5, "input", "x", [], None)),
    *({"seed": value} for value in (-1, 2**64, "x", [], None, 1.5)),
    *({"initializer": value} for value in (5, [], "x", {"conv": 5}, {"x": "zeros"}, {"conv": []}, None)),
    {"more": 1},
]


@pytest.mark.parametrize("edit", GRAPH_EDITS, ids=lambda value: str(value)[:40])
def test_a_description_has_its_types(tmp_path: Path, content: Any, edit: dict[str, Any]) -> None:
    document, arrays = content
    graph = {**document["graph"], **edit}
    with pytest.raises(UserError, match="a.safetensors: "):
        engine.load(forged(tmp_path / "a.safetensors", {**document, "graph": graph}, arrays))


@pytest.mark.parametrize("arguments", [{"kind": "linear"}, {"inputs": 3}, {"elementwise": True}, {"kernel": {"a": 1}},
                                       {"kernel": "3"}, {"kernel": [[3]]}, {"bias": "no"}, {"in_channels": [1]}, 5,
                                       [], NESTED])  # fmt: skip
def test_arguments_of_a_layer_are_its_own(tmp_path: Path, content: Any, arguments: Any) -> None:
    document, arrays = content
    nodes = [dict(node) for node in document["graph"]["nodes"]]
    nodes[0]["arguments"] = {**nodes[0]["arguments"], **arguments} if isinstance(arguments, dict) else arguments
    path = forged(tmp_path / "a.safetensors", {**document, "graph": {**document["graph"], "nodes": nodes}}, arrays)
    with pytest.raises(UserError, match="a.safetensors: "):
        engine.load(path)


DOCUMENTS = [
    '{"project": "", "graph": {}, "graph": {}}',
    '{"project": "", "graph": {"a": 1e999, "a": 2}}',
    "[" * 10_000,
    "[" * 900 + "]" * 900,
    "{",
    "",
    json.dumps({"project": "", "graph": {}, "training": {"x": NESTED}}),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda text: text[:50])
def test_a_document_is_plain_json(tmp_path: Path, document: str) -> None:
    with pytest.raises(Damaged, match="a.safetensors: "):
        checkpoint.read(forged(tmp_path / "a.safetensors", document))


@pytest.mark.parametrize("version", [True, 1.0, "1", [1], {}, 2**64, 2, 0, -1, "x" * 10_000])
def test_an_unknown_version_is_told(tmp_path: Path, version: Any) -> None:
    with pytest.raises(UserError, match="a.safetensors: checkpoint format .*, but this program reads 1") as said:
        checkpoint.read(forged(tmp_path / "a.safetensors", {"project": "", "graph": {}}, version=version))
    assert len(str(said.value)) < 1000


@pytest.mark.parametrize("change", [{"sha256": 5}, {"document": 5}, {"document": None}, {"more": 1}, {"sha256": "0"}])
def test_what_stands_around_the_document_has_its_types(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(Damaged, match="a.safetensors: "):
        checkpoint.read(forged(tmp_path / "a.safetensors", {"project": "", "graph": {}}, **change))


def test_tensors_of_no_group_are_named(tmp_path: Path) -> None:
    arrays = {"weights/0": np.zeros(1, np.float32)}
    with pytest.raises(Damaged, match="the tensor 'weights/0' is of none of the groups parameters, buffers, optimizer"):
        checkpoint.read(forged(tmp_path / "a.safetensors", {"project": "", "graph": {}}, arrays))


# ---- the file around it ----


def _file(path: Path, header: bytes, length: int | None = None, data: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def _tensor(name: str, dtype: str, shape: list[Any], start: int, end: int) -> str:
    return json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}})[1:-1]


ENTRIES: dict[str, tuple[list[str], bytes]] = {
    "twice": ([_tensor("a", "U8", [1], 0, 1), _tensor("a", "I8", [1], 0, 1)], b"a"),
    "metadata twice": (['"__metadata__": {"x": "1", "x": "2"}', _tensor("a", "U8", [1], 0, 1)], b"a"),
    "overlap": ([_tensor("a", "U8", [2], 0, 2), _tensor("b", "U8", [2], 1, 3)], b"abc"),
    "gap": ([_tensor("a", "U8", [1], 0, 1), _tensor("b", "U8", [1], 2, 3)], b"abc"),
    "tail": ([_tensor("a", "U8", [1], 0, 1)], b"abc"),
    "short": ([_tensor("a", "U8", [9], 0, 9)], b"abc"),
    "size": ([_tensor("a", "F32", [9], 0, 3)], b"abc"),
    "huge": ([_tensor("a", "F32", [2**40, 2**40], 0, 4)], b"abcd"),
    "empty and huge": ([_tensor("a", "F32", [0, 2**40, 2**40], 0, 0)], b""),
    "axes": ([_tensor("a", "F32", [1] * 100, 0, 4)], b"abcd"),
    "minus": ([_tensor("a", "F32", [-1], 0, 4)], b"abcd"),
    "text": ([_tensor("a", "F32", ["1"], 0, 4)], b"abcd"),
    "bfloat": ([_tensor("a", "BF16", [2], 0, 4)], b"abcd"),
    "float8": ([_tensor("a", "F8_E4M3", [4], 0, 4)], b"abcd"),
    "no type": ([_tensor("a", "X", [4], 0, 4)], b"abcd"),
    "no entry": (['"a": 5'], b"abcd"),
    "no metadata": (['"__metadata__": 5'], b""),
    "metadata nested": (['"__metadata__": {"a": {}}'], b""),
    "deep": (['"a": ' + "[" * 10_000 + "]" * 10_000], b""),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_header_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    entries, data = ENTRIES[name]
    with pytest.raises(Damaged, match="a.safetensors: not a whole safetensors file") as said:
        checkpoint.read(_file(tmp_path / "a.safetensors", f"{{{', '.join(entries)}}}".encode(), data=data))
    assert len(str(said.value)) < 1000


@pytest.mark.parametrize("length", [0, 1, 3, 10**7, 2**31, 2**62, 2**63, 2**64 - 1])
def test_the_length_of_a_header_is_within_the_file(tmp_path: Path, length: int) -> None:
    with pytest.raises(Damaged, match="a.safetensors: not a whole safetensors file"):
        checkpoint.read(_file(tmp_path / "a.safetensors", b"{}", length))


def test_what_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    net = small_net()
    with pytest.raises(UserError, match="twice"):
        net.class_names = ["a", "a"]
    assert list(net.class_names) == []
    net.class_names = np.array(["a", "b", "ü"])
    net.save(tmp_path / "a.safetensors")
    assert engine.load(tmp_path / "a.safetensors").class_names == ["a", "b", "ü"]
    deep: Any = "x"
    for _ in range(99):
        deep = [deep]
    with pytest.raises(UserError, match="deep"):
        checkpoint.write(tmp_path / "b.safetensors", Checkpoint.of(net, training={"x": deep}))
    assert not (tmp_path / "b.safetensors").exists()
