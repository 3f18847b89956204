"""Segmentation by command: a configuration trains on images and masks, and predictions are maps."""

import csv
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import engine
from engine import crossval, predict, train
from engine.cli import run
from engine.data.labels import palette
from engine.data.labels.files import read_label_map
from engine.data.preprocess import Preprocess
from engine.inference.segment import at_image_size
from engine.network.checkpoint import weights_hash
from engine.training.metrics import class_iou, mean_iou
from tests.engine.data.labels.masks import write_set

CLASSES = ["sheet", "ink"]


def config(place, **changes):
    options = {"path": str(place / "set"), "classes": CLASSES, "ignore": 255}
    given = {
        "dataset": {"name": "segmentation", "train": options, "test": options},
        "augment": {"flip": 0.5, "shift": {"fraction": 0.2, "fill": "constant"}, "rotation": 10},
        "split": {"kind": "fraction", "fraction": 0.25},
        "model": {"name": "unet", "arguments": {"width": 4, "depth": 1, "input_size": 16}},
        "optimizer": {"name": "Adam", "lr": 0.02},
        "loss": {"name": "PixelCrossEntropy", "ignore_index": 255},
        "batch_size": 8,
        "epochs": 4,
        "metric": "val_mean_iou",
        "threads": 1,
    }
    path = place / "config.yaml"
    path.write_text(yaml.safe_dump({**given, **changes}))
    return path


def call(module, *arguments):
    """The exit status of a command."""
    before, threads = sys.argv, engine.get_num_threads()
    sys.argv = [module.__name__, *map(str, arguments)]
    try:
        return run(module.main)
    finally:
        sys.argv = before
        engine.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("segmentation")
    write_set(place / "set", count=40, ignore=True)
    assert call(train, config(place), "--out", place / "run") == 0
    return place


def test_a_training_by_command_learns_and_is_measured(trained):
    result = json.loads((trained / "run" / "result.json").read_text())
    assert result["metric"] == "val_mean_iou" and result["classes"] == CLASSES
    assert result["best_value"] > 0.8 and result["test_mean_iou"] > 0.8 and result["test_pixel_accuracy"] > 0.9
    log = [json.loads(line) for line in (trained / "run" / "log.jsonl").read_text().splitlines()]
    assert log[0]["val_mean_iou"] < max(each["val_mean_iou"] for each in log) == result["best_value"]


