"""The published values of the five studies against a second transcription of the reports, made apart from the first.

`published/STUDY.csv` has what the reports print, number for number as printed, under the reports' own labels. Where
these describe a configuration, a row is found by its configuration and not by its name, so that a right number beside
a wrong configuration shows as well.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest
import yaml

from engine.recipe.config import TrainConfig
from experiments.study.check import Builder
from experiments.study.packaged import study_names, study_text
from experiments.study.read import load_study
from experiments.study.study import Row, Study

FOLDER = Path(__file__).parent / "published"

ROWS = {"numtadb": 23, "mnist": 6, "scenes": 20, "cifar10": 14, "midas": 9}
DISTINCT = {"numtadb": 20, "mnist": 6, "scenes": 19, "cifar10": 14, "midas": 9}

COLUMNS = {
    "numtadb": {
        "Val Macro F1": "val_macro_f1",
        "Validation Macro F1": "val_macro_f1",
        "Test Macro F1": "test_macro_f1",
    },
    "mnist": {
        "train_loss": "train_loss",
        "train_acc": "train_accuracy",
        "valid_loss": "val_loss",
        "valid_acc": "val_accuracy",
        "Train accuracy": "train_accuracy",
        "Train loss": "train_loss",
        "Test accuracy": "test_accuracy",
        "Test loss": "test_loss",
    },
    "scenes": {
        "Train Accuracy": "train_accuracy",
        "Test Accuracy": "test_accuracy",
        "Train Loss": "train_loss",
        "Test Loss": "test_loss",
        "Num. Params": "parameters",
    },
    "cifar10": {"test accuracy": "test_accuracy"},
    "midas": {"time": "seconds_per_epoch", "loss": "train_loss", "accuracy": "train_accuracy"},
}


def printed(study: str) -> list[tuple[str, str, str, str]]:
    """(place, label, column, text) as the second transcription has them."""
    with open(FOLDER / f"{study}.csv", encoding="utf-8", newline="") as file:
        return [(row["place"], row["label"], row["column"], row["printed"]) for row in csv.DictReader(file)]


def number(text: str) -> float:
    """A number as printed: 0,844 and 99.18% and 24 M and 68s among them."""
    factor = {"%": 0.01, "M": 1e6}.get(text[-1], 1.0)
    return round(float(text.rstrip("%Ms ").replace(",", ".")) * factor, 10)


def values(study: str, besides: Collection[str] = ()) -> dict[str, dict[str, float]]:
    """{label: {metric: value}}, the label with its place before it; without the labels `besides`."""
    found: dict[str, dict[str, float]] = {}
    for place, label, name, text in printed(study):
        whole = f"{place}: {label}"
        if whole not in besides:
            metric = midas_column(place, name) if study == "midas" else COLUMNS[study][name]
            found.setdefault(whole, {})[metric] = number(text)
    return found


def ours(row: Row) -> dict[str, float]:
    return {name: each.value for name, each in row.published.items()}


# ---- NumtaDB ------------------------------------------------------------------------------------------------------

STEPS = {"bbox": "BBox", "reverse": "Reverse", "dilation": "Dilation"}
MODELS = {"model1": "Model1", "model2": "Model2", "model3": "Model3", "lenet": "LeNet"}


def numtadb_label(config: TrainConfig) -> str:
    """The cells of Table 2 that describe the configuration: Model, Aug, lr, Extra."""
    size = config.preprocess.size
    assert size is not None and config.model.name is not None
    steps = [STEPS[step] for step in config.preprocess.to_dict()["steps"]]
    steps += ["Mixup"] if config.augment.mixup else []
    steps += ["Contour Cutout"] if config.augment.contour_cutout else []
    extra = ["Pretrained"] if config.initialize_from else []
    extra += ["Pseudo"] if config.pseudo_labels else []
    model = f"{MODELS[config.model.name]} ({size[0]}x{size[1]})"
    return f"{model} | {', '.join(steps) or 'N/A'} | {config.optimizer['lr']} | {', '.join(extra)}"


def numtadb_final_label(config: TrainConfig) -> str:
    extra = ["pretrained"] if config.initialize_from else []
    extra += ["pseudo"] if config.pseudo_labels else []
    assert config.augment.contour_cutout and config.optimizer["lr"] == 0.01
    return MODELS[config.model.name or ""] + (f" ({' + '.join(extra)})" if extra else "")


def numtadb(study: Study) -> dict[str, dict[str, float]]:
    found = {}
    for row in study.rows:
        final = row.group.startswith("Table 3")
        label = f"Table 3: {numtadb_final_label(row.config)}" if final else f"Table 2: {numtadb_label(row.config)}"
        found[label] = ours(row)
    return found


# ---- MNIST --------------------------------------------------------------------------------------------------------


def mnist(study: Study) -> dict[str, dict[str, float]]:
    found = {}
    for row in study.rows:
        folds = row.config.split.kind == "folds"
        label = f"Figure 6: fold {row.config.split.fold + 1}" if folds else "section 2.2.1: final"
        found[label] = {name: value for name, value in ours(row).items() if name != "parameters"}
    return found


# ---- scenes -------------------------------------------------------------------------------------------------------


def scene_facts(label: str) -> tuple[list[int], set[str]]:
    """(convolutions, filters, kernel, dense layers) and the regularisers of a label of the log."""
    shape = [int(each) for each in re.findall(r"\d+", label.split(": ", 2)[2])[:4]]
    return shape, {name for name in ("MaxPooling", "BatchNorm", "Dropout") if name in label}


def scene_configuration(config: TrainConfig) -> tuple[list[int], set[str]]:
    arguments = config.model.arguments
    shape = [arguments[name] for name in ("conv_layers", "filters", "kernel", "dense_layers")]
    names = {"max_pool": "MaxPooling", "batch_norm": "BatchNorm", "dropout": "Dropout"}
    return shape, {name for key, name in names.items() if arguments.get(key)}


def scenes(study: Study) -> dict[str, dict[str, float]]:
    found = {}
    for row in study.rows:
        if row.config.model.name == "vgg19":
            label = "Our model vs Literature model: VGG"
        elif row.group == "Kernel size":
            label = f"kernel sizes: Kernel size {row.config.model.arguments['kernel']}"
        else:
            label = f"log: {row.name.split(' (')[0]}"
        found[label] = ours(row)
    return found


def test_the_scenes_log_describes_the_configurations() -> None:
    rows = {row.name.split(" (")[0]: row for row in load_study("scenes").rows}
    labels = {label for label in values("scenes") if label.startswith("log: ")}
    assert len(labels) == 16
    for label in labels:
        assert scene_facts(label) == scene_configuration(rows[label.split(": ")[1]].config), label


def test_tables_that_repeat_a_row_of_the_scenes_log_have_its_figures() -> None:
    found = values("scenes")
    log = next(each for label, each in found.items() if label.startswith("log: Model 10:"))
    for label in ("kernel sizes: Kernel size 5", "Our model vs Literature model: Ours"):
        for name, value in found[label].items():
            assert log[name] == pytest.approx(value, abs=0.5e-3 if name != "parameters" else 0.5e6), (label, name)


# ---- CIFAR-10 -----------------------------------------------------------------------------------------------------

CIFAR10 = {
    "Baseline model: SGD + momentum and no regularization": "Baseline",
    "Dropout: 20% after each max pooling layer and the fully connected layer": "Dropout",
    "Weight decay: L2, coefficient 0.001": "Weight decay",
    "Data augmentation: shift 10%, flip": "Data augmentation",
    "Model with regularization and batch normalization: 400 epochs": "Combined",
    "Centering around zero: 400 epochs": "Centred",
    "Adam and AdamW optimizers: Adam": "Adam",
    "Adam and AdamW optimizers: AdamW": "AdamW",
    "Learning rate scheduling: Cosine Annealing": "Cosine annealing",
    "Learning rate scheduling: Cosine annealing with Restarts": "Cosine annealing with restarts",
    "Learning rate scheduling: Step Decay": "Step decay",
    "Complementary impact: Reverse Ordering": "Reverse order",
    "Complementary impact: only using Batch Normalization": "Batch normalisation only",
    "Complementary impact: only using Dropout": "Dropout only",
}


def cifar10(study: Study) -> dict[str, dict[str, float]]:
    rows = {row.name: row for row in study.rows}
    return {label: ours(rows[name]) for label, name in CIFAR10.items()}


# ---- MIDAS --------------------------------------------------------------------------------------------------------


def midas_column(place: str, name: str) -> str:
    """Their validation set is a part of the characters in part 1 and MNIST's test set in parts 2 and 3."""
    part = "val" if place == "Part 1" else "test"
    return name.replace("val", part) if name.startswith("val") else COLUMNS["midas"][name]


