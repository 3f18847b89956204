"""Transfer by names of layers: what is loaded, what is reported, what is refused, and that a run records it."""

import json

import numpy as np
import pytest
import yaml

import engine
from engine import train as command
from engine.cli import run
from engine.errors import UserError
from engine.network.checkpoint import weights_hash
from engine.network.transfer import initialize, replace_head
from tests.engine.small import (
    SIDE,
    SMALL_LAYERS_CONFIG,
    small_config,
    small_dataset,
    small_layers,
    small_net,
    write_archive,
)

HEAD = "6"  # of the small network; "0" is its convolution, "1" its batch normalisation


def other_net(classes=5, seed=9):
    layers = [*small_layers()[:6], engine.Linear(100, classes), engine.Softmax()]
    return engine.Sequential(layers, input_shape=(1, SIDE, SIDE), seed=seed)


@pytest.fixture
def trained(tmp_path):
    """A checkpoint whose running statistics have moved."""
    net = small_net(seed=4)
    engine.Trainer(net, engine.SGD(lr=0.05), progress="none").fit(small_dataset(64), epochs=1)
    net.save(tmp_path / "trained.safetensors")
    return net, tmp_path / "trained.safetensors"


def test_all_but_the_head_is_loaded_running_statistics_included(trained):
    source, path = trained
    net, fresh = other_net(), other_net()
    report = initialize(net, path, exclude=[HEAD])
    assert report.loaded == ("0", "1") and report.kept == {HEAD: "excluded"} and report.unused == (HEAD,)
    for key in ("0.weights", "0.bias", "1.weights", "1.bias"):
        assert np.array_equal(net.parameters()[key], source.parameters()[key])
    for key, array in source.buffers().items():
        assert np.array_equal(net.buffers()[key], array) and array.any()
    assert np.array_equal(net.parameters()["6.weights"], fresh.parameters()["6.weights"])


def test_predictions_follow_the_loaded_weights(trained):
    source, path = trained
    x = np.random.default_rng(0).random((3, 1, SIDE, SIDE), np.float32)
    net = small_net(seed=8)
    before = net.predict(x)
    initialize(net, path)
    assert np.array_equal(net.predict(x), source.predict(x)) and not np.array_equal(before, source.predict(x))


def test_a_mismatch_names_the_layer_and_both_shapes_and_stores_nothing(trained):
    net = other_net()
    before = weights_hash(net)
    with pytest.raises(UserError, match=r"layer '6': weights has shape \(3, 100\) in the checkpoint, but \(5, 100\)"):
        initialize(net, trained[1])
    assert weights_hash(net) == before
    report = initialize(net, trained[1], mismatch="skip")
    assert report.loaded == ("0", "1") and "(5, 100)" in report.kept[HEAD]


def test_layers_by_pattern_and_under_another_name(trained):
    source, path = trained
    net = engine.Graph(input_shape=(1, SIDE, SIDE))
    first = net.add(engine.Conv2D(1, 4, 3, padding=1), net.input, name="stem")
    net.add(engine.BatchNorm(4), first, name="stem_norm")
    net.output = "stem_norm"
    report = initialize(net, path, layers=["stem*"], rename={"stem": "0", "stem_norm": 1})
    assert report.loaded == ("stem", "stem_norm")
    assert np.array_equal(net.parameters()["stem.weights"], source.parameters()["0.weights"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["conv1"]}, "unknown layer with parameters in layers: 'conv1'"),
        ({"exclude": ["2"]}, "unknown layer with parameters in exclude: '2'"),  # a ReLU
        ({"rename": {"0": "stem"}}, "unknown layer 'stem'"),
        ({"rename": {"stem": "0"}}, "unknown layer with parameters in rename: 'stem'"),
        ({"layers": "01"}, "expected a list"),
        ({"mismatch": "ignore"}, "unknown mismatch"),
        ({"exclude": ["*"]}, "no layer of the network can be loaded"),
    ],
)
def test_what_does_not_fit_is_refused(trained, options, message):
    net = small_net()
    before = weights_hash(net)
    with pytest.raises(UserError, match=message):
        initialize(net, trained[1], **options)
    assert weights_hash(net) == before


def test_a_layer_that_only_a_pattern_matches_may_be_missing(trained):
    net = engine.Sequential(
        [*small_layers()[:6], engine.Linear(100, 8), engine.ReLU(), engine.Linear(8, 3)], input_shape=(1, SIDE, SIDE)
    )
    report = initialize(net, trained[1], exclude=["6"])
    assert report.kept["8"] == "the checkpoint has no layer '8'"
    with pytest.raises(UserError, match="unknown layer '8'"):
        initialize(net, trained[1], layers=["0", "8"])


def test_another_head_keeps_the_body(trained):
    source, _ = trained
    net = replace_head(source, 7)
    assert net.output_shape == (7,) and source.output_shape == (3,)
    assert np.array_equal(net.parameters()["0.weights"], source.parameters()["0.weights"])
    assert np.array_equal(net.buffers()["1.running_var"], source.buffers()["1.running_var"])
    assert net.parameters()["6.weights"].std() > 0
    with pytest.raises(UserError, match="ends in MaxPool2D"):
        replace_head(engine.Sequential([engine.Conv2D(1, 4, 3), engine.MaxPool2D(2)], input_shape=(1, 8, 8)), 3)


@pytest.fixture
def place(tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    config = small_config(write_archive(tmp_path / "set.npz")) | {"epochs": 2}
    config["initialize_from"] = {"checkpoint": "trained.safetensors", "exclude": [6]}
    assert config["model"]["layers"] is SMALL_LAYERS_CONFIG
    (tmp_path / "tuned.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def call(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["train", *map(str, arguments)])
    threads = engine.get_num_threads()
    status = run(command.main)
    engine.set_num_threads(threads)
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_a_run_records_what_was_loaded_and_resumes_without_the_source(place, monkeypatch, capsys):
    status, out, _ = call(monkeypatch, capsys, "tuned.yaml", "--out", "whole")
    assert status == 0 and "initialized from trained.safetensors: 0, 1" in out
    event = json.loads((place / "whole" / "log.jsonl").read_text().splitlines()[0])
    assert event["event"] == "initialized" and event["kept"] == {"6": "excluded"}
    assert json.loads((place / "whole" / "result.json").read_text())["initialized"]["loaded"] == ["0", "1"]

    assert call(monkeypatch, capsys, "tuned.yaml", "epochs=1", "--out", "parts")[0] == 0
    (place / "trained.safetensors").unlink()
    assert call(monkeypatch, capsys, "tuned.yaml", "--out", "parts", "--resume")[0] == 0
    whole, parts = (engine.load(place / name / "best.safetensors") for name in ("whole", "parts"))
    assert weights_hash(whole) == weights_hash(parts)
    status, _, err = call(
        monkeypatch, capsys, "tuned.yaml", "initialize_from.exclude=[0]", "--out", "parts", "--resume"
    )
    assert status == 2 and "the run was started with initialize_from" in err


def test_a_missing_checkpoint_ends_the_command_before_anything_is_written(place, monkeypatch, capsys):
    status, _, err = call(monkeypatch, capsys, "tuned.yaml", "initialize_from.checkpoint=no.safetensors", "--out", "x")
    assert status == 2 and "initialize_from: no.safetensors: no such checkpoint file" in err
    assert not (place / "x").exists()