def test_the_figures_are_those_of_the_pixels(trained):
    """Measured anew by hand, with the network that was tested."""
    net = engine.load(trained / "run" / "best.safetensors")
    matrix = np.zeros((2, 2), np.int64)
    for number in range(40):
        image = cv2.imread(str(trained / "set" / "images" / f"{number:03}.png"), cv2.IMREAD_GRAYSCALE)
        truth = read_label_map(trained / "set" / "masks" / f"{number:03}.png")
        said = net.predict((image / np.float32(255))[None, None].astype(np.float32))[0].argmax(axis=0)
        for true in range(2):
            for other in range(2):
                matrix[true, other] += ((truth == true) & (said == other)).sum()
    result = json.loads((trained / "run" / "result.json").read_text())
    shares = [matrix[n, n] / (matrix[n].sum() + matrix[:, n].sum() - matrix[n, n]) for n in range(2)]
    assert result["test_mean_iou"] == pytest.approx(np.mean(shares))
    assert result["test_pixel_accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())


def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(trained):
    place = trained / "again"
    overrides = [f"dataset.train.path={trained / 'set'}", f"dataset.test.path={trained / 'set'}"]
    assert call(train, trained / "config.yaml", *overrides, "epochs=2", "--out", place) == 0
    assert call(train, trained / "config.yaml", *overrides, "--out", place, "--resume") == 0
    networks = [engine.load(each / "last.safetensors") for each in (trained / "run", place)]
    assert weights_hash(networks[0]) == weights_hash(networks[1])


def test_maps_are_written_with_their_shares(trained, capsys):
    out = trained / "maps"
    images = trained / "set" / "images"
    assert call(predict, images, "--checkpoint", trained / "run", "--out", out) == 0
    assert "40 maps and shares.csv" in capsys.readouterr().out
    rows = list(csv.DictReader((out / "shares.csv").open()))
    assert len(rows) == 40 and len(list(out.iterdir())) == 41 and list(trained.glob(".maps*")) == []
    assert list(rows[0]) == ["file", "map", "share(sheet)", "share(ink)"]
    for row in rows:
        numbers = read_label_map(Path(row["map"]))
        assert numbers.shape == (16, 16) and Path(row["map"]).stem == Path(row["file"]).stem
        assert float(row["share(ink)"]) == pytest.approx((numbers == 1).mean(), abs=1e-6)
        assert float(row["share(ink)"]) + float(row["share(sheet)"]) == pytest.approx(1, abs=2e-6)
    shown = cv2.imread(rows[0]["map"])  # as a viewer shows it: black and dark red
    assert {tuple(each) for each in shown.reshape(-1, 3).tolist()} == {(0, 0, 0), (0, 0, 128)}


def test_true_masks_give_the_figures_of_the_training(trained, capsys):
    folders = [trained / "set" / "images", "--gt", trained / "set" / "masks", "--ignore", 255]
    out, details = trained / "judged", trained / "report.json"
    options = ["--checkpoint", trained / "run" / "best.safetensors", "--out", out, "--report", details]
    assert call(predict, *folders, *options) == 0
    printed = capsys.readouterr().out
    result = json.loads((trained / "run" / "result.json").read_text())
    report = json.loads(details.read_text())
    assert report["mean_iou"] == result["test_mean_iou"] and report["pixel_accuracy"] == result["test_pixel_accuracy"]
    assert f"mean IoU {report['mean_iou']:.4f}  images 40" in printed and "IoU by class: sheet " in printed
    matrix = np.array(report["confusion"])
    assert mean_iou(matrix) == report["mean_iou"]
    assert [each["iou"] for each in report["per_class"]] == class_iou(matrix).tolist()
    assert matrix.sum() == 40 * 15 * 16  # without the upper edge
    row = next(csv.DictReader((out / "shares.csv").open()))
    truth, said = read_label_map(trained / "set" / "masks" / "000.png")[1:], read_label_map(Path(row["map"]))[1:]
    assert float(row["pixel_accuracy"]) == pytest.approx((truth == said).mean(), abs=1e-6)


def test_a_map_has_the_size_of_its_image(trained, tmp_path):
    """Twice as large an image gives a map that is twice as large, of the same areas."""
    image = cv2.imread(str(trained / "set" / "images" / "003.png"), cv2.IMREAD_GRAYSCALE)
    net = engine.load(trained / "run" / "best.safetensors")
    net.preprocess = Preprocess(size=(16, 16)).to_dict()
    net.save(tmp_path / "resizing.safetensors")
    cv2.imwrite(str(tmp_path / "one.png"), image)
    cv2.imwrite(str(tmp_path / "two.png"), image.repeat(2, axis=0).repeat(3, axis=1))
    files = [tmp_path / "one.png", tmp_path / "two.png"]
    assert call(predict, *files, "--checkpoint", tmp_path / "resizing.safetensors", "--out", tmp_path / "out") == 0
    one, two = (read_label_map(tmp_path / "out" / each.name) for each in files)
    assert one.shape == (16, 16) and two.shape == (32, 48)
    assert (one.repeat(2, axis=0).repeat(3, axis=1) == two).mean() > 0.95


def test_scores_go_back_to_where_the_image_was():
    """Of a padded image the borders are left out; scores of three areas, exact where they are not resized."""
    numbers = np.zeros((6, 6), np.int64)
    numbers[1:5, 2:] = 1
    numbers[3:, :2] = 2
    scores = np.eye(3, dtype=np.float32)[numbers].transpose(2, 0, 1)
    assert np.array_equal(at_image_size(scores, (6, 6), Preprocess()), numbers)
    padded = Preprocess(steps=("pad",))
    assert np.array_equal(at_image_size(scores, (4, 6), padded), numbers[1:5])
    assert np.array_equal(at_image_size(scores, (6, 3), padded), numbers[:, 1:4])
    large = at_image_size(scores, (12, 12), Preprocess())
    assert large.shape == (12, 12) and (large == numbers.repeat(2, axis=0).repeat(2, axis=1)).mean() > 0.85
    tied = np.zeros((2, 4, 4), np.float32)
    assert not at_image_size(tied, (4, 4), Preprocess()).any() and not at_image_size(tied, (9, 9), Preprocess()).any()


def refused(capsys, module, *arguments):
    assert call(module, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1 and "Traceback" not in shown.err
    return shown.err


def test_two_masks_of_one_image_are_refused(trained, tmp_path, capsys):
    for ending in ("png", "bmp"):
        cv2.imwrite(str(tmp_path / f"000.{ending}"), cv2.imread(str(trained / "set" / "masks" / "000.png"), 0))
    image, out = trained / "set" / "images" / "000.png", tmp_path / "out"
    error = refused(capsys, predict, image, "--checkpoint", trained / "run", "--out", out, "--gt", tmp_path)
    assert "000.bmp has the same name but for its ending, so that masks are ambiguous" in error and not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --out DIR, a folder for the maps"),
        (["--out", "PLACE/set/images"], "is read, and --out would write over it"),
        (["--out", "PLACE/config.yaml"], "is a file; with maps --out takes a folder"),
        (["--out", "PLACE/x", "--tta", "flip"], "--tta is for networks that give a class for each image"),
        (["--out", "PLACE/x", "--top", "1"], "--top is for networks"),
        (["--out", "PLACE/x", "--json"], "--json is for networks"),
        (["--out", "PLACE/x", "--report", "PLACE/r.json"], "--report needs the true masks"),
        (
            ["--out", "PLACE/x", "--gt", "PLACE/set/masks", "--ignore", "255", "--report", "PLACE/x/000.png"],
            "x/000.png: is read, or written by --out",
        ),
        (["--out", "PLACE/x", "--gt", "PLACE/config.yaml"], "is no folder; the truth of maps is a folder of masks"),
        (["--out", "PLACE/x", "--gt", "PLACE/set/masks"], "has the number 255, but the network 2 classes; --ignore"),
        (["--out", "PLACE/x", "--gt", "PLACE/run"], "holds no images|no such mask"),
        (["PLACE/other/000.bmp", "--out", "PLACE/x"], "its map would have the name 000.png"),
        (["--out", "PLACE/x", "--checkpoint", "PLACE/run/last.safetensors"], "predicts alone"),
    ],
    ids=["out", "over", "file", "tta", "top", "json", "report", "same", "table", "ignore", "none", "names", "two"],
)
def test_what_is_not_for_maps_is_refused_and_nothing_written(trained, capsys, options, message):
    (trained / "other").mkdir(exist_ok=True)
    shutil.copy(trained / "set" / "images" / "000.png", trained / "other" / "000.bmp")
    before = sorted(trained.rglob("*"))
    given = [each.replace("PLACE", str(trained)) for each in options]
    shown = refused(capsys, predict, trained / "set" / "images", *given, "--checkpoint", trained / "run")
    assert any(each in shown for each in message.split("|")), shown
    assert sorted(trained.rglob("*")) == before