def midas_label(config: TrainConfig) -> str:
    """The notebook that trained the configuration, with the part where it stands."""
    if config.dataset.name == "chars74k":
        return "Part 1: CNN_Dataset1.ipynb, epoch 28/30"
    data = "Part 2: CNN_MNIST" if config.label_noise is None else "Part 3: CNN_DS3"
    start = "Pretrained" if config.initialize_from else "RandomInit"
    arguments = config.model.arguments
    experimental = (arguments["dense_units"], arguments["dropout"]) == (500, 0.7)
    assert experimental or (arguments["dense_units"], arguments["dropout"]) == (1000, 0.5)
    return f"{data}_{start}{'_Expt' if experimental else ''}.ipynb, epoch 3/3"


def midas(study: Study) -> dict[str, dict[str, float]]:
    return {midas_label(row.config): ours(row) for row in study.rows}


MIDAS_EARLIER = {
    f"Part 2: CNN_MNIST_{start}.ipynb, epoch {epoch}/3" for start in ("RandomInit", "Pretrained") for epoch in (1, 2)
}


def test_both_transcriptions_agree_on_every_epoch_of_the_midas_report() -> None:
    second, seen = values("midas"), set()
    for row in load_study("midas").rows:
        label = midas_label(row.config)
        for metric, published in row.published.items():
            for number, value in enumerate(published.by_epoch, 1):
                place = label.replace("epoch 3/3", f"epoch {number}/3")
                assert second[place][metric] == value, (place, metric)
                seen.add((place, metric))
    assert {(place, metric) for place in MIDAS_EARLIER for metric in ("test_loss", "test_accuracy")} < seen


