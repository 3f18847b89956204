"""Settings are joined and laid over a configuration whatever their order and however a section is written."""

from itertools import permutations

import pytest
import yaml

from engine.errors import UserError
from engine.reading.schema import merge
from engine.reading.settings import joined, laid_over
from engine.recipe.build import build_network
from engine.recipe.config import TrainConfig, load_config, read_config

SGD = {"name": "SGD", "lr": 0.05, "momentum": 0.9}
BASE = {"dataset": "digits5k", "model": {"name": "lenet"}, "optimizer": SGD}


@pytest.fixture
def load(tmp_path):
    def loaded(*settings, **base):
        (tmp_path / "c.yaml").write_text(yaml.safe_dump({**BASE, **base}))
        return load_config(tmp_path / "c.yaml", settings)

    return loaded


def over(base, changes):
    return read_config(laid_over(TrainConfig, {**BASE, **base}, changes))


@pytest.mark.parametrize(
    "settings", list(permutations(["optimizer.lr=0.0003", "optimizer.name=Adam", "optimizer.eps=0.1"]))
)
def test_the_order_of_settings_decides_nothing(load, settings):
    assert load(*settings).optimizer == {"name": "Adam", "lr": 0.0003, "eps": 0.1}


def test_an_argument_stays_with_the_name_that_is_there_already(load):
    assert load("optimizer.lr=0.002", "optimizer.name=SGD").optimizer == {**SGD, "lr": 0.002}
    assert load("optimizer.name=SGD", optimizer={"lr": 0.3}).optimizer == {"name": "SGD", "lr": 0.3}


def test_another_name_takes_the_place_of_a_section(load):
    assert load("optimizer.name=Adam").optimizer == {"name": "Adam"}
    assert load("optimizer={name: Adam, lr: 0.1}", "optimizer={name: AdamW}").optimizer == {"name": "AdamW"}


def test_a_name_is_the_same_in_any_case(load):
    changed = load("optimizer={name: sgd, weight_decay: 0.001}").optimizer
    assert changed == {**SGD, "name": "sgd", "weight_decay": 0.001}
    assert merge({"optimizer": SGD}, {"optimizer": {"name": "sgd"}})["optimizer"] == {**SGD, "name": "sgd"}


def test_a_name_that_is_no_kind_is_a_key_as_any_other(load):
    base = {"wandb": {"project": "mine", "name": "one"}, "class_weights": {"name": 2.0, "other": 3.0}}
    assert load("wandb.name=two", **base).wandb.project == "mine"
    assert load("class_weights.name=4", **base).class_weights == {"name": 4, "other": 3.0}


def test_a_networks_name_takes_the_place_of_layers(load):
    layers = {"layers": ["Flatten", {"Linear": [16, 3]}], "input_shape": [1, 4, 4]}
    assert load("model.name=lenet", model=layers).model.layers is None
    whole = load(model=layers).to_dict()  # with name: null
    assert read_config(laid_over(TrainConfig, whole, {"model": {"name": "lenet"}})).model.layers is None
    with pytest.raises(UserError, match="give either name"):
        build_network(load("model.layers=[Flatten]", "model.name=lenet").model, 0)


AUGMENT = {"shift": 0.3, "rotation": 30, "cutout": 0.25}


def test_a_value_alone_stays_beside_a_key_of_its_section(load):
    settings = ("augment.shift.fill=reflect", "augment.rotation.fill=constant", "augment.cutout.count=2")
    augment = load(*settings, augment=AUGMENT).augment
    assert (augment.shift.fraction, augment.rotation.degrees, augment.cutout.size) == (0.3, 30, 0.25)
    assert (augment.shift.fill, augment.rotation.fill, augment.cutout.count) == ("reflect", "constant", 2)


def test_a_value_alone_changes_one_key_of_a_section():
    shift = {"fraction": 0.1, "fill": "constant", "value": 255}
    changed = over({"augment": {"shift": shift}}, {"augment": {"shift": 0.2}}).augment.shift
    assert (changed.fraction, changed.fill, changed.value) == (0.2, "constant", 255)
    assert over({"augment": {"shift": shift}}, {"augment": {"shift": None}}).augment.shift is None


@pytest.mark.parametrize("settings", list(permutations(["augment.shift=0.2", "augment.shift.fill=constant"])))
def test_a_value_alone_and_a_key_are_joined_in_any_order(load, settings):
    shift = load(*settings).augment.shift
    assert (shift.fraction, shift.fill) == (0.2, "constant")


def test_other_short_forms_take_keys_too(load):
    views = load("evaluation_views.when=epoch", evaluation_views="flip").evaluation_views
    assert (views.views, views.when) == ("flip", "epoch")
    assert load("evaluation_views=null", evaluation_views="flip").evaluation_views is None
    assert load("whiten.eps=0.5", whiten="c1").whiten.layer == "c1"
    assert load("augment=off", augment={"flip": 0.5}).augment.flip == 0
    assert load("dataset.subset=100").dataset.subset == 100


def test_a_data_sets_name_alone_is_the_set_with_all_its_defaults(load):
    assert load("dataset=digits5k", dataset={"name": "digits5k", "subset": 100}).dataset.subset is None
    for settings in permutations(["dataset=mnist", "dataset.subset=7"]):
        dataset = load(*settings).dataset
        assert (dataset.name, dataset.subset) == ("mnist", 7)


def test_what_is_wrong_is_left_for_reading_to_refuse():
    assert joined(TrainConfig, [{"epochz": 1}, {"augment": 3}]) == {"epochz": 1, "augment": 3}
    with pytest.raises(UserError, match="augment: shift: fraction: expected float, got str 'wide'"):
        over({}, {"augment": {"shift": "wide"}})
