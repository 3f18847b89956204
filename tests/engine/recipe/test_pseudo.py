"""Pseudo-labels: what is kept and how much it weighs, as pure functions, and through the training command."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import engine
from engine import train as command
from engine.cli import run
from engine.data.choose.splits import stratified_split
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.inference.ensemble import Member, probabilities
from engine.network.checkpoint import read, weights_hash
from engine.recipe.pseudo import PseudoLabelConfig, PseudoLabels, describe, label_with, merge, strip_labels
from tests.engine.small import CLASSES, small_config, small_dataset, small_images, small_net, write_archive

TRUTH = np.array([0, 1, 2, 2, 1], np.int64)
KEPT = PseudoLabels(np.array([0, 2, 3]), np.array([0, 2, 1]), np.array([0.9, 0.95, 0.99], np.float32), 5)


def teacher(seed=0, **changes):
    net = small_net(seed)
    net.class_names = list(CLASSES)
    return dataclasses.replace(Member(f"teacher{seed}", net, Preprocess()), **changes)


# ---- pure functions ----


def test_a_fraction_of_every_stratum_keeps_its_labels():
    strata = np.repeat(np.arange(4), [100, 50, 200, 10])
    labelled, unlabelled = strip_labels(strata, 0.1, seed=3)
    assert np.array_equal(np.sort(np.concatenate([labelled, unlabelled])), np.arange(360))
    assert np.bincount(strata[labelled]).tolist() == [10, 5, 20, 1]
    again, _ = strip_labels(strata, 0.1, seed=3)
    other, _ = strip_labels(strata, 0.1, seed=4)
    assert np.array_equal(labelled, again) and not np.array_equal(labelled, other)


@pytest.mark.parametrize(("percent", "each"), [(70, 10), (90, 10), (93, 100), (10, 10), (65, 20), (1, 100)])
def test_what_is_labelled_is_counted_as_it_is_written(percent, each):
    """1 - 0.7 is a bit more than 0.3, which would be rounded up to another sample without its label."""
    strata = np.repeat(np.arange(4), each)
    labelled, _ = strip_labels(strata, percent / 100, seed=0)
    assert np.bincount(strata[labelled]).tolist() == [each * percent // 100] * 4


def test_a_draw_that_was_right_stays_what_it_was():
    strata = np.repeat([0, 1], [12, 8])
    assert np.array_equal(strip_labels(strata, 0.25, 3)[0], stratified_split(strata, 0.75, 3)[0])
    assert np.array_equal(strip_labels(strata, 1 / 3, 3)[0], stratified_split(strata, 2 / 3, 3)[0])


@pytest.mark.parametrize(
    ("fraction", "message"), [(0.0, "between 0 and 1"), (1.0, "between 0 and 1"), (0.05, "least 0.1")]
)
def test_a_class_without_labels_is_refused(fraction, message):
    with pytest.raises(UserError, match=message):
        strip_labels(np.repeat([0, 1], [100, 10]), fraction, seed=0)


def test_the_mean_of_probabilities_decides():
    data = small_dataset(600)  # more than pass through a network at a time
    teachers = [teacher(0), teacher(1)]
    images = data.normalise(data.images)
    mean = (probabilities(teachers[0].net, images) + probabilities(teachers[1].net, images)) / 2
    found = label_with(teachers, data, 0.4)
    confident = np.flatnonzero(mean.max(axis=1) >= 0.4)
    assert 0 < len(confident) < 600 and found.asked == 600
    assert np.array_equal(found.indices, confident)
    assert np.array_equal(found.labels, mean.argmax(axis=1)[confident])
    assert found.confidence == pytest.approx(mean.max(axis=1)[confident])
    assert len(label_with(teachers, data, 0.0).indices) == 600 and len(label_with(teachers, data, 1.0).indices) == 0


def test_true_labels_of_the_unlabelled_are_not_looked_at():
    data = small_dataset(50)
    wrong = dataclasses.replace(data, labels=(data.labels + 1) % 3)
    first, second = (label_with([teacher()], each, 0.3) for each in (data, wrong))
    assert np.array_equal(first.labels, second.labels)


def test_a_teacher_may_scale_pixels_in_its_own_way():
    data = small_dataset(20)
    own = Preprocess(scale="-1..1")
    found = label_with([teacher(preprocess=own)], data, 0.0)
    assert np.array_equal(found.labels, probabilities(teacher().net, own.normalise(data.images)).argmax(axis=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"preprocess": Preprocess(steps=("reverse",))},
            r"teacher0: was trained with preprocess.steps = \['reverse'\]",
        ),
        ({"net": engine.Sequential([engine.Flatten(), engine.Linear(64, 3)], (1, 8, 8))}, r"takes \(1, 8, 8\)"),
    ],
)
def test_a_teacher_of_other_images_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        label_with([teacher(**change)], small_dataset(4), 0.5)


def test_a_teacher_of_other_classes_is_refused():
    other = teacher()
    other.net.class_names = ["left", "top", "middle"]
    with pytest.raises(UserError, match="teacher0: its classes are left, top, middle"):
        label_with([other], small_dataset(4), 0.5)


def test_labels_of_a_teacher_are_the_sets_by_name():
    data, turned = small_dataset(20), teacher()
    turned.net.class_names = [CLASSES[2], CLASSES[0], CLASSES[1]]
    scores = probabilities(turned.net, data.normalise(data.images))
    by_name = scores[:, [1, 2, 0]]
    assert np.array_equal(label_with([turned], data, 0.0).labels, by_name.argmax(axis=1))
    both = label_with([turned, teacher()], data, 0.0)
    assert np.array_equal(both.labels, (by_name + scores).argmax(axis=1))
    assert both.confidence == pytest.approx((by_name + scores).max(axis=1) / 2)


def test_merged_samples_weigh_less():
    labelled, unlabelled = small_dataset(4), small_dataset(5, seed=1)
    both = merge(labelled, unlabelled, KEPT, 0.25)
    assert np.array_equal(both.images, np.concatenate([labelled.images, unlabelled.images[[0, 2, 3]]]))
    assert both.labels.tolist() == [*labelled.labels, 0, 2, 1]
    assert both.sample_weights.tolist() == [1.0] * 4 + [0.25] * 3
    more = merge(both, unlabelled, KEPT, 0.5)
    assert more.sample_weights.tolist() == [1.0] * 4 + [0.25] * 3 + [0.5] * 3
    with pytest.raises(UserError, match="sure of none of the 9 images; lower threshold"):
        merge(labelled, unlabelled, PseudoLabels(KEPT.indices[:0], KEPT.labels[:0], KEPT.confidence[:0], 9), 0.5)
    soft = dataclasses.replace(labelled, labels=np.eye(3, dtype=np.float32)[labelled.labels])
    with pytest.raises(UserError, match="small: pseudo-labels are classes, but this set has soft labels"):
        merge(soft, unlabelled, KEPT, 0.5)


def test_files_go_with_their_samples():
    labelled, unlabelled = (
        dataclasses.replace(data, files=tuple(Path(name, f"{each}.png") for each in range(len(data))))
        for name, data in (("ours", small_dataset(6)), ("new", small_dataset(5, seed=1)))
    )
    both = merge(labelled, unlabelled, KEPT, 0.25)
    assert both.files == (*labelled.files, Path("new/0.png"), Path("new/2.png"), Path("new/3.png"))
    assert both.subset(np.array([7, 0])).files == (Path("new/2.png"), Path("ours/0.png"))
    assert merge(labelled, small_dataset(5), KEPT, 0.25).files == ()  # some have none
    with pytest.raises(UserError, match="6 images but 2 files"):
        dataclasses.replace(labelled, files=labelled.files[:2])


def test_what_was_kept_is_counted():
    found = describe(KEPT, CLASSES, TRUTH)
    assert (found["asked"], found["kept"], found["right"]) == (5, 3, 2)
    assert found["per_class"] == {
        "top": {"kept": 1, "right": 1},
        "bottom": {"kept": 1, "right": 0},
        "left": {"kept": 1, "right": 1},
    }
    assert describe(KEPT, CLASSES, None)["right"] is None and found["mean_confidence"] == pytest.approx(0.946667)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoints": ()}, "one teacher or more"),
        ({"checkpoints": ("a",), "threshold": 1.5}, "threshold must be a number from 0.0 to 1.0, not 1.5"),
        ({"checkpoints": ("a",), "threshold": float("nan")}, "threshold"),
        ({"checkpoints": ("a",), "weight": 0.0}, "weight must be a number from above 0.0 to 1.0"),
    ],
)
def test_bad_sections(arguments, message):
    with pytest.raises(UserError, match=message):
        PseudoLabelConfig(**arguments)


# ---- through the training command ----


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a configuration that uses a quarter of the labels, and two teachers trained on it."""
    monkeypatch.chdir(tmp_path)
    archive = write_archive(tmp_path / "set.npz")
    data = {"name": "npz", "train": {"path": str(archive)}, "labelled_fraction": 0.25}
    settings = small_config(archive) | {"dataset": data, "augment": {}, "epochs": 3}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


