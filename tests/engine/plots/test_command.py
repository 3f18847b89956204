"""`python -m engine.plots`: what it writes for a real run, and that every mistake is one line and no file."""

import builtins
import csv
import json
import re
import sys
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import engine
from engine import crossval, predict, profile, summary, train
from engine.cli import run
from engine.errors import UserError
from engine.plots import __main__ as door
from engine.plots import command, gather
from engine.plots.canvas import check_target
from engine.training.folder import find_checkpoint
from tests.engine.small import SIDE, small_config, small_dataset, small_images, small_net, write_archive

pytest.importorskip("matplotlib", reason="figures need matplotlib")


def call_module(module, name, arguments):
    """Run a command's main in this process, as its shell would; the exit status."""
    before, threads = sys.argv, engine.get_num_threads()
    sys.argv = [name, *map(str, arguments)]
    try:
        return run(module.main)
    finally:
        sys.argv = before
        engine.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the runs "run" (with a test part), "plain" (validation only) and "blind" (neither)."""
    place = tmp_path_factory.mktemp("plots")
    archive = write_archive(place / "set.npz")
    images, labels = small_images(40, seed=9)
    np.savez(place / "test.npz", x=images, y=labels)
    cv2.imwrite(str(place / "one.png"), images[0])
    config = small_config(archive) | {"epochs": 2}
    (place / "small.yaml").write_text(yaml.safe_dump(config))
    (place / "broken.yaml").write_text(yaml.safe_dump(config | {"epoch": 1}))
    for name, overrides in {
        "run": [f"dataset.test={{path: {place / 'test.npz'}}}"],
        "plain": ["epochs=1"],
        "blind": ["split={kind: none}", "metric=train_loss", "schedule.name=Constant"],
    }.items():
        assert call_module(train, "train", [place / "small.yaml", *overrides, "--out", place / name]) == 0
    return place


def call(capsys, *arguments):
    """Exit status, standard output and standard error of the command."""
    capsys.readouterr()
    status = call_module(door, "plots", arguments)
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_all_figures_of_a_run_in_a_folder_or_on_a_sheet(trained, capsys, tmp_path):
    status, out, err = call(capsys, "all", trained / "run")
    assert status == 0, err
    written = {path.stem: path.read_bytes() for path in (trained / "run" / "plots").iterdir()}
    assert set(written) == set(door.FIGURES) and all(data.startswith(b"\x89PNG") for data in written.values())
    assert call(capsys, "all", trained / "run", "--only", "curves", "filters", "--out", tmp_path / "two")[0] == 0
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"curves.png", "filters.png"}
    assert call(capsys, "all", trained / "run", "--out", tmp_path / "sheet.png")[0] == 0
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_every_figure_has_its_command():
    assert tuple(command.DRAWN) == (*door.FIGURES, "gradcam")  # of images that are named, and so not among all of a run


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@pytest.mark.parametrize("what", door.FIGURES)
def test_each_figure_in_each_format(trained, capsys, tmp_path, what, suffix):
    source = trained / "plain"
    more = {"curves": [trained / "run"], "features": ["--image", trained / "one.png"]}.get(what, [])
    status, out, err = call(capsys, what, source, *more, "--out", tmp_path / f"figure.{suffix}")
    assert status == 0, err
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert (tmp_path / f"figure.{suffix}").read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [f"figure.{suffix}"]


def test_the_matrix_agrees_with_the_runs_own_result(trained):
    _, parts, answers = command.judged(trained / "run", None)
    result = json.loads((trained / "run" / "result.json").read_text())
    assert set(parts) == {"training", "validation", "test"} and answers.part == "test"
    assert np.mean(answers.predicted == answers.truth) == pytest.approx(result["test_accuracy"])
    assert answers.class_names == ("0", "1", "2")
    np.testing.assert_allclose(answers.probabilities.sum(axis=1), 1, 1e-5)
    _, _, answers = command.judged(trained / "plain", None)
    assert answers.part == "validation" and len(answers.truth) == 40


def test_mistakes_come_as_a_table_too(trained, capsys, tmp_path):
    """Of a set without files the number in the part names a sample."""
    poor = tmp_path / "poor"
    settings = ["epochs=1", "optimizer.lr=1e-6", "--out", poor]
    assert call_module(train, "train", [trained / "small.yaml", *settings]) == 0
    arguments = ["--out", tmp_path / "m.png", "--count", "1", "--csv", tmp_path / "m.csv"]
    status, out, err = call(capsys, "mistakes", poor, *arguments)
    assert status == 0 and f"written: {tmp_path / 'm.csv'}" in out, err
    _, _, answers = command.judged(poor, None)
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    samples = [int(row["sample"]) for row in rows]
    wrong = np.flatnonzero(answers.predicted != answers.truth)
    assert samples == sorted(wrong, key=lambda each: (-answers.probabilities[each].max(), each)) and len(samples) > 1
    for row, sample in zip(rows, samples):
        truth, predicted = answers.truth[sample], answers.predicted[sample]
        assert (row["truth"], row["label"]) == (str(truth), str(predicted))
        assert np.float32(row["probability"]) == answers.probabilities[sample, predicted]
        assert np.float32(row["truth_probability"]) == answers.probabilities[sample, truth]


def test_mistakes_name_their_files(capsys, tmp_path, monkeypatch):
    """Also behind an image that could not be read, of both parts."""
    monkeypatch.setenv("CNN_CACHE", str(tmp_path / "cache"))
    for name, seed in {"set": 0, "test": 1}.items():
        images, labels = small_images(40, seed)
        for number, (image, label) in enumerate(zip(images, labels)):
            path = tmp_path / name / str(label) / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    first = min((tmp_path / "test" / "0").iterdir())
    first.write_bytes(first.read_bytes()[:50])
    config = small_config("") | {"epochs": 1, "optimizer": {"name": "SGD", "lr": 1e-6}}
    config["dataset"] = {"name": "folder", "train": {"path": str(tmp_path / "set")}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    test = f"dataset.test={{path: {tmp_path / 'test'}}}"
    assert call_module(train, "train", [tmp_path / "c.yaml", test, "--out", tmp_path / "tested"]) == 0
    assert "warning: test: 1 of 40 images cannot be read" in capsys.readouterr().err
    assert call_module(train, "train", [tmp_path / "c.yaml", "--out", tmp_path / "split"]) == 0
    for run_name, part, count in (("tested", "test", 39), ("split", "set", 10)):
        arguments = ["--csv", tmp_path / "m.csv", "--out", tmp_path / "m.png"]
        status, _, err = call(capsys, "mistakes", tmp_path / run_name, *arguments)
        assert status == 0 and ("1 of 40 images" in err) == (part == "test")
        with pytest.warns(UserWarning, match="1 of 40") if part == "test" else nullcontext():
            _, _, answers = command.judged(tmp_path / run_name, None)
        rows = list(csv.DictReader((tmp_path / "m.csv").open()))
        assert rows and all(tmp_path / part in Path(row["file"]).parents for row in rows)
        assert all(Path(row["file"]).parent.name == row["truth"] for row in rows)
        assert len(answers.dataset) == len(answers.dataset.files) == count
        for image, file in zip(answers.dataset.images, answers.dataset.files):
            assert np.array_equal(image[0], cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))


def test_a_table_of_mistakes_needs_a_file_of_its_own(trained, capsys, tmp_path):
    for table in (tmp_path, tmp_path / "m.png"):
        status, _, err = call(capsys, "mistakes", trained / "plain", "--out", tmp_path / "m.png", "--csv", table)
        assert status == 2 and "--csv takes the name of a file" in err and not list(tmp_path.iterdir())


def test_a_run_without_validation_is_drawn_from_its_last_epoch(trained):
    assert find_checkpoint(trained / "blind").name == "last.safetensors"
    assert find_checkpoint(trained / "run").name == "best.safetensors"


def test_curves_of_a_checkpoint_are_those_of_its_log(trained):
    from engine.plots.curves import read_log

    stored, logged = read_log(trained / "run" / "last.safetensors"), read_log(trained / "run")
    assert stored.epochs.tolist() == logged.epochs.tolist() == [1, 2]
    assert all((stored.values[key] == values).all() for key, values in logged.values.items())


def test_samples_of_a_configuration(trained, capsys, tmp_path):
    assert call(capsys, "samples", trained / "small.yaml", "--per-class", 2, "--out", tmp_path / "s.png")[0] == 0


def test_dropout_and_flatten_have_no_strip_and_colour_is_known(trained):
    assert list(gather.changing_layers(small_net())) == ["0", "1", "2", "3", "6", "7"]
    assert list(gather.filter_layers(small_net())) == ["0", "6"]
    colour = engine.Sequential([engine.Conv2D(3, 3, 3), engine.Conv2D(3, 2, 3)], (3, 8, 8))
    assert gather.reads_colour(colour, "0") and not gather.reads_colour(colour, "1")
    assert not gather.reads_colour(small_net(), "0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["curves", "nowhere"], "nowhere: no such run folder"),
        (["curves", "rum"], "rum: no such run folder; did you mean run.$"),
        (["mistakes", "rum"], "rum: no such run folder; did you mean run.$"),
        (["filters", "rum"], "rum: no such checkpoint or run folder; did you mean run.$"),
        (["curves", "run", "--out", "curves"], "curves: a figure's file ends in .*, such as curves.png"),
        (["curves", "begun"], "begun/log.jsonl: no epoch has been logged yet: the run has just begun, or"),
        (["curves", "."], r"\.: holds no run"),
        (["curves", "run", "damaged"], r"damaged/log.jsonl, line 2: is damaged"),
        (["curves", "run/best.safetensors"], "keeps no history"),
        (["curves", "run", "--out", "run"], "figure's file ends in"),
        (["curves", "run", "--out", "curves.gif"], "figure's file ends in .png, .svg, .pdf, not in '.gif'"),
        (["curves", "run", "--out", "small.yaml/curves.png"], "small.yaml: is a file"),
        (["confusion", "nowhere"], "nowhere: no such run folder"),
        (["confusion", "run/best.safetensors"], "is no run folder"),
        (["confusion", "damaged"], "config.yaml"),
        (["confusion", "blind"], "neither a test nor a validation part"),
        (["confusion", "other"], "takes .3, 28, 28., but the validation images of set have shape .1, 10, 10."),
        (["filters", "nowhere.safetensors"], "no such checkpoint"),
        (["filters", "damaged"], "neither best.safetensors nor last.safetensors"),
        (["filters", "run", "--layer", "conv1"], "unknown layer 'conv1'.*those with filters: 0, 6"),
        (["filters", "run", "--layer", "2"], "layer '2' is ReLU.* has no filters; those that have: 0, 6"),
        (["filters", "run/log.jsonl"], "is no checkpoint; give the run's folder run, or best.safetensors in it"),
        (["features", "run", "--image", "nowhere.png"], "nowhere.png: cannot be read"),
        (["features", "run", "--image", "small.yaml"], "not an image"),
        (["features", "run", "--image", "large.png"], "gives an input of shape .1, 12, 12."),
        (["features", "bare.safetensors", "--image", "one.png"], "without its preprocessing"),
        (["mistakes", "run", "--count", "0"], "1 or more and at most .*, got 0"),
        (["samples", "run", "--per-class", "0"], "1 or more and at most .*, got 0"),
        (["mistakes", "run", "--count", "9999"], "--count must be 1 or more and at most 100, got 9999"),
        (["samples", "run", "--per-class", "51"], "--per-class must be 1 or more and at most 50, got 51"),
        (["samples", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["samples", "broken.yaml"], "did you mean 'epochs'"),
        (["all", "damaged"], "line 2: is damaged"),
        (["all", "run", "--out", "small.yaml/plots"], "small.yaml: is a file"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(trained, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(trained)
    (trained / "damaged").mkdir(exist_ok=True)
    line = (trained / "run" / "log.jsonl").read_text().splitlines()[0]
    (trained / "damaged" / "log.jsonl").write_text(f"{line}\n{line[:30]}\n")
    (trained / "begun").mkdir(exist_ok=True)
    (trained / "begun" / "log.jsonl").write_text("")
    cv2.imwrite("large.png", np.zeros((12, 12), np.uint8))
    small_net().save("bare.safetensors")
    other = trained / "other"
    other.mkdir(exist_ok=True)
    (other / "config.yaml").write_text((trained / "plain" / "config.yaml").read_text())
    from engine.models.numtadb import lenet

    lenet().save(other / "best.safetensors")
    before = set(trained.rglob("*"))
    status, out, err = call(capsys, *arguments)
    assert status == 2 and not out
    assert err.startswith("error: ") and err.count("\n") == 1
    assert re.search(message, err), err
    assert set(trained.rglob("*")) == before


def test_without_matplotlib_the_command_for_it_is_told(trained, monkeypatch, capsys, tmp_path):
    real = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name.startswith("matplotlib"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *arguments, **keywords)

    monkeypatch.delitem(sys.modules, "engine.plots.parts", raising=False)  # which an earlier test has loaded
    monkeypatch.delattr("engine.plots.parts", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    status, _, err = call(capsys, "curves", trained / "run", "--out", tmp_path / "c.png")
    assert status == 2 and 'pip install "cnn-engine[plots]"' in err and not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_figure(trained, monkeypatch, capsys, tmp_path):
    target = tmp_path / "c.png"
    target.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("os.fsync", full)
    status, _, err = call(capsys, "curves", trained / "run", "--out", target)
    assert status == 2 and "No space left" in err
    assert target.read_bytes() == b"old" and [path.name for path in tmp_path.iterdir()] == ["c.png"]


def test_a_folder_without_permission(monkeypatch, tmp_path):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError, match="no permission"):
        check_target(tmp_path / "c.png")


def test_real_images_of_three_channels(data_root, tmp_path, capsys):
    """CIFAR-10 from the publisher's files: the filters of the image are in colour, the classes have their names."""
    from pathlib import Path

    example = Path(__file__).parents[3] / "experiments" / "configs" / "cifar10.yaml"
    settings = ["dataset.subset=200", "dataset.test=false", "split={kind: fraction}", "epochs=1", "threads=1"]
    arguments = [example, *settings, "--data-root", data_root, "--out", tmp_path / "run"]
    assert call_module(train, "train", arguments) == 0
    net, parts, answers = command.judged(tmp_path / "run", data_root)
    assert gather.reads_colour(net, "0") and "airplane" in answers.class_names
    figure = command._filters(net, tmp_path / "run", None)
    assert figure.axes[0].images[0].get_array().ndim == 3
    assert sum(map(sum, gather.counts_by_class(parts, 10).values())) == 200
    assert SIDE != answers.dataset.images.shape[2] == 32


