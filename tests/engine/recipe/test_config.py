"""Configurations: strict, with errors that name the key; and the example files."""

from pathlib import Path

import pytest
import yaml

from engine.errors import UserError
from engine.reading.schema import merge
from engine.recipe.build import build_loss, build_network, build_optimizer, build_schedule, without_effect
from engine.recipe.config import load_config, read_config
from tests.engine.small import SMALL_LAYERS_CONFIG, small_net

EXAMPLES = sorted((Path(__file__).parents[3] / "experiments" / "configs").glob("*.yaml"))
BASE = {"dataset": "mnist", "model": {"name": "mnist_cnn"}}


def test_there_is_an_example_for_each_report_one_for_each_network_of_today_and_one_without_a_download():
    reports = {"cifar10", "midas", "mnist", "numtadb", "scenes"}
    networks = {"airbench94", "mobilenet_v2", "resnet18", "resnet20", "resnet56", "unet"}
    assert {path.stem for path in EXAMPLES} == reports | networks | {"digits5k"}
    assert all(load_config(path).model.name == path.stem for path in EXAMPLES if path.stem in networks)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid(path):
    config = load_config(path)
    net = build_network(config.model, config.seed)
    size = config.preprocess.size or net.input_shape[1:]
    assert net.input_shape == (config.preprocess.channels, *size)
    for build, section in (
        (build_optimizer, config.optimizer),
        (build_schedule, config.schedule),
        (build_loss, config.loss),
    ):
        build(section)


def test_defaults_and_short_forms():
    config = read_config({**BASE, "gt_csv": False, "checkpoint_path": False, "early_stopping": False})
    assert config.dataset.name == "mnist" and config.gt_csv is None and config.checkpoint_path is None
    assert read_config({**BASE, "optimizer": {"name": "sgd"}, "max_norm": "1e-3"}).max_norm == 1e-3
    assert read_config({**BASE, "dataset": {"name": "mnist", "test": False}}).dataset.test is None


def test_a_configuration_survives_yaml():
    config = load_config(EXAMPLES[0].with_name("cifar10.yaml"))
    assert read_config(yaml.safe_load(yaml.safe_dump(config.to_dict() | {"preprocess": {"colour": True}}))) == config


def test_overrides(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(BASE))
    overrides = ["epochs=3", "optimizer.lr=1e-2", "preprocess.size=[8, 9]", "dataset={name: cifar10}", "gt_csv=a.csv"]
    config = load_config(path, overrides)
    assert config.epochs == 3 and config.preprocess.size == (8, 9) and config.dataset.name == "cifar10"
    assert config.gt_csv == "a.csv" and config.optimizer["lr"] == 0.01
    assert build_optimizer({"name": "SGD", "lr": "1e-2"}).lr == 0.01


def test_another_name_takes_no_arguments_of_the_old_one(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(BASE | {"schedule": {"name": "Cosine", "total": 9}}))
    assert load_config(path, ["schedule.name=Constant"]).schedule == {"name": "Constant"}
    assert load_config(path, ["schedule={name: Cosine, warmup: 2}"]).schedule["total"] == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "unknown key 'epoch'; did you mean 'epochs'"),
        ({"size": [28, 28]}, "unknown key 'size'; it is a key of a section: preprocess.size"),
        ({"colour": True}, "it is a key of a section: preprocess.colour"),
        ({"model": {"name": "lenet", "classes": 3}}, "model: unknown key 'classes'.* arguments: .classes: …. meant"),
        ({"dataset": {"name": "folder", "path": "a"}}, "dataset: unknown key 'path'.* train: .path: …. meant"),
        ({"preprocess": {"colours": True}}, "preprocess: unknown key 'colours'; did you mean 'colour'"),
        ({"split": {"kind": "fractions"}}, "split: kind: .*did you mean 'fraction'"),
        ({"split": {"fraction": "many"}}, "split: fraction: expected float, got str 'many'"),
        ({"epochs": "ten"}, "epochs: expected int, got str 'ten'"),
        ({"epochs": True}, "epochs: expected int, got bool True"),
        ({"epochs": 2.5}, "epochs: expected int"),
        ({"drop_last": 1}, "drop_last: expected bool"),
        ({"optimizer": "Adam"}, "optimizer: expected a mapping"),
        ({"preprocess": {"size": 28}}, "size: expected a list, got int 28; is .28, 28. meant"),
        ({"preprocess": {"size": "large"}}, "size: expected a list, got str 'large'$"),
        ({"preprocess": {"steps": 3}}, "steps: expected a list, got int 3$"),
        ({"preprocess": {"size": [28, 28, 28]}}, "size: expected 2 values, got 3"),
        ({"preprocess": {"steps": ["revers"]}}, "did you mean 'reverse'"),
        ({"early_stopping": {}}, "early_stopping: the key 'patience' is missing"),
        ({"model": None}, "model: expected a mapping of keys to values, got nothing"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        read_config({**BASE, **changes})


def test_missing_keys_are_named():
    with pytest.raises(UserError, match="the key 'dataset' is missing"):
        read_config({"model": {"name": "lenet"}})


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not valid YAML"), ("- 1", "expected a mapping"), ("", "got nothing"), ("a: \x00", "not valid YAML")],
)
def test_files_that_are_no_configuration(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    with pytest.raises(UserError, match=r"No such file or directory\)$"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["pet.yaml", "pets", "pets.yml"])
def test_a_configuration_that_is_not_there_names_the_one_beside_it(tmp_path, name):
    (tmp_path / "pets.yaml").write_text("")
    with pytest.raises(UserError, match=f"{name}: cannot be read .*; did you mean {tmp_path}/pets.yaml.$"):
        load_config(tmp_path / name)


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path}: is a folder; expected a configuration.*path: FOLDER"):
        load_config(tmp_path)