TEACHERS = "teacher0/best.safetensors, teacher1/best.safetensors"
PSEUDO = f"pseudo_labels={{checkpoints: [{TEACHERS}], threshold: 0.4, weight: 0.5}}"


def call(monkeypatch, capsys, *arguments):
    """Run the command in this process: exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["train", "small.yaml", *map(str, arguments)])
    threads = engine.get_num_threads()
    status = run(command.main)
    engine.set_num_threads(threads)
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def train_teachers(monkeypatch, capsys):
    for seed in (0, 1):
        status, _, err = call(monkeypatch, capsys, f"seed={seed}", "--out", f"teacher{seed}")
        assert status == 0, err


def test_teachers_then_a_student(place, monkeypatch, capsys):
    train_teachers(monkeypatch, capsys)
    assert read("teacher0/last.safetensors").training["position"]["step"] == 3 * np.ceil(40 * 0.75 / 16)
    status, out, err = call(monkeypatch, capsys, PSEUDO, "--out", "student")
    assert status == 0, err
    (record,) = json.loads((place / "student" / "result.json").read_text())["pseudo_labels"].values()
    assert record["asked"] == 120 and 0 < record["kept"] <= 120 and 0 < record["right"] <= record["kept"]
    assert f"pseudo-labels: {record['kept']} of 120 stripped samples, of which {record['right']} are right" in out
    steps = read("student/last.safetensors").training["position"]["step"]
    assert steps == 3 * np.ceil((30 + record["kept"]) / 16)


def test_a_student_is_resumed_to_the_same_bits(place, monkeypatch, capsys):
    train_teachers(monkeypatch, capsys)
    assert call(monkeypatch, capsys, PSEUDO, "--out", "whole")[0] == 0
    assert call(monkeypatch, capsys, PSEUDO, "epochs=1", "--out", "parts")[0] == 0
    assert call(monkeypatch, capsys, PSEUDO, "--out", "parts", "--resume")[0] == 0
    first, second = (weights_hash(engine.load(place / name / "last.safetensors")) for name in ("whole", "parts"))
    assert first == second
    status, _, err = call(monkeypatch, capsys, PSEUDO.replace("0.5}", "0.6}"), "--out", "parts", "--resume")
    assert status == 2 and "other data" in err


def test_images_without_labels(place, monkeypatch, capsys):
    train_teachers(monkeypatch, capsys)
    (place / "more").mkdir()
    for number, image in enumerate(small_images(9, seed=5)[0]):
        cv2.imwrite(str(place / "more" / f"{number}.png"), image)
    section = PSEUDO.replace("0.4", "0.0").replace("0.5}", "0.5, images: [more]}")
    status, out, err = call(monkeypatch, capsys, section, "dataset.labelled_fraction=null", "--out", "student")
    assert status == 0, err
    record = json.loads((place / "student" / "result.json").read_text())["pseudo_labels"]
    assert list(record) == ["unlabelled"] and (record["unlabelled"]["kept"], record["unlabelled"]["right"]) == (9, None)
    assert "pseudo-labels: 9 of 9 unlabelled samples\n" in out
    (place / "more" / "4.png").write_bytes(b"")
    _, out, err = call(monkeypatch, capsys, section, "dataset.labelled_fraction=null", "--out", "another")
    assert "warning: unlabelled: 1 of 9 images cannot be read" in err
    assert "pseudo-labels: 8 of 8 unlabelled samples\n" in out
    skipped = json.loads((place / "another" / "result.json").read_text())["skipped_images"]
    assert len(skipped) == 1 and "4.png: the image file is empty" in skipped[0]
    status, _, err = call(monkeypatch, capsys, section, "dataset.labelled_fraction=null", "strict=true", "--out", "no")
    assert status == 2 and "unlabelled: 1 of 9 images cannot be read" in err and not (place / "no").exists()


def test_images_that_the_run_has_already_are_refused(place, monkeypatch, capsys):
    """A student must not be trained on what it is judged on, nor on samples twice."""
    train_teachers(monkeypatch, capsys)
    images, labels = small_images(40, seed=5)
    for number, (image, label) in enumerate(zip(images, labels)):
        for folder in ("set", "test", "more"):
            (place / folder / str(label)).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / folder / str(label) / f"{number:02}.png"), image)
    (place / "more" / "link").symlink_to(place / "set" / "0")
    data = ["dataset={name: folder, train: {path: set}, test: {path: test}}", "preprocess.colour=false"]
    for given, message in {
        "set/0": r"set/0/\d+.png is one of the (training|validation) samples of this run \(\d+ of \d+ images",
        "set/../test/2": r"test/2/\d+.png is one of the test samples of this run",
        "more/link": r"more/link/\d+.png is one of the (training|validation) samples",
        "more/0, more/../more/0": "0/.* is given twice",
    }.items():
        section = PSEUDO.replace("0.4", "0.0").replace("0.5}", f"0.5, images: [{given}]}}")
        status, _, err = call(monkeypatch, capsys, section, *data, "--out", "student")
        assert status == 2 and re.search(f"small.yaml: pseudo_labels: images: .*{message}", err), err
        assert not (place / "student").exists()
    section = PSEUDO.replace("0.4", "0.0").replace("0.5}", "0.5, images: [more/0]}")
    status, _, err = call(monkeypatch, capsys, section, *data, "--out", "student")
    assert status == 0, err
    # What was stripped of its labels is labelled already.
    stripped = ["dataset.labelled_fraction=0.5", section.replace("more/0", "set/0, set/2")]
    status, _, err = call(monkeypatch, capsys, *data, *stripped, "--out", "other")
    assert status == 2 and "samples of this run" in err


@pytest.mark.parametrize("kept", [True, False])
def test_images_to_label_are_cached_where_the_configuration_wants_it(place, monkeypatch, capsys, kept):
    train_teachers(monkeypatch, capsys)
    (place / "more").mkdir()
    cv2.imwrite(str(place / "more" / "0.png"), small_images(1, seed=5)[0][0])
    monkeypatch.setenv("CNN_CACHE", str(place / "cache"))
    section = PSEUDO.replace("0.4", "0.0").replace("0.5}", "0.5, images: [more]}")
    overrides = ["dataset.labelled_fraction=null", f"cache={str(kept).lower()}", "--out", "student"]
    assert call(monkeypatch, capsys, section, *overrides)[0] == 0
    assert (place / "cache").exists() == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([PSEUDO], "small.yaml: pseudo_labels: teacher0/best.safetensors: no such checkpoint file"),
        ([PSEUDO.replace("checkpoints", "checkpoint")], "did you mean 'checkpoints'"),
        ([PSEUDO, "dataset.labelled_fraction=null"], "nothing to label; give dataset.labelled_fraction or images"),
        ([PSEUDO, "loss.name=MeanSquaredError"], "pseudo_labels: their weight needs the loss CrossEntropy"),
        (["dataset.labelled_fraction=1.5"], "small.yaml: labelled_fraction must lie between 0 and 1, got 1.5"),
        (["dataset.labelled_fraction=0.001"], "leaves no label in the class"),
    ],
)
def test_mistakes_print_one_line_and_write_nothing(place, monkeypatch, capsys, arguments, message):
    status, _, err = call(monkeypatch, capsys, *arguments)
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert re.search(message, err), err
    assert not (place / "runs").exists()