# ---- runs that were started from Python ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def from_python(tmp_path_factory):
    """Folders that `Trainer(out=…)` wrote: "own" settings, a "noted" mapping of the user's, and one "blind" run."""
    place = tmp_path_factory.mktemp("python")
    images, labels = small_images(4)
    cv2.imwrite(str(place / "one.png"), images[0])
    for name, config in {"own": None, "noted": {"note": "first try"}, "blind": None}.items():
        trainer = engine.Trainer(small_net(), engine.SGD(lr=0.05), out=place / name, progress="none", config=config)
        trainer.fit(small_dataset(96), None if name == "blind" else small_dataset(48, seed=1), epochs=6)
    return place


@pytest.mark.parametrize("name", ["own", "noted"])
def test_what_needs_no_data_set_is_drawn_of_a_run_from_python(from_python, capsys, tmp_path, name):
    run = from_python / name
    for what, *more in (["curves"], ["filters"], ["features", "--image", from_python / "one.png"]):
        status, _, err = call(capsys, what, run, *more, "--out", tmp_path / f"{what}.png")
        assert status == 0, err
    status, out, err = call(capsys, "all", run, "--out", tmp_path / "all")
    assert status == 0 and {path.name for path in (tmp_path / "all").iterdir()} == {"curves.png", "filters.png"}
    assert err.startswith("left out: samples, features, confusion, mistakes; ") and "started from Python" in err
    assert call(capsys, "all", run, "--only", "filters", "--out", tmp_path / "one.png")[::2] == (0, "")


