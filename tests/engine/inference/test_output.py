"""What `python -m engine.predict` writes: probabilities, the likeliest classes, JSON lines, names from standard input,
and with true labels a report and the mistakes."""

import csv
import io
import json
import os
import sys

import cv2
import numpy as np
import pytest

import engine
from engine import predict as command
from engine.cli import run
from engine.data.preprocess import Preprocess
from engine.training.metrics import accuracy, confusion_matrix, macro_f1
from tests.engine.small import CLASSES, SIDE, small_images, small_net

COUNT = 30


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures, their labels in a table, and two networks of first weights (they make mistakes)."""
    place = tmp_path_factory.mktemp("output")
    (place / "pictures").mkdir()
    images, labels = small_images(COUNT)
    rows = ["filename,label"]
    for number, (image, label) in enumerate(zip(images, labels)):
        cv2.imwrite(str(place / "pictures" / f"{number:02}.png"), image)
        rows.append(f"{number:02}.png,{CLASSES[label]}")
    (place / "gt.csv").write_text("\n".join(rows) + "\n")
    for seed, name in enumerate("ab"):
        save(small_net(seed), CLASSES, place / f"{name}.safetensors")
    return place


def save(net, names, path):
    net.preprocess, net.class_names = Preprocess().to_dict(), list(names)
    net.save(path)


@pytest.fixture
def call(place, monkeypatch, capsys):
    """Run the command in this process: exit status, standard output, standard error."""

    def call(*arguments, given=None, net="a.safetensors"):
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments), "--checkpoint", net])
        if given is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        status = run(command.main)
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return call


def expected(place, *nets):
    """Probabilities (COUNT, classes) of the mean of the networks."""
    images = np.stack([Preprocess()(image) for image in small_images(COUNT)[0]])
    parts = [engine.load(place / f"{name}.safetensors").predict(images).astype(float) for name in nets or "a"]
    return np.mean(parts, axis=0)


def test_all_probabilities_as_csv_and_as_json_are_the_networks_own(place, call):
    status, out, err = call("pictures", "--probabilities")
    assert (status, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["file", "label", "probability", *(f"p({name})" for name in CLASSES)]
    got = np.array([[float(row[f"p({name})"]) for name in CLASSES] for row in rows])
    np.testing.assert_allclose(got, expected(place), atol=1e-6)
    for row, scores in zip(rows, got):
        assert row["label"] == CLASSES[scores.argmax()] and float(row["probability"]) == pytest.approx(max(scores))
    status, out, _ = call("pictures", "--probabilities", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and all(list(each["probabilities"]) == list(CLASSES) for each in lines)
    assert [[each["probabilities"][name] for name in CLASSES] for each in lines] == got.tolist()
    assert [each["file"] for each in lines] == [row["file"] for row in rows]


def test_the_likeliest_classes_come_in_their_order(place, call):
    status, out, _ = call("pictures", "--top", "3")
    assert status == 0
    table = csv.DictReader(io.StringIO(out))
    assert table.fieldnames == ["file", "label", "probability", "label_2", "probability_2", "label_3", "probability_3"]
    for row, scores in zip(table, expected(place), strict=True):
        order = np.argsort(-scores)
        assert [row[name] for name in ("label", "label_2", "label_3")] == [CLASSES[each] for each in order]
        got = [float(row[name]) for name in ("probability", "probability_2", "probability_3")]
        np.testing.assert_allclose(got, scores[order], atol=1e-6)
    status, out, _ = call("pictures", "--top", "2", "--json")
    for line, scores in zip(out.splitlines(), expected(place), strict=True):
        row = json.loads(line)
        assert [each["label"] for each in row["top"]] == [CLASSES[each] for each in np.argsort(-scores)[:2]]
        assert row["top"][0] == {"label": row["label"], "probability": row["probability"]}
        assert "probabilities" not in row and "error" not in row


def test_of_equal_scores_the_first_class_is_first(place, call):
    net = small_net()
    net.load_parameters({key: np.zeros_like(value) for key, value in net.parameters().items()})
    save(net, CLASSES, place / "even.safetensors")
    _, out, _ = call("pictures/00.png", "--top", "3", "--json", net="even.safetensors")
    assert [each["label"] for each in json.loads(out)["top"]] == list(CLASSES)


def test_networks_together_and_views_give_their_mean(place, call):
    _, out, _ = call("pictures", "--json", "--probabilities", "--checkpoint", "b.safetensors")
    got = [list(json.loads(line)["probabilities"].values()) for line in out.splitlines()]
    np.testing.assert_allclose(got, expected(place, "a", "b"), atol=1e-6)
    _, seen, _ = call("pictures", "--json", "--top", "1", "--tta", "flip")
    assert len(seen.splitlines()) == COUNT


@pytest.mark.parametrize("value", ["0", "4", "-1"])
def test_more_classes_than_there_are_is_an_error(call, value):
    status, out, err = call("pictures", "--top", value)
    assert (status, out) == (2, "") and err.startswith("error: --top must be 1 or more and at most 3") and value in err


@pytest.mark.parametrize(
    "given",
    [
        b"pictures/03.png\npictures/01.png\n",
        b"pictures/03.png\r\n\r\npictures/01.png",
        b"pictures/03.png\0pictures/01.png\0",
        b"\xef\xbb\xbfpictures/03.png\npictures/01.png\n",
    ],
)
def test_names_come_from_standard_input(call, given):
    status, out, _ = call("-", "--json", given=given)
    assert status == 0
    assert [json.loads(line)["file"] for line in out.splitlines()] == ["pictures/03.png", "pictures/01.png"]


def test_names_from_standard_input_stand_among_others_and_keep_their_bytes(place, call):
    name = b"listed \xe9 t\xc3\xa9 .png"
    (place / os.fsdecode(name)).write_bytes((place / "pictures" / "00.png").read_bytes())
    status, out, _ = call("pictures/02.png", "-", "pictures/01.png", "--json", given=name + b"\n")
    files = [json.loads(line)["file"] for line in out.splitlines()]
    assert status == 0 and [files[0], files[2]] == ["pictures/02.png", "pictures/01.png"]
    assert os.fsencode(files[1]) == name


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        (["-"], b"", "standard input names no images"),
        (["-"], b" \n\n", "standard input names no images"),
        (["-", "-"], b"pictures\n", "standard input is given twice"),
        (["-"], b"pictures/01.png\nnowhere.png\n", "nowhere.png: no such file or folder"),
        (["-"], b"pictures/01.png\npictures/01.png\n", "pictures/01.png: the image is given twice"),
        (["-", "pictures"], b"pictures/01.png\n", "pictures/01.png: the image is given twice"),
    ],
)
def test_a_bad_list_of_names_is_one_sentence(call, arguments, given, message):
    status, out, err = call(*arguments, given=given)
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1


def test_a_listed_file_that_is_damaged_or_missing_has_a_row(place, call):
    (place / "cut.png").write_bytes((place / "pictures" / "00.png").read_bytes()[:60])
    given = b"pictures/01.png\nnowhere.png\ncut.png\n"
    status, out, err = call("-", "--skip-damaged", "--json", "--top", "2", "--probabilities", given=given)
    right, missing, cut = (json.loads(line) for line in out.splitlines())
    assert status == 1 and "2 of 3 images" in err
    assert right["error"] is None and list(right) == list(missing) == list(cut)
    for each, name in ((missing, "nowhere.png"), (cut, "cut.png")):
        assert each["file"] == name and name in each["error"]
        assert each["label"] is each["probability"] is each["top"] is each["probabilities"] is None
    status, out, _ = call("-", "--skip-damaged", "--top", "2", "--probabilities", given=given)
    lengths = {len(row) for row in csv.reader(io.StringIO(out))}
    assert status == 1 and lengths == {len(out.splitlines()[0].split(","))}


def test_the_report_is_what_the_rows_and_the_true_labels_say(place, call, tmp_path):
    report, wrong, out = (tmp_path / name for name in ("r.json", "m.csv", "p.csv"))
    given = ["pictures", "--gt", "gt.csv", "--top", "2", "--report", report, "--mistakes", wrong, "--out", out]
    status, shown, err = call(*given)
    assert (status, err) == (0, "")
    scores, truth = expected(place), small_images(COUNT)[1]
    predicted = scores.argmax(axis=1)
    assert 0 < (predicted != truth).sum() < COUNT
    content = json.loads(report.read_text())
    assert content["images"] == COUNT and content["damaged"] == [] and content["classes"] == list(CLASSES)
    assert content["checkpoints"] == ["a.safetensors"] and content["tta"] is None
    assert content["accuracy"] == accuracy(truth, predicted)
    assert content["macro_f1"] == pytest.approx(macro_f1(truth, predicted))
    second = np.argsort(-scores, axis=1)[:, :2]
    assert content["top_2_accuracy"] == np.mean([label in row for label, row in zip(truth, second)])
    assert f"top-2 accuracy {content['top_2_accuracy']:.4f}" in shown
    matrix = confusion_matrix(truth, predicted, len(CLASSES))
    cells = {(each["truth"], each["predicted"]): each["count"] for each in content["confusion"]}
    for row, name in enumerate(CLASSES):
        for column, other in enumerate(CLASSES):
            assert cells.get((name, other), 0) == matrix[row, column]
    assert 0 not in cells.values()
    for label, each in enumerate(content["per_class"]):
        met, said, hit = matrix[label].sum(), matrix[:, label].sum(), matrix[label, label]
        assert (each["class"], each["images"], each["predicted"]) == (CLASSES[label], met, said)
        assert each["recall"] == hit / met and each["precision"] == (hit / said if said else None)
        assert each["f1"] == 2 * hit / (met + said)
    order = sorted(np.flatnonzero(predicted != truth), key=lambda each: -scores[each].max())
    assert [each["file"] for each in content["mistakes"]] == [f"pictures/{each:02}.png" for each in order]
    for each, sample in zip(content["mistakes"], order):
        assert (each["truth"], each["label"]) == (CLASSES[truth[sample]], CLASSES[predicted[sample]])
        assert each["probability"] == pytest.approx(scores[sample].max(), abs=1e-6)
        assert each["truth_probability"] == pytest.approx(scores[sample, truth[sample]], abs=1e-6)
    rows = list(csv.DictReader(wrong.open()))
    assert rows == [{name: str(value) for name, value in each.items()} for each in content["mistakes"]]
    first = content["mistakes"][0]
    assert f"  {first['file']}: {first['truth']} taken for {first['label']}" in shown


def test_images_that_are_passed_over_are_no_mistakes(place, call, tmp_path):
    table, report, wrong = (tmp_path / name for name in ("gt.csv", "r.json", "m.csv"))
    table.write_text("file,label\n00.png,top\ncut.png,left\n")
    (place / "cut.png").write_bytes(b"")
    outputs = ("--gt", table, "--report", report, "--mistakes", wrong, "--skip-damaged")
    status, _, _ = call("pictures/00.png", "cut.png", *outputs)
    content = json.loads(report.read_text())
    assert status == 1 and content["images"] == 1
    assert [each["file"] for each in content["damaged"]] == ["cut.png"] and "is empty" in content["damaged"][0]["error"]
    status, _, err = call("cut.png", *outputs)
    content = json.loads(report.read_text())
    assert status == 1 and content["images"] == 0 and content["accuracy"] is content["macro_f1"] is None
    assert content["confusion"] == content["mistakes"] == [] and content["per_class"][0]["recall"] is None
    assert wrong.read_text() == "file,truth,label,probability,truth_probability\n"


def test_a_thousand_classes_print_no_matrix(place, call, tmp_path):
    names = [f"class{number:04}" for number in range(1000)]
    net = engine.Sequential([engine.Flatten(), engine.Linear(SIDE * SIDE, 1000)], (1, SIDE, SIDE))
    save(net, names, place / "many.safetensors")
    rows = "".join(f"{number:02}.png,{names[number % 7]}\n" for number in range(COUNT))
    (place / "many.csv").write_text("file,label\n" + rows)
    report = tmp_path / "r.json"
    arguments = ["pictures", "--gt", "many.csv", "--report", report, "--out", tmp_path / "p.csv", "--top", "5"]
    status, shown, _ = call(*arguments, net="many.safetensors")
    assert status == 0 and len(shown.splitlines()) < 50 and max(map(len, shown.splitlines())) < 120
    assert "of 1,000 classes, those with the least F1" in shown and "the most frequent confusions" in shown
    content = json.loads(report.read_text())
    assert len(content["per_class"]) == 1000 and sum(each["count"] for each in content["confusion"]) == COUNT
    assert len(content["confusion"]) <= COUNT
    (place / "wrong.csv").write_text("file,label\n00.png,class 1\n")
    status, _, err = call("pictures/00.png", "--gt", "wrong.csv", net="many.safetensors")
    assert status == 2 and "wrong.csv, line 2: label 'class 1'" in err and "1000 in all" in err and len(err) < 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report", "new.json"], "--report needs the true labels"),
        (["--mistakes", "new.csv"], "--mistakes needs the true labels"),
        (["--gt", "gt.csv", "--report", "new.json", "--mistakes", "./new.json"], "new.json: is given for --report and"),
        (["--gt", "gt.csv", "--report", "gt.csv"], "gt.csv: is read, and --report would write over it"),
        (["--gt", "gt.csv", "--out", "gt.csv"], "gt.csv: is read, and --out would write over it"),
        (["--out", "a.safetensors"], "a.safetensors: is read, and --out would write over it"),
        (["--out", "pictures/04.png"], "pictures/04.png: is read, and --out would write over it"),
        (["--gt", "gt.csv", "--report", "pictures"], "pictures: is a folder; --report takes the name of a file"),
        (["--gt", "gt.csv", "--mistakes", "gt.csv/m.csv", "--out", "new.csv"], "gt.csv"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_anything_is_written(place, call, arguments, message):
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    status, out, err = call("pictures", *arguments)
    assert status == 2 and message in err and err.count("\n") == 1 and "file,label" not in out
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_scores_that_are_no_numbers_leave_no_report(place, call, tmp_path):
    net = small_net()
    parameters = net.parameters()
    list(parameters.values())[-1].flat[-1] = np.nan
    net.load_parameters(parameters)
    save(net, CLASSES, place / "nan.safetensors")
    outputs = ("--report", tmp_path / "r", "--mistakes", tmp_path / "m", "--out", tmp_path / "p")
    status, _, err = call("pictures", "--gt", "gt.csv", "--top", "2", *outputs, net="nan.safetensors")
    assert status == 2 and "nan.safetensors" in err and list(tmp_path.iterdir()) == []


def test_an_output_without_a_class_has_a_name_and_two_of_one_name_are_refused(place, call):
    net = engine.Sequential([engine.Flatten(), engine.Linear(SIDE * SIDE, 5)], (1, SIDE, SIDE))
    save(net, CLASSES, place / "more.safetensors")
    status, out, _ = call("pictures", "--probabilities", "--json", net="more.safetensors")
    names = [*CLASSES, "output 3", "output 4"]
    assert status == 0 and list(json.loads(out.splitlines()[0])["probabilities"]) == names
    assert {json.loads(line)["label"] for line in out.splitlines()} - set(CLASSES), "none says more"
    save(net, ["top", "left", "output 4"], place / "twice.safetensors")
    status, _, err = call("pictures", net="twice.safetensors")
    assert status == 2 and "twice.safetensors" in err and "'output 4'" in err
