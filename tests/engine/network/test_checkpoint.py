"""Checkpoints: they hold everything, and anything but a whole one is refused in one sentence."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import engine
from engine.errors import UserError
from engine.files import write_atomically
from engine.network import checkpoint
from engine.network.checkpoint import Checkpoint
from tests.engine.small import CLASSES, small_dataset, small_net


@pytest.fixture
def saved(tmp_path):
    net = small_net(seed=4)
    net.preprocess = small_dataset().preprocess.to_dict()
    net.class_names = list(CLASSES)
    trainer = engine.Trainer(net, engine.SGD(lr=0.1))
    trainer.step(small_dataset(16).normalise(small_dataset(16).images), small_dataset(16).labels)
    path = tmp_path / "net.safetensors"
    net.save(path)
    return net, path


def test_loaded_network_predicts_the_same_bits(saved):
    net, path = saved
    loaded = engine.load(path)
    x = small_dataset(20).normalise(small_dataset(20).images)
    assert np.array_equal(net.predict(x), loaded.predict(x))
    assert loaded.preprocess == net.preprocess and list(loaded.class_names) == list(CLASSES)
    assert loaded.to_config() == net.to_config()
    assert checkpoint.weights_hash(loaded) == checkpoint.weights_hash(net)


def test_a_checkpoint_of_an_earlier_layout_of_the_code_is_read_as_it_was():
    """last.safetensors of a run of two epochs, written before the engine's files moved into rooms."""
    path = Path(__file__).parent / "before_the_rooms.safetensors"
    net = engine.load(path)
    assert checkpoint.weights_hash(net) == "ed84932c07743bbec54c5f3374dcbe6fdb719f546a28ccfaecc40cf67906497f"
    assert net.class_names == [str(digit) for digit in range(10)] and net.num_parameters == 1652
    content = checkpoint.read(path)
    assert content.training["position"]["epoch"] == 2 and content.training["settings"]["optimizer"]["name"] == "Adam"
    assert set(content.optimizer) >= {"first_moment.0.weights", "second_moment.7.bias"}


def test_loading_draws_no_weights(saved, monkeypatch):
    def draw(*arguments):
        raise AssertionError("the stored weights would overwrite these")

    monkeypatch.setattr("engine.network.network.draw", draw)
    assert checkpoint.weights_hash(engine.load(saved[1])) == checkpoint.weights_hash(saved[0])


def test_weights_hash_sees_every_bit():
    net = small_net()
    before = checkpoint.weights_hash(net)
    name, array = next(iter(net.parameters().items()))
    array.flat[0] = np.nextafter(array.flat[0], np.float32(9))
    net.load_parameters({**net.parameters(), name: array})
    assert checkpoint.weights_hash(net) != before


def test_every_truncation_is_refused(saved, tmp_path):
    data = saved[1].read_bytes()
    path = tmp_path / "cut.safetensors"
    for size in (0, 4, 8, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match="cut.safetensors"):
            engine.load(path)


def test_every_flipped_bit_is_refused(saved, tmp_path):
    data = bytearray(saved[1].read_bytes())
    path = tmp_path / "flipped.safetensors"
    for place in np.random.default_rng(0).integers(0, len(data), 60):
        flipped = data.copy()
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        with pytest.raises(UserError, match="flipped.safetensors"):
            engine.load(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    with pytest.raises(UserError, match="no such checkpoint"):
        engine.load(path)
    with pytest.raises(UserError, match="no such checkpoint"):
        engine.load(tmp_path)
    path.write_bytes(b"\x80\x04\x95 a pickle would start so")
    with pytest.raises(UserError, match="other.safetensors"):
        engine.load(path)
    save_file({"weights": np.zeros(3, np.float32)}, path)
    with pytest.raises(UserError, match="not a checkpoint of this project"):
        engine.load(path)


def test_another_version_is_refused(tmp_path):
    path = tmp_path / "later.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, path, {checkpoint.METADATA_KEY: json.dumps({"version": 99})})
    with pytest.raises(UserError, match="format 99, but this program reads 1"):
        engine.load(path)


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({"project": "", "graph": {}, "surprise": 1}),
        json.dumps({"project": "", "graph": {"nodes": [{"layer": "os.system"}]}}),
        json.dumps({"project": "", "graph": None}),
    ],
)
def test_a_forged_header_with_a_right_hash_is_refused(tmp_path, document):
    path = tmp_path / "forged.safetensors"
    tensor = np.zeros(1, np.float32)
    digest = hashlib.sha256(document.encode() + b"\nparameters/0.weights <f4 (1,)\n" + tensor.tobytes()).hexdigest()
    header = json.dumps({"version": 1, "document": document, "sha256": digest})
    save_file({"parameters/0.weights": tensor}, path, {checkpoint.METADATA_KEY: header})
    with pytest.raises(UserError, match="forged.safetensors"):
        engine.load(path)