def test_a_damaged_image_stops_all_or_is_passed_over(trained, capsys, tmp_path):
    shutil.copytree(trained / "set" / "images", tmp_path / "images")
    (tmp_path / "images" / "020.png").write_bytes(b"none")
    given = [tmp_path / "images", "--checkpoint", trained / "run", "--out", tmp_path / "out"]
    assert "020.png" in refused(capsys, predict, *given)
    assert not (tmp_path / "out").exists() and len(list(tmp_path.iterdir())) == 1
    assert call(predict, *given, "--skip-damaged") == 1
    rows = list(csv.DictReader((tmp_path / "out" / "shares.csv").open()))
    assert [bool(row["error"]) for row in rows] == [number == 20 for number in range(40)]
    assert len(list((tmp_path / "out").glob("*.png"))) == 39


def test_networks_of_which_no_map_can_be_trusted_are_refused(trained, tmp_path, capsys):
    net = engine.load(trained / "run" / "best.safetensors")
    given = [trained / "set" / "images", "--checkpoint", tmp_path / "net.safetensors", "--out", tmp_path / "out"]
    net.preprocess = Preprocess(steps=("bbox",), size=(16, 16)).to_dict()
    net.save(tmp_path / "net.safetensors")
    assert "the step bbox crops to what an image shows" in refused(capsys, predict, *given)
    net.preprocess = Preprocess().to_dict()
    name = next(iter(net.parameters()))
    net.load_parameters({name: np.full_like(net.parameters()[name], np.inf)}, strict=False)
    net.save(tmp_path / "net.safetensors")
    capsys.readouterr()
    assert call(predict, *given) == 2 and "holds NaN or infinite values" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_classifier_takes_no_number_of_pixels(capsys, tmp_path):
    net = engine.Sequential([engine.Flatten(), engine.Linear(256, 2)], input_shape=(1, 16, 16))
    net.preprocess = Preprocess().to_dict()
    net.save(tmp_path / "net.safetensors")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((16, 16), np.uint8))
    given = [tmp_path / "a.png", "--checkpoint", tmp_path / "net.safetensors", "--ignore", 3]
    assert "--ignore is for networks that give a class for each pixel" in refused(capsys, predict, *given)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("select.count=3", "select goes by a label of each image"),
        ("dataset.labelled_fraction=0.5", "dataset.labelled_fraction goes by a label"),
        ("label_noise={rate: 0.1}", "label_noise goes by a label"),
        ("class_weights=balanced", "class_weights goes by a label"),
        ("sample_weights=trust", "sample_weights goes by a label"),
        ("evaluation_views=flip", "evaluation_views goes by a label"),
        ("split.stratify=[database]", "split.stratify goes by a label"),
        ("loss={name: CrossEntropy, ignore_index: null}", "loss: "),
        ("loss.ignore_index=7", "dataset.train.ignore is 255, but loss.ignore_index 7"),
        ("dataset.test.ignore=null", "dataset.test.ignore is null, but loss.ignore_index 255"),
        ("preprocess.steps=[bbox]", "preprocess.steps: the step bbox crops"),
        ("augment.cutout=0.3", "augment.cutout changes what an image shows"),
        ("augment.mixup=0.2", "augment.mixup changes what an image shows"),
        ("dataset={train: {classes: [a, b, c]}, test: {classes: [a, b, c]}}", "has 3 classes"),
        ("dataset.test.classes=[ink, sheet]", "cannot be numbered anew"),
        ("metric=val_accuracy", "val_accuracy"),
    ],
)
def test_keys_that_do_not_go_with_masks_are_refused_by_name(trained, capsys, override, message):
    shown = refused(capsys, train, trained / "config.yaml", override, "--out", trained / "never")
    assert message in shown and not (trained / "never").exists()