# ---- all of them --------------------------------------------------------------------------------------------------

TRANSCRIBED: Mapping[str, Callable[[Study], dict[str, dict[str, float]]]] = {
    "numtadb": numtadb,
    "mnist": mnist,
    "scenes": scenes,
    "cifar10": cifar10,
    "midas": midas,
}
NOT_A_ROW = {
    "midas": MIDAS_EARLIER,
    "mnist": {"section 2.1.2: model"},
    "scenes": {"kernel sizes: Kernel size 5", "Our model vs Literature model: Ours"},
}


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_both_transcriptions_agree(name: str) -> None:
    study = load_study(name)
    assert len(study.rows) == ROWS[name] and sum(row.same_as is None for row in study.rows) == DISTINCT[name]
    first = TRANSCRIBED[name](study)
    assert len(first) == len(study.rows), "two rows have one label"
    second = values(name, NOT_A_ROW.get(name, ()))
    if name == "scenes":
        second = {": ".join(label.split(": ")[:2]): each for label, each in second.items()}
    assert first == second


OTHER_SOURCES = {"cifar10_fast"}  # published elsewhere than in the five reports


def test_no_published_value_is_stated_twice() -> None:
    for name in set(study_names()) - set(TRANSCRIBED) - OTHER_SOURCES:
        for row in yaml.safe_load(study_text(name))["rows"]:
            for metric, value in row.get("published", {}).items():
                assert "as_in" in value, f"{name}, {row['name']}: {metric} stands in the study of its report"


def test_there_are_72_rows_and_68_distinct_trainings() -> None:
    assert sum(ROWS.values()) == 72 and sum(DISTINCT.values()) == 68


def test_the_mnist_report_states_the_parameters_of_every_row() -> None:
    [stated] = [number(text) for place, _, _, text in printed("mnist") if place == "section 2.1.2"]
    assert {row.published["parameters"].value for row in load_study("mnist").rows} == {stated} == {93322}


TABLE_1 = {"model1": 2_642_442, "lenet": 44_726, "model2": 80_086, "model3": 1_724_938}  # NumtaDB, by arithmetic


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_the_networks_have_the_published_parameters(name: str) -> None:
    builder = Builder()
    stated = set()
    for row in load_study(name).rows:
        built = builder(row.config.model)
        published = row.published.get("parameters")
        if published is not None and not published.note:
            assert built.parameters == published.value, row.name
            stated.add(published.value)
        elif published is not None:
            assert built.parameters == pytest.approx(published.value, rel=0.02), row.name
        if name == "numtadb":
            assert built.parameters == TABLE_1[row.config.model.name or ""], row.name
    assert len(stated) == {"mnist": 1, "scenes": 13}.get(name, 0)
