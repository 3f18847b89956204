"""All parts of a run number their classes as the training part does."""

import cv2
import numpy as np
import pytest

from engine import SGD, Dataset, Flatten, Linear, Sequential, Trainer, UserError
from engine.data.dataset import RawDataset
from engine.recipe.config import read_config
from engine.recipe.samples import load_data


def raw(names, labels):
    return RawDataset("own", np.zeros((len(labels), 4, 4), np.uint8), np.array(labels, np.int64), names)


def test_labels_follow_the_names_of_the_run():
    mapped = raw(("a", "c"), [0, 1, 1]).with_classes(("a", "b", "c"))
    assert mapped.labels.tolist() == [0, 2, 2]
    assert mapped.class_names == ("a", "b", "c")


def test_unknown_classes_are_listed():
    with pytest.raises(UserError, match="classes d, e are none of the run's: a, b"):
        raw(("a", "d", "e"), [0, 1, 2]).with_classes(("a", "b"))


def config(folder, classes):
    for part, names in (("tr", "abc"), ("te", classes)):
        for name in names:
            (folder / part / name).mkdir(parents=True)
            assert cv2.imwrite(str(folder / part / name / "0.png"), np.full((8, 8), ord(name), np.uint8))
    parts = {"train": {"path": str(folder / "tr")}, "test": {"path": str(folder / "te")}}
    model = {"name": "Sequential", "layers": [{"kind": "linear", "out_features": 3}]}
    return read_config(
        {"dataset": {"name": "folder", **parts}, "split": {"kind": "test"}, "model": model, "cache": False}
    )


def test_a_test_part_without_a_class_keeps_the_numbers_of_training(tmp_path):
    _, validation, test = load_data(config(tmp_path, "ac"), None)
    assert test.labels.tolist() == [0, 2]
    assert test.class_names == ("a", "b", "c")
    assert validation is test


def test_a_test_part_with_another_class_is_refused(tmp_path):
    with pytest.raises(UserError, match="dataset.test: .*classes d are none of the run's: a, b, c"):
        load_data(config(tmp_path, "abd"), None)


def test_fit_refuses_a_validation_set_numbered_otherwise():
    def part(names):
        return Dataset("part", np.zeros((4, 1, 2, 2), np.float32), np.array([0, 1, 0, 1]), class_names=names)

    net = Sequential([Flatten(), Linear(4, 2)], input_shape=(1, 2, 2))
    trainer = Trainer(net, SGD(lr=0.1), batch_size=2)
    with pytest.raises(UserError, match="its classes are b, a, but those trained on are a, b"):
        trainer.fit(part(("a", "b")), part(("b", "a")), epochs=1)


def test_a_network_with_more_outputs_than_classes_is_told():
    data = Dataset("part", np.zeros((4, 1, 2, 2), np.float32), np.array([0, 1, 0, 1]), class_names=("a", "b"))
    net = Sequential([Flatten(), Linear(4, 3)], input_shape=(1, 2, 2))
    with pytest.warns(UserWarning, match="3 outputs, but the data 2 classes: a, b"):
        Trainer(net, SGD(lr=0.1), batch_size=2, progress="none").fit(data, epochs=1)
