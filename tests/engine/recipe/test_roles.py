"""What each key of a configuration decides, and the lists that follow from it."""

from dataclasses import dataclass, field, fields

import pytest

from engine.recipe import roles
from engine.recipe.config import DatasetConfig, ModelConfig, TrainConfig
from engine.recipe.roles import Role, decides, keys, role_of

KEYS = tuple(each.name for each in fields(TrainConfig))
PLACE = ("data_root", "threads", "out", "checkpoint_every", "checkpoint_seconds")
INDIFFERENT = (*PLACE, "checkpoint_path", "gt_csv", "strict", "cache", "tensorboard", "wandb")


@dataclass
class Forgotten:
    stated: int = field(default=0, metadata=decides(Role.PLACE))
    unstated: int = 0


def test_every_key_states_its_role():
    assert {each.name for each in fields(TrainConfig) if role_of(each) in Role} == set(KEYS)
    assert sorted(keys(TrainConfig, *Role)) == sorted(KEYS)
    assert all(keys(TrainConfig, role) for role in Role)


def test_a_key_without_a_role_is_an_error():
    with pytest.raises(TypeError, match="'unstated' has no role"):
        keys(Forgotten, Role.PLACE)


def test_keys_that_change_no_result():
    assert roles.indifferent(TrainConfig) == INDIFFERENT
    assert set(roles.resumable(TrainConfig)) == {*INDIFFERENT, "epochs"}
    assert set(roles.shared(TrainConfig)) == {*INDIFFERENT, "seed"}
    assert set(roles.comparable(TrainConfig)) == {*INDIFFERENT, "seed", "train_metrics", "evaluation_views"}
    assert set(roles.untold(TrainConfig)) == {*INDIFFERENT, "seed", "metric"}


def test_keys_that_the_samples_depend_on():
    of_samples = {"dataset", "preprocess", "split", "pseudo_labels", "select", "label_noise", "strict", "cache"}
    assert set(roles.of_samples(TrainConfig)) == of_samples


def test_keys_that_take_false_for_none():
    given = {
        "average",
        "gt_csv",
        "checkpoint_path",
        "early_stopping",
        "label_noise",
        "pseudo_labels",
        "wandb",
        "warmup",
    }
    assert set(roles.none_if_false(TrainConfig)) == given | {"augment"}  # which is none by its settings
    config = TrainConfig(DatasetConfig("mnist"), ModelConfig("lenet"))
    assert all(getattr(config, name) is None for name in given)
