"""Files of quantised networks: whole, with the same bits; and whatever a forged one says, one error that names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as serialise

import engine
from engine.errors import EngineWarning, UserError
from engine.network.checkpoint import Damaged, digest
from engine.quantize.reading import is_quantized, load
from engine.quantize.stored import METADATA_KEY
from engine.reading.tensor_file import read_tensors
from tests.engine.quantize.networks import NETWORKS, network, samples


@pytest.mark.parametrize("arguments", [{}, {"scales": "free", "calibrate": 99.9, "first": "float"}], ids=str)
@pytest.mark.parametrize("name", ["kernels", "dense", "moves", "Softplus()"])
def test_a_file_brings_the_same_bits_back(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    net, path = network(name), tmp_path / "net.safetensors"
    x = samples(net)
    quantized = engine.quantize(net, x, **arguments)
    quantized.save(path)
    again = load(path)
    assert again.predict(x).tobytes() == quantized.predict(x).tobytes() and again.notes == quantized.notes
    assert is_quantized(path) and again.summary() == quantized.summary()
    again.save(tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_every_network_of_these_tests_comes_back(tmp_path: Path) -> None:
    for name in NETWORKS:
        net, path = network(name), tmp_path / "net.safetensors"
        quantized = engine.quantize(net, samples(net, 4))
        quantized.save(path)
        assert load(path).body.encodings == quantized.body.encodings


def test_what_belongs_to_a_prediction_is_kept(tmp_path: Path) -> None:
    net, path = network("joined"), tmp_path / "net.safetensors"
    net.name_classes(["a", "b"])
    engine.quantize(net, samples(net, 4)).save(path)
    with pytest.warns(EngineWarning, match="7 outputs, but names of 2 classes"):
        assert list(load(path).class_names) == ["a", "b"]


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    net, path = network("joined"), tmp_path / "net.safetensors"
    net.save(path)
    assert not is_quantized(path) and not is_quantized(tmp_path) and not is_quantized(tmp_path / "none")
    with pytest.raises(UserError, match="not a quantised network"):
        load(path)
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "none.safetensors")
    engine.quantize(net, samples(net, 2)).save(path)
    with pytest.raises(UserError, match="quantised network"):
        engine.load(path)


def parts(path: Path, name: str = "joined", **arguments: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Document and tensors of a good file, to be changed."""
    net = network(name)
    engine.quantize(net, samples(net, 4), **arguments).save(path)
    metadata, tensors = read_tensors(path)
    return json.loads(json.loads(metadata[METADATA_KEY])["document"]), tensors


def forged(path: Path, document: Any, tensors: dict[str, np.ndarray], **header: Any) -> Path:
    """A file whose hash is right, whatever the document says."""
    text = json.dumps(document)
    stated = {"version": 1, "document": text, "sha256": digest(text, tensors), **header}
    path.write_bytes(serialise(tensors, {METADATA_KEY: json.dumps(stated)}))
    return path


def test_a_file_that_was_changed_or_cut_off_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    document, tensors = parts(path)
    content = path.read_bytes()
    for damaged in (content[:-1], content[:100], content[:-1] + bytes([content[-1] ^ 1]), b""):
        path.write_bytes(damaged)
        with pytest.raises(Damaged, match=r"net\.safetensors"):
            load(path)
    for header in ({"version": 2}, {"version": "1"}, {"sha256": "0"}, {"further": 1}):
        with pytest.raises(UserError, match=r"net\.safetensors"):
            load(forged(path, document, tensors, **header))