@pytest.mark.parametrize("what", ["samples", "confusion", "mistakes", "all"])
@pytest.mark.parametrize("name", ["own", "noted"])
def test_a_run_from_python_has_no_data_set_to_draw(from_python, capsys, tmp_path, name, what):
    more = ["--only", "mistakes"] if what == "all" else []
    status, out, err = call(capsys, what, from_python / name, *more, "--out", tmp_path / "figure.png")
    assert status == 2 and not out and not list(tmp_path.iterdir())
    assert err.startswith(f"error: {from_python / name}: the run was started from Python") and err.count("\n") == 1


@pytest.mark.parametrize("module", [train, crossval, summary, profile], ids=lambda module: module.__name__)
def test_settings_of_a_run_from_python_are_no_configuration(from_python, capsys, module):
    path = from_python / "own" / "config.yaml"
    assert call_module(module, module.__name__, [path]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {path}: holds the settings of a run that was started from Python")


@pytest.mark.parametrize("name", ["own", "blind"])
def test_a_run_folder_stands_for_its_checkpoint(from_python, capsys, name):
    """The best epoch's; the last one's where no validation part picked it."""
    run, image = from_python / name, from_python / "one.png"
    chosen = run / ("last.safetensors" if name == "blind" else "best.safetensors")
    assert find_checkpoint(run) == chosen

    def shown(module, *arguments):
        assert call_module(module, module.__name__, arguments) == 0
        return capsys.readouterr().out

    assert shown(summary, run) == shown(summary, chosen)
    assert shown(predict, image, "--checkpoint", run) == shown(predict, image, "--checkpoint", chosen)
    assert "flops" in shown(profile, run, "--batch", 2, "--json").lower()


def test_a_folder_without_a_run_is_no_checkpoint(from_python, capsys, tmp_path):
    for module, arguments in (
        (predict, [from_python / "one.png", "--checkpoint", tmp_path]),
        (summary, [tmp_path]),
        (profile, [tmp_path]),
    ):
        assert call_module(module, module.__name__, arguments) == 2
        assert capsys.readouterr().err.startswith(f"error: {tmp_path}: holds no run")
    with pytest.raises(
        UserError, match=r"own: no such checkpoint file, but a folder; give a file in it, such as .*best\.safetensors"
    ):
        engine.load(from_python / "own")


def test_gradcam_of_images(trained, capsys, tmp_path):
    out = tmp_path / "heat.png"
    status, shown, _ = call(capsys, "gradcam", trained / "run", trained / "one.png", "--out", out)
    assert status == 0 and str(out) in shown
    first = out.read_bytes()
    assert cv2.imread(str(out)).shape[1] > 500
    given = ["gradcam", trained / "run", trained / "one.png", "--out", out]
    assert call(capsys, *given, "--class", "2", "--layer", "2")[0] == 0 and out.read_bytes() != first
    for options, message in (
        (["--class", "seven"], "unknown class 'seven'"),
        (["--layer", "9"], "unknown layer '9'"),
        (["--layer", "6"], "whose output is a map"),
    ):
        before = out.read_bytes()
        status, _, error = call(capsys, *given, *options)
        assert status == 2 and message in error and error.count("\n") == 1, error
        assert out.read_bytes() == before
    status, _, error = call(capsys, "gradcam", trained / "run", trained / "small.yaml", "--out", out)
    assert status == 2 and "small.yaml: not an image" in error and out.read_bytes() == before


def folder_run(place: Path, *overrides: str) -> Path:
    """A run, in place/run, on pictures in place/pictures, with a validation part that is drawn."""
    images, labels = small_images(60, seed=4)
    for number, (image, label) in enumerate(zip(images, labels)):
        (place / "pictures" / str(label)).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / "pictures" / str(label) / f"{number:02}.png"), image)
    config = small_config(place / "set.npz") | {
        "epochs": 1,
        "dataset": {"name": "folder", "train": {"path": str(place / "pictures")}},
    }
    (place / "run.yaml").write_text(yaml.safe_dump(config))
    assert call_module(train, "train", [place / "run.yaml", *overrides, "--out", place / "run"]) == 0
    return place / "run"