def test_a_failed_write_leaves_the_old_file(saved, tmp_path, monkeypatch):
    net, path = saved
    before = path.read_bytes()

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        net.save(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_write_makes_the_folder(tmp_path):
    write_atomically(tmp_path / "a" / "b.txt", b"text")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"text"


def test_training_state_survives(tmp_path):
    net = small_net()
    state = {"epoch": 3, "sum": 0.1 + 0.2, "best": float("nan")}
    optimizer = {"velocity.0.weights": np.arange(3, dtype=np.float32)}
    checkpoint.write(tmp_path / "c", Checkpoint.of(net, training=state, optimizer=optimizer, plan_choices={"isa": "x"}))
    back = checkpoint.read(tmp_path / "c")
    assert back.training["sum"] == 0.1 + 0.2 and np.isnan(back.training["best"])
    assert np.array_equal(back.optimizer["velocity.0.weights"], optimizer["velocity.0.weights"])
    assert back.plan_choices == {"isa": "x"} and back.preprocess is None and back.class_names == []


@pytest.mark.parametrize(
    "header", ["", "[]", "3", "{}", '{"version": 1}', '{"version": 1, "sha256": 0, "document": 0}']
)
def test_a_header_of_another_kind_is_refused(tmp_path, header):
    path = tmp_path / "header.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, path, {checkpoint.METADATA_KEY: header})
    with pytest.raises(UserError, match="header.safetensors"):
        engine.load(path)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i8", "<f4", "u1", "f2", "?"])
def test_arrays_of_either_byte_order_come_back(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3).T.astype(dtype)
    checkpoint.write(tmp_path / "a.safetensors", Checkpoint({}, {"a": array, "b": np.array(3, dtype)}, {}))
    back = checkpoint.read(tmp_path / "a.safetensors").parameters
    assert np.array_equal(back["a"], array) and back["b"].shape == ()
    native = {"a": array.astype(array.dtype.newbyteorder("=")), "b": np.array(3, array.dtype.newbyteorder("="))}
    checkpoint.write(tmp_path / "b.safetensors", Checkpoint({}, native, {}))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.array(["2000"], "M8[s]"), np.longdouble([1])])
def test_what_cannot_be_stored_is_named_and_nothing_written(tmp_path, array):
    with pytest.raises(UserError, match="parameters/a has dtype"):
        checkpoint.write(tmp_path / "a.safetensors", Checkpoint({}, {"a": array}, {}))
    assert not list(tmp_path.iterdir())


def test_metrics_that_are_not_finite_are_json_and_come_back(tmp_path):
    path = tmp_path / "a.safetensors"
    training = {"history": [{"val_f1": -math.inf, "epoch": 1}, {"val_f1": math.nan, "epoch": 2}], "float": "nan"}
    checkpoint.write(path, Checkpoint({}, {}, {}, training=training))

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()[checkpoint.METADATA_KEY], parse_constant=refuse)
    json.loads(header["document"], parse_constant=refuse)
    back = checkpoint.read(path).training
    assert back["history"][0] == training["history"][0] and math.isnan(back["history"][1]["val_f1"])
    assert back["float"] == "nan"


def test_a_bare_nan_of_an_earlier_version_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "json_text", lambda value, stand_in: json.dumps(value))
    checkpoint.write(tmp_path / "a", Checkpoint({}, {}, {}, training={"best": math.nan}))
    assert math.isnan(checkpoint.read(tmp_path / "a").training["best"])


def test_equal_networks_give_equal_files(tmp_path):
    for name in ("a", "b"):
        small_net(seed=2).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