def test_bad_overrides(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(BASE))
    for text, message in (("epochs", "key=value"), ("epochs=[", "not valid YAML"), ("epoch=3", "did you mean")):
        with pytest.raises(UserError, match=message):
            load_config(path, [text])


@pytest.mark.parametrize(
    ("build", "section", "message"),
    [
        (build_optimizer, {"lr": 0.1}, "the key 'name' is missing"),
        (build_optimizer, {"name": "adaam"}, "did you mean 'Adam'"),
        (build_optimizer, {"name": "SGD", "momentun": 0.9}, "did you mean 'momentum'"),
        (build_optimizer, {"name": "SGD", "lr": "fast"}, "lr: expected float"),
        (build_optimizer, {"name": "SGD", "lr": -1.0}, "lr"),
        (build_optimizer, {"name": "SGD", "l2": {"conv": "x"}}, "l2.conv: expected float"),
        (build_schedule, {"name": "PiecewiseConstant"}, "'boundaries' is missing"),
        (build_schedule, {"name": "PiecewiseConstant", "boundaries": [1], "values": [0.1]}, "one value more"),
        (build_loss, {"name": "CrossEntropy", "smoothing": 0.1}, "did you mean 'label_smoothing'"),
    ],
)
def test_mistakes_in_sections_are_named(build, section, message):
    with pytest.raises(UserError, match=message):
        build(section)


def test_a_network_of_layers_is_the_one_written_in_python():
    config = read_config({**BASE, "model": {"layers": SMALL_LAYERS_CONFIG, "input_shape": [1, 10, 10]}})
    assert build_network(config.model, seed=0).to_config() == small_net().to_config()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({}, "either name"),
        ({"name": "lenet", "layers": ["ReLU"]}, "either name"),
        ({"name": "lenett"}, "did you mean 'lenet'"),
        ({"name": "lenet", "arguments": {"clases": 3}}, "did you mean 'classes'"),
        ({"layers": ["ReLU"]}, "input_shape"),
        ({"layers": ["ReLuu"], "input_shape": [1, 4, 4]}, "did you mean 'ReLU'"),
        ({"layers": [{"ReLU": [1, 2]}], "input_shape": [1, 4, 4]}, "takes 0 arguments, got 2"),
        ({"layers": [3], "input_shape": [1, 4, 4]}, "a layer's name"),
        ({"layers": [{"Conv2D": [1, 4, 9]}], "input_shape": [1, 4, 4]}, "kernel"),
    ],
)
def test_mistakes_in_models_are_named(model, message):
    with pytest.raises(UserError, match=message):
        build_network(read_config({**BASE, "model": model}).model, 0)


@pytest.mark.parametrize("none", [None, False, "no"])
def test_no_augmentation_may_be_said(none):
    given = {"dataset": "digits5k", "model": {"name": "lenet"}}
    assert read_config({**given, "augment": none}) == read_config(given)
    assert read_config(merge({**given, "augment": {"flip": 0.5}}, {"augment": none})) == read_config(given)


IDLE = {
    "model.initializer": {"model": {"name": "lenet", "initializer": "glorot_uniform"}},
    "model.input_shape": {"model": {"name": "lenet", "input_shape": [1, 28, 28]}},
    "optimizer.decay": {"optimizer": {"name": "SGD", "decay": {"bias": 0}}},
    "optimizer.decoupled": {"optimizer": {"name": "SGD", "decoupled": True}},
    "schedule.growth": {"schedule": {"name": "Cosine", "total": 10, "growth": 2}},
    "dataset.test_subset": {"dataset": {"name": "mnist", "test_subset": 10}},
    "split.fraction": {"split": {"kind": "none", "fraction": 0.3}},
    "split.folds": {"split": {"folds": 3}},
    "split.fold": {"split": {"fold": 1}},
    "evaluation_views": {"evaluation_views": "flip", "split": {"kind": "none"}},
    "augment.shift.value": {"augment": {"shift": {"value": 255}}},
    "augment.rotation.value": {"augment": {"rotation": {"fill": "wrap", "value": 3}}},
}
USED = [
    {"optimizer": {"name": "AdamW", "decay": {"bias": 0}}},
    {"optimizer": {"name": "SGD", "weight_decay": 0.1, "decoupled": True, "decay": {"bias": 0}}},
    {"schedule": {"name": "Cosine", "total": 10, "growth": 2, "restarts": 1}},
    {
        "dataset": {"name": "mnist", "test": {}, "test_subset": 10},
        "evaluation_views": "flip",
        "split": {"kind": "none"},
    },
    {"split": {"kind": "folds", "folds": 3, "fold": 1}, "evaluation_views": "flip"},
    {"split": {"fraction": 0.3}, "augment": {"shift": {"fill": "constant", "value": 255}, "crop": None}},
    {"model": {"layers": ["Flatten"], "input_shape": [1, 2, 2], "initializer": "glorot_uniform"}},
]


@pytest.mark.parametrize("key", IDLE)
def test_what_has_no_effect_is_named(key):
    (found,) = without_effect(read_config({**BASE, **IDLE[key]}))
    assert found.startswith(f"{key}: ")


@pytest.mark.parametrize("given", USED, ids=range(len(USED)))
def test_what_has_an_effect_is_not_named(given):
    assert without_effect(read_config({**BASE, **given})) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_all_that_the_examples_say_has_an_effect(path):
    assert without_effect(load_config(path)) == []