def test_figures_of_classes_of_images_are_refused(trained, capsys, tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    from engine.plots import __main__ as plots

    out = ["--out", tmp_path / "a.png"]
    assert call(plots, "curves", trained / "run", *out) == 0
    (tmp_path / "a.png").unlink()
    assert "has a label for every pixel" in refused(capsys, plots, "samples", trained / "config.yaml", *out)
    assert "is no classifier" in refused(capsys, plots, "confusion", trained / "run", *out)
    image = trained / "set" / "images" / "000.png"
    assert "is no classifier" in refused(capsys, plots, "gradcam", trained / "run", image, *out)
    assert list(tmp_path.iterdir()) == []
    from engine.data import __main__ as data

    given = ["verify", "segmentation", f"path={trained / 'set'}"]
    assert "these have one for every pixel" in refused(capsys, data, *given)


def test_folds_and_an_image_that_cannot_be_read(trained, tmp_path, capsys):
    """Samples are divided by chance, also where some are left out; every fold is judged by its own."""
    shutil.copytree(trained / "set", tmp_path / "set")
    (tmp_path / "set" / "images" / "007.png").write_bytes(b"none")
    path = config(tmp_path, epochs=1, metric="val_mean_iou")
    assert call(train, path, "--out", tmp_path / "run") == 0
    samples = json.loads((tmp_path / "run" / "result.json").read_text())["samples"]
    assert samples == {"training": 29, "validation": 10, "test": 39}
    folds = ["split={kind: folds, folds: 3}", "dataset.test=false"]
    assert call(crossval, path, *folds, "--out", tmp_path / "folds") == 0
    assert "val_mean_iou" in capsys.readouterr().out
    assert call(crossval, path, "split={kind: folds, folds: 50}", "dataset.test=false", "--out", tmp_path / "few") == 2
    assert "folds must be from 2 to the samples" in capsys.readouterr().err


def test_without_names_and_without_a_number_that_does_not_count(tmp_path, capsys):
    write_set(tmp_path / "set", count=10)
    options = {"path": str(tmp_path / "set")}
    dataset = {"name": "segmentation", "train": options, "test": options}
    changes = {"dataset": dataset, "loss": {"name": "Dice"}, "augment": None, "epochs": 1}
    assert call(train, config(tmp_path, **changes), "--out", tmp_path / "run") == 0
    given = [tmp_path / "set" / "images", "--checkpoint", tmp_path / "run", "--out", tmp_path / "out"]
    assert call(predict, *given) == 0
    assert (tmp_path / "out" / "shares.csv").read_text().startswith("file,map,share(0),share(1)\n")
    # A pixel that nobody said anything of is no class.
    labels = np.zeros((16, 16), np.uint8)
    labels[3, 4] = 9
    (tmp_path / "set" / "masks" / "002.png").write_bytes(palette.encoded(labels))
    shown = refused(capsys, train, tmp_path / "config.yaml", "--out", tmp_path / "no")
    assert "has label 9 at (3, 4), but labels run from 0 to 1" in shown


def test_masks_of_the_packaged_digits(tmp_path, capsys):
    """The command that makes the example, and that its masks are of the ink."""
    from experiments.methods import digit_masks

    given = [tmp_path / "digits", "--source", "digits5k", "--train", 20, "--test", 5]
    assert call(digit_masks, *given) == 0
    assert "20 images with masks" in capsys.readouterr().out
    for part, count in (("train", 20), ("test", 5)):
        images = sorted((tmp_path / "digits" / part / "images").iterdir())
        assert len(images) == count
        for path in images:
            image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            numbers = read_label_map(tmp_path / "digits" / part / "masks" / path.name)
            assert numbers.shape == image.shape and set(np.unique(numbers)) <= {0, 1, 255}
            assert image[numbers == 1].max() < image[numbers == 0].min() and 0.01 < (numbers == 1).mean() < 0.4
    names = [{each.name for each in (tmp_path / "digits" / part / "images").iterdir()} for part in ("train", "test")]
    assert not names[0] & names[1]
    assert "is there already" in refused(capsys, digit_masks, *given)
    many = [tmp_path / "n", *given[1:5], "--test", 9999]
    assert "test: asked for 9999 images with masks, but there are 9" in refused(capsys, digit_masks, *many)
    assert [each.name for each in tmp_path.iterdir()] == ["digits"]


def test_masks_of_real_digits(data_root, tmp_path):
    """NumtaDB's photographs and scans: a threshold finds ink that is darker than its paper or brighter."""
    if not (data_root / "numtadb" / "training-a.csv").is_file():
        pytest.skip("NumtaDB is not at hand")
    from experiments.methods import digit_masks

    given = [tmp_path / "digits", "--train", 30, "--test", 10, "--data-root", data_root]
    assert call(digit_masks, *given) == 0
    shares = []
    for path in sorted((tmp_path / "digits" / "train" / "masks").iterdir()):
        numbers = read_label_map(path)
        shares.append((numbers == 1).mean())
    assert len(shares) == 30 and min(shares) > 0.01 and max(shares) < 0.4