def array(key: str, change: Callable[[np.ndarray], Any]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def apply(document: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors[key] = np.asarray(change(tensors[key]))

    return apply


def entry(*keys: Any, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def apply(document: Any, tensors: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[key]
        if value is None:
            del document[keys[-1]]
        else:
            document[keys[-1]] = value

    return apply


def filled(value: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda each: np.full_like(each, value)


def softmax_in_the_middle(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    document["graph"]["nodes"][-1] |= {"layer": "Softmax", "arguments": {}}


NODE = ("graph", "nodes", 0)
EMPTY = {"input_shape": [4, 9, 8], "nodes": [], "output": "a"}
SOFTMAX = {"name": "a", "layer": "Softmax", "arguments": {}, "inputs": ["input"]}
AGAIN = {"input_shape": [7], "nodes": [SOFTMAX], "output": "a"}
FORGERIES: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], None], str]] = {
    "odd zero point": (entry("encodings", "a", value=[0.5, 3]), "must be even"),
    "zero point of 256": (entry("encodings", "a", value=[0.5, 256]), "must be even"),
    "zero point below 0": (entry("encodings", "a", value=[0.5, -2]), "must be even"),
    "zero point that is none": (entry("encodings", "a", value=[0.5, True]), "must be float and int"),
    "scale of 0": (entry("encodings", "a", value=[0.0, 2]), "scale of 'a'"),
    "scale below 0": (entry("encodings", "a", value=[-0.5, 2]), "scale of 'a'"),
    "scale of float64": (entry("encodings", "a", value=[0.1, 2]), "scale of 'a'"),
    "scale too large": (entry("encodings", "a", value=[2.0**101, 2]), "scale of 'a'"),
    "no scale": (entry("encodings", "a", value=[2]), "must be float and int"),
    "no encoding": (entry("encodings", "a", value=None), "'?a'? missing"),
    "another encoding": (entry("encodings", "z", value=[0.5, 2]), "not of this network"),
    "codes that pass on and differ": (entry("encodings", "f", value=[64.0, 2]), "passes the codes of"),
    "clamp the wrong way round": (entry("clamps", "a", value=[9, 3]), "codes from 9 to 3"),
    "clamp outside": (entry("clamps", "a", value=[0, 256]), "codes from 0 to 256"),
    "clamp of nothing": (entry("clamps", "f", value=[0, 3]), "which is no layer that has them"),
    "weight of -128": (array("body/a.weights", filled(-128)), "weights must be -127 to 127"),
    "sums too large": (array("body/a.bias", filled(2**31 - 1)), "an int32 holds less"),
    "most negative bias": (array("body/a.bias", filled(-(2**31))), "an int32 holds less"),
    "multiplier of 0": (array("body/a.multipliers", filled(0)), "multiplier of 0"),
    "multiplier below 0": (array("body/a.multipliers", filled(-5)), "multiplier of -5"),
    "shift of 63": (array("body/a.shifts", filled(63)), "shift of 63"),
    "shift below 0": (array("body/a.shifts", filled(-1)), "shift of -1"),
    "shift of 31 alone": (array("body/a.shifts", filled(31)), "shift of 31"),
    "sum of two too large": (array("body/d.multipliers", filled(2**30)), "no int32 holds"),
    "mean with a large shift": (array("body/h.shifts", filled(62)), "shift"),
    "weights of another type": (array("body/a.weights", lambda each: each.astype(np.int16)), "expected int8"),
    "weights of another shape": (array("body/a.weights", lambda each: each[:5]), r"expected int8 \(6, 4, 3, 3\)"),
    "bias in float": (array("body/a.bias", lambda each: each.astype(np.float32)), "expected int32"),
    "shift of a vector": (array("body/d.shifts", lambda each: each.repeat(2)), r"expected int32 \(1,\)"),
    "another group": (lambda document, tensors: tensors.update({"other/a": np.zeros(1)}), "none of the groups"),
    "another array": (lambda document, tensors: tensors.update({"body/a.table": np.zeros(1)}), "not of this network"),
    "a missing array": (lambda document, tensors: tensors.pop("body/a.bias"), "missing"),
    "a layer without integers": (entry(*NODE, value=SOFTMAX), "layer '."),
    "a layer of float32 in the middle": (softmax_in_the_middle, "'i'.*cannot be quantised"),
    "an unknown layer": (entry(*NODE, "layer", value="os.system"), "unknown layer"),
    "another input": (entry("graph", "input_shape", value=[4, 10**6, 10**6]), r"net\.safetensors"),
    "a tail for other shapes": (entry("tail", "input_shape", value=[8]), "the layers behind them take"),
    "a tail that is none": (entry("tail", "nodes", value=[]), "at least one layer|not a layer"),
    "a head without weights": (entry("head", value=EMPTY), "not a layer|one layer"),
    "one name twice": (entry("tail", value=AGAIN), "two layers have one name"),
    "notes of another kind": (entry("notes", "samples", value="many"), "notes"),
    "further notes": (entry("notes", "other", value=1), "notes"),
    "class names": (entry("class_names", value=["x"] * 9), "class_names"),
    "a document of a list": (entry("graph", value=[]), "graph"),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_file_is_refused_in_a_sentence(what: str, tmp_path: Path) -> None:
    change, message = FORGERIES[what]
    path = tmp_path / "net.safetensors"
    document, tensors = parts(path)
    change(document, tensors)
    with pytest.raises(UserError, match=message) as caught:
        load(forged(path, document, tensors))
    assert str(path) in str(caught.value)


def test_a_short_file_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    layer = {"kernel": 3, "padding": [4000, 4000], "in_channels": 1, "out_channels": 1}
    document, tensors = parts(tmp_path / "small.safetensors", "dense")
    node = {"name": "0", "layer": "Conv2D", "arguments": layer, "inputs": ["input"]}
    document |= {"graph": {"input_shape": [1, 8, 8], "nodes": [node], "output": "0"}, "clamps": {}, "tail": None}
    document["encodings"] = {"input": [0.5, 2], "0": [0.5, 2]}
    one = np.ones(1, np.int32)
    tensors = {f"body/0.{part}": one for part in ("bias", "multipliers", "shifts")}
    tensors["body/0.weights"] = np.ones((1, 1, 3, 3), np.int8)
    path = forged(tmp_path / "large.safetensors", document, tensors)
    with pytest.raises(UserError, match="of memory for one sample"):
        load(path)