def test_a_validation_part_that_is_not_that_of_the_run_is_told(tmp_path, recwarn):
    folder = folder_run(tmp_path)
    command.judged(folder, None)
    assert not recwarn.list
    gone = sorted((tmp_path / "pictures" / "1").iterdir())[:4]
    for file in gone:
        file.rename(tmp_path / file.name)
    with pytest.warns(
        engine.errors.EngineWarning, match=r"data are not those of the run \(validation had 15 samples, now"
    ):
        _, parts, answers = command.judged(folder, None)
    last = (folder / "last.safetensors").read_bytes()
    (folder / "last.safetensors").unlink()  # as of a run that has no record of its data
    recwarn.clear()
    command.judged(folder, None)
    (folder / "last.safetensors").write_bytes(last)
    # Other pictures, but not of this part: those judged are what they were.
    for file in gone:
        (tmp_path / file.name).rename(file)
    trained_on = next(file for file in command.judged(folder, None)[1]["training"].files)
    cv2.imwrite(str(trained_on), np.zeros((SIDE, SIDE), np.uint8))
    command.judged(folder, None)
    assert not recwarn.list


def test_images_come_to_the_values_that_they_had_in_training(tmp_path):
    folder = folder_run(tmp_path, "preprocess.standardise=set")
    before = command.judged(folder, None)[2]
    for file in (tmp_path / "pictures").rglob("*.png"):
        if file not in before.dataset.files:
            cv2.imwrite(str(file), np.full((SIDE, SIDE), 255, np.uint8))
    after = command.judged(folder, None)[2]
    assert np.array_equal(before.probabilities, after.probabilities)
