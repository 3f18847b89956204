"""All parts of a run number their classes as the training part does."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine import SGD, Dataset, Flatten, Linear, Sequential, Trainer, UserError
from engine.data.choose.weights import class_weights
from engine.data.dataset import RawDataset
from engine.errors import EngineWarning
from engine.network.transfer import initialize
from engine.plots.gather import predict_part
from engine.reading.schema import merge
from engine.reading.yaml_text import parse_yaml
from engine.recipe.config import load_config, read_config
from engine.recipe.fit import fit_and_test, make_loader, make_trainer
from engine.recipe.samples import load_data
from tests.engine.small import CLASSES, small_config, write_archive


def raw(names, labels):
    return RawDataset("own", np.zeros((len(labels), 4, 4), np.uint8), np.array(labels, np.int64), names)


def test_labels_follow_the_names_of_the_run():
    mapped = raw(("a", "c"), [0, 1, 1]).with_classes(("a", "b", "c"))
    assert mapped.labels.tolist() == [0, 2, 2]
    assert mapped.class_names == ("a", "b", "c")


def test_unknown_classes_are_listed():
    with pytest.raises(UserError, match="own: classes d, e are none of those trained on: a, b"):
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
    with pytest.raises(UserError, match="dataset.test: .*classes d are none of those trained on: a, b, c"):
        load_data(config(tmp_path, "abd"), None)


def tables(folder, rows):
    """A set of eight images with a table per part: rows of labels by part."""
    parts = {}
    for part, labels in rows.items():
        lines = [f"{part}{number}.png,{label}\n" for number, label in enumerate(labels)]
        for number, label in enumerate(labels):
            assert cv2.imwrite(str(folder / f"{part}{number}.png"), np.full((8, 8), ord(label[0]), np.uint8))
        (folder / f"{part}.csv").write_text("filename,label\n" + "".join(lines))
        parts[part] = {"path": str(folder), "table": f"{part}.csv"}
    model = {"name": "Sequential", "layers": [{"kind": "linear", "out_features": 3}]}
    return {"dataset": {"name": "folder", **parts}, "split": {"kind": "test"}, "model": model, "cache": False}


def test_a_table_as_test_part_is_numbered_as_the_training_table(tmp_path):
    given = tables(tmp_path, {"train": "abcabc", "test": "cac"})
    _, validation, test = load_data(read_config(given), None)
    assert test.labels.tolist() == [2, 0, 2] and test.class_names == ("a", "b", "c")
    assert validation is test


def test_a_table_with_another_class_is_refused(tmp_path):
    given = tables(tmp_path, {"train": "abcabc", "test": "cad"})
    with pytest.raises(UserError, match="dataset.test: .*classes d are none of those trained on: a, b, c"):
        load_data(read_config(given), None)


def test_chosen_classes_may_be_missing_in_the_test_part(tmp_path):
    given = tables(tmp_path, {"train": "abcabc", "test": "cbc"}) | {"select": {"classes": ["c", "a"]}}
    train, _, test = load_data(read_config(given), None)
    assert train.labels.tolist() == [1, 0, 1, 0]
    assert test.labels.tolist() == [0, 0] and test.class_names == ("c", "a")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": {"subset": 4}, "split": {"kind": "none"}}, "of b, c in training$"),
        ({"dataset": {"subset": 4}}, "of b, c in training and validation$"),
        ({"dataset": {"test_subset": 4}}, "of b, c in test$"),
        ({"dataset": {"subset": 4, "test_subset": 4}}, "of b, c in training and validation and test$"),
        ({"dataset": {"test_subset": 4}, "split": {"kind": "test"}}, "of b, c in test$"),
        ({"select": {"classes": ["c", "a", "b"]}, "dataset": {"test_subset": 4}}, "of c, b in test$"),
    ],
)
def test_classes_that_a_part_lacks_are_told(tmp_path, changes, message):
    given = tables(tmp_path, {"train": "a" * 40 + "bbcc", "test": "a" * 40 + "bbcc"}) | {"split": {"fraction": 0.4}}
    given = merge(given, changes)
    with pytest.warns(EngineWarning, match=f"classes without any sample: {message}"):
        load_data(read_config(given), None)


def test_nothing_is_told_where_all_parts_have_all_classes(tmp_path, recwarn):
    given = tables(tmp_path, {"train": "abcabc", "test": "abc"})
    for changes in ({}, {"split": {"kind": "fraction", "fraction": 0.5}}, {"split": {"kind": "none"}}):
        load_data(read_config(given | changes), None)
    assert not recwarn.list


def numbered(folder, text):
    """A configuration file over the classes 1, 01 and 1.5 with this line, as it is read."""
    for name in ("1", "01", "1.5"):
        (folder / "set" / name).mkdir(parents=True)
        for number in range(4):
            assert cv2.imwrite(str(folder / "set" / name / f"{number}.png"), np.full((8, 8), len(name), np.uint8))
    (folder / "c.yaml").write_text(
        f"dataset: {{name: folder, train: {{path: {folder}/set}}}}\ncache: false\nsplit: {{kind: none}}\n"
        f"model: {{layers: [Flatten, {{Linear: [64, 3]}}], input_shape: [1, 8, 8]}}\n{text}\n"
    )
    return load_config(folder / "c.yaml")


@pytest.mark.parametrize(
    "line",
    [
        "select: {classes: [1, 01, '1.5']}",
        "dataset: {name: folder, train: {path: SET, classes: [1, 01, '1.5']}}",
        "label_noise: {kind: pair, rate: 0.5, pairs: {1: 01, 01: 1}}",
        "class_weights: {1: 2, 01: 1, '1.5': 1}",
    ],
)
def test_whole_numbers_are_names_of_classes_everywhere(tmp_path, line):
    read = numbered(tmp_path, "epochs: 1")
    read = read_config(merge(read.to_dict(), parse_yaml(line.replace("SET", f"{tmp_path}/set"), "line")))
    data = make_loader(read, load_data(read, None)[0]).dataset
    assert set(data.class_names) == {"1", "01", "1.5"}
    if "weights" in line:
        assert data.sample_weights[data.labels == data.class_names.index("1")].tolist() == [2] * 4


@pytest.mark.parametrize("name", ["1.5", "true", "null"])
@pytest.mark.parametrize(
    "line", ["select: {classes: [NAME]}", "dataset: {classes: [NAME]}", "label_noise: {pairs: {1: NAME}}"]
)
def test_what_else_yaml_reads_needs_quotes(tmp_path, name, line):
    read = numbered(tmp_path, "epochs: 1").to_dict()
    line = line.replace("dataset: {", "dataset: {name: folder, train: {path: a, ").replace(
        "]}", "]}}" if "data" in line else "]}"
    )
    given = merge(read, parse_yaml(line.replace("pairs", "kind: pair, rate: 1, pairs").replace("NAME", name), "line"))
    with pytest.raises(UserError, match="expected the name of a class, got .*put it in quotes"):
        load_data(read_config(given), None)


@pytest.mark.parametrize("given", [{1: 2, "1": 3}, {1.0: 2}, {True: 2}])
def test_weights_by_what_is_no_name_or_the_same_are_refused(given):
    with pytest.raises(UserError, match="class_weights: .*(the class '1' is given twice|put it in quotes)"):
        class_weights(given, np.array([0, 1]), ("1", "2"))


def test_a_set_of_one_class_is_told(tmp_path):
    given = tables(tmp_path, {"train": "aaaa", "test": "aa"})
    with pytest.warns(EngineWarning, match="there is one class alone, 'a': nothing to tell apart"):
        load_data(read_config(given), None)


def brightness(names, labels, name="part"):
    """Images of which the class can be seen: a is black, b grey, c white."""
    values = np.array([{"a": 0, "b": 0.5, "c": 1}[names[label]] for label in labels], np.float32)
    images = np.broadcast_to(values[:, None, None, None], (len(labels), 1, 2, 2)).copy()
    return Dataset(name, images, np.array(labels), class_names=tuple(names))


def seeing_net(names="abc"):
    """A network that tells these classes by their brightness."""
    net = Sequential([Flatten(), Linear(4, 3)], input_shape=(1, 2, 2))
    bright = {"a": (-1.0, 0.25), "b": (0.0, 0.0), "c": (1.0, -0.75)}  # by pixel, and bias: the largest is the class
    weights = np.array([[bright[name][0] / 4] * 4 for name in names], np.float32)
    layer = next(key.split(".")[0] for key in net.parameters())
    biases = np.array([bright[name][1] for name in names], np.float32)
    net.load_parameters({f"{layer}.weights": weights, f"{layer}.bias": biases})
    net.class_names = list(names)
    return net


def still(net, **options):
    return Trainer(net, SGD(lr=1e-6), batch_size=2, progress="none", **options)


@pytest.mark.parametrize(("names", "labels"), [("ac", [0, 1, 1]), ("cba", [2, 0, 1]), ("abc", [0, 1, 2])])
def test_evaluation_goes_by_name(names, labels):
    trainer = still(seeing_net())
    assert trainer.evaluate(brightness(names, labels))["accuracy"] == 1.0
    soft = brightness(names, labels)
    soft = Dataset("soft", soft.images, np.eye(len(names), dtype=np.float32)[labels], class_names=soft.class_names)
    assert trainer.evaluate(soft)["accuracy"] == 1.0


def test_evaluation_refuses_an_unknown_class():
    other = Dataset("part", np.zeros((1, 1, 2, 2), np.float32), np.array([1]), class_names=("a", "d"))
    with pytest.raises(UserError, match="part: classes d are none of those trained on: a, b, c"):
        still(seeing_net()).evaluate(other)


@pytest.mark.parametrize(("names", "labels"), [("ac", [0, 1]), ("cba", [2, 0, 1])])
def test_fit_numbers_the_validation_set_as_the_training_set(names, labels):
    train = brightness("abc", [0, 1, 2])
    history = still(seeing_net(), metric="val_accuracy").fit(train, brightness(names, labels), epochs=1)
    assert history.best_value == 1.0


def test_fit_refuses_a_validation_set_with_another_class():
    other = Dataset("held", np.zeros((1, 1, 2, 2), np.float32), np.array([1]), class_names=("a", "d"))
    with pytest.raises(UserError, match="held: classes d are none of those trained on: a, b, c"):
        still(seeing_net()).fit(brightness("abc", [0, 1, 2]), other, epochs=1)


def test_figures_go_by_name():
    found = predict_part(seeing_net(), Path("net"), "test", brightness("ca", [0, 1, 1]))
    assert found.truth.tolist() == found.predicted.tolist() == [2, 0, 0]
    assert found.class_names == ("a", "b", "c")


def test_figures_refuse_an_unknown_class():
    other = Dataset("part", np.zeros((1, 1, 2, 2), np.float32), np.array([1]), class_names=("a", "d"))
    with pytest.raises(UserError, match="net: part: classes d are none of those trained on: a, b, c"):
        predict_part(seeing_net(), Path("net"), "test", other)


def test_going_on_with_outputs_that_stood_for_other_classes_is_told():
    """As from letters to digits with a last layer that fits by chance."""
    data = brightness("cba", [2, 0, 1])
    with pytest.warns(UserWarning, match="outputs stood for a, b, c, those of part are c, b, a.*replace_head") as told:
        still(seeing_net()).fit(data, epochs=1)
    assert [each.filename for each in told] == [__file__]
    deep = Sequential([Flatten(), Linear(4, 4), Linear(4, 3)], input_shape=(1, 2, 2))
    deep.class_names = ["a", "b", "c"]
    with pytest.raises(UserError, match="outputs stand for a, b, c, those of part are c, b, a.*is frozen"):
        still(deep, freeze=[list(deep.layers)[-1]]).fit(data, epochs=1)


def test_a_transferred_last_layer_keeps_its_class_names(tmp_path):
    seeing_net().save(tmp_path / "abc.safetensors")
    net = seeing_net()
    net.class_names = []
    initialize(net, tmp_path / "abc.safetensors")
    assert list(net.class_names) == ["a", "b", "c"]
    body = Sequential([Flatten(), Linear(4, 3)], input_shape=(1, 2, 2))
    with pytest.raises(UserError, match="no layer of the network can be loaded"):
        initialize(body, tmp_path / "abc.safetensors", exclude=["*"])
    assert not body.class_names


def test_classes_beyond_the_outputs_are_refused():
    data = Dataset("part", np.zeros((4, 1, 2, 2), np.float32), np.array([0, 1, 0, 1]), class_names=tuple("abcd"))
    with pytest.raises(UserError, match="part: has 4 classes, a, b, c, d, but the network 3 outputs"):
        still(Sequential([Flatten(), Linear(4, 3)], input_shape=(1, 2, 2))).fit(data, epochs=1)


def test_a_class_name_given_twice_is_refused():
    with pytest.raises(UserError, match="part: the class name 'a' stands twice"):
        Dataset("part", np.zeros((2, 1, 2, 2), np.float32), np.array([0, 1]), class_names=("a", "a"))


def test_a_network_with_more_outputs_than_classes_is_told():
    data = Dataset("part", np.zeros((4, 1, 2, 2), np.float32), np.array([0, 1, 0, 1]), class_names=("a", "b"))
    net = Sequential([Flatten(), Linear(4, 3)], input_shape=(1, 2, 2))
    fresh = Trainer(net, SGD(lr=0.1), batch_size=2, progress="none")
    with pytest.warns(EngineWarning, match="part: the network has 3 outputs, but names of 2 classes: a, b"):
        fresh.evaluate(data)
    with pytest.warns(UserWarning, match="3 outputs, but the data 2 classes: a, b") as told:
        fresh.fit(data, data, epochs=2)
    assert len(told) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"augment": {"mixup": 0.2}},
        {"augment": {"cutmix": {"alpha": 1.0, "probability": 1.0}}},
        {"augment": None, "class_weights": "balanced"},
        {
            "augment": {"mixup": 0.2},
            "class_weights": {"0": 2.0},
            "loss": {"name": "CrossEntropy", "label_smoothing": 0.1},
        },
    ],
    ids=["mixup", "cutmix", "weights", "both"],
)
def test_outputs_without_a_class_are_trained_with_mixed_and_weighted_labels_too(tmp_path, more):
    settings = small_config(write_archive(tmp_path / "set.npz", 60)) | {"epochs": 1} | more
    *body, head, softmax = settings["model"]["layers"]
    wide = {**settings["model"], "layers": [*body, {"Linear": [head["Linear"][0], len(CLASSES) + 2]}, softmax]}
    config = read_config({**settings, "model": wide})
    trainer, (train, validation, _) = make_trainer(config, None), load_data(config, None)
    with pytest.warns(EngineWarning, match="the network has 5 outputs, but the data 3 classes"):
        history, _ = fit_and_test(config, trainer, train, validation, None, resume=False)
    assert np.isfinite(history["val_loss"]).all()
    for _, labels in make_loader(config, train, trainer.net).epoch(0):
        assert labels.ndim == 1 or (labels.shape[1] == 5 and not labels[:, 3:].any())
