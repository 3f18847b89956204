"""The drawing functions: what stands in their axes, not what the pixels are."""

import io
import json

import numpy as np
import pytest

from engine.errors import UserError

pytest.importorskip("matplotlib", reason="figures need matplotlib")

from engine.plots import canvas, confusion, curves, layers, sheets
from engine.plots.curves import Log, make_log, median_of, read_log

NAMES = ("top", "bottom", "left")


def record(epoch, **values):
    return {"epoch": epoch, "step": epoch * 9, "train_loss": 1 / epoch, "val_loss": 2 / epoch, **values}


def write_log(folder, *lines):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text(
        "".join(each if isinstance(each, str) else json.dumps(each) + "\n" for each in lines)
    )
    return folder


def log_of(name, epochs, seed=0):
    rng = np.random.default_rng(seed)
    metrics = ("train_loss", "val_loss", "val_accuracy", "val_macro_f1")
    return Log(name, np.arange(1, epochs + 1), {metric: rng.random(epochs) for metric in metrics})


# ---- curves ----


def test_curves_show_the_logged_points(tmp_path):
    write_log(tmp_path / "a", *(record(epoch, val_accuracy=epoch / 4, val_macro_f1=epoch / 5) for epoch in (1, 2, 3)))
    log = read_log(tmp_path / "a")
    figure = curves.draw_curves([log])
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy (share right)", "macro F1"]
    loss, accuracy, _ = figure.axes
    training, validation = loss.lines
    assert training.get_xydata().tolist() == [[1, 1], [2, 1 / 2], [3, 1 / 3]]
    assert validation.get_ydata().tolist() == [2, 1, 2 / 3]
    assert accuracy.lines[0].get_ydata().tolist() == [0.25, 0.5, 0.75]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a, training", "a, validation"]


def test_a_panel_is_only_drawn_where_a_run_has_the_metric():
    only_loss = make_log("a", [{"epoch": 1, "train_loss": 2.0}], "a")
    assert [axes.get_ylabel() for axes in curves.draw_curves([only_loss]).axes] == ["loss"]
    with pytest.raises(UserError, match="none of the runs"):
        curves.draw_curves([make_log("a", [{"epoch": 1}], "a")])


def test_a_run_of_one_epoch_is_seen_as_a_mark():
    figure = curves.draw_curves([log_of("one", 1)])
    assert all(line.get_marker() == "o" for axes in figure.axes for line in axes.lines)
    assert all(axes.get_xlim()[0] < 1 < axes.get_xlim()[1] for axes in figure.axes)


def test_a_hundred_runs_are_thin_lines_and_a_median():
    logs = [log_of(f"run{seed}", 20 + seed % 3, seed) for seed in range(100)]
    loss = curves.draw_curves(logs).axes[0]
    assert len(loss.lines) == 2 * 101
    epochs, median = median_of(logs, "val_loss")
    assert epochs.tolist() == list(range(1, 23))
    assert median[0] == np.median([log.values["val_loss"][0] for log in logs])
    assert median[-1] == np.median([log.values["val_loss"][21] for log in logs if len(log.epochs) == 22])
    legend = loss.figure.legends[0]
    assert len(legend.get_texts()) == 4


def test_names_are_shown_letter_by_letter():
    figure = curves.draw_curves([log_of("_hidden", 2), log_of("cost_$a$", 2, 1)])
    texts = figure.legends[0].get_texts()
    assert {text.get_text().strip() for text in texts} == {
        f"{name}, {part}" for name in ("_hidden", "cost_$a$") for part in ("training", "validation")
    }
    assert not any(text.get_parse_math() for text in texts)


def test_null_is_a_gap_and_other_events_are_passed_over(tmp_path):
    write_log(tmp_path, record(1), record(2) | {"val_loss": None}, {"event": "diverged", "epoch": 3, "step": 7})
    log = read_log(tmp_path)
    assert log.epochs.tolist() == [1, 2]
    assert log.values["val_loss"][0] == 2 and np.isnan(log.values["val_loss"][1])


@pytest.mark.parametrize(
    "line",
    [
        '{"epoch": 2, "train_lo\n',
        "[1, 2]\n",
        '{"step": 3}\n',
        '{"epoch": "2"}\n',
        '{"epoch": 2, "val_loss": "low"}\n',
        "\n",
    ],
)
def test_a_damaged_line_is_named(tmp_path, line):
    write_log(tmp_path, record(1), line, record(3))
    with pytest.raises(UserError, match=r"log\.jsonl, line 2: is damaged"):
        read_log(tmp_path)


def test_folders_without_epochs(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        read_log(tmp_path)
    with pytest.raises(UserError, match="no epoch"):
        read_log(write_log(tmp_path))
    (tmp_path / "log.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        read_log(tmp_path)


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    folders = [tmp_path / "a" / "seed0", tmp_path / "b" / "seed0", tmp_path / "c"]
    assert curves.run_names(folders) == [str(folders[0]), str(folders[1]), "c"]


# ---- confusion ----


def test_confusion_shows_counts_and_shares():
    matrix = np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]])
    figure = confusion.draw_confusion(matrix, NAMES, "a title with $")
    left, right = figure.axes[:2]
    assert left.images[0].get_array().tolist() == matrix.tolist()
    normalised = right.images[0].get_array()
    assert normalised[:2].tolist() == [[0.8, 0.2, 0], [0, 1, 0]] and np.ma.getmaskarray(normalised)[2].all()
    for axes in (left, right):
        assert [label.get_text() for label in axes.get_yticklabels()] == list(NAMES)
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [text.get_text() for text in left.texts] == ["8", "2", "5"]
    assert [text.get_text() for text in right.texts] == [".80", ".20", "1.00"]


def test_small_shares_are_not_written_as_none():
    assert [confusion._short(value) for value in (0.0, 0.001, 0.994, 1.0, np.nan)] == ["", "<.01", ".99", "1.00", ""]


def test_many_classes_are_named_and_not_written_in():
    figure = confusion.draw_confusion(np.eye(62, dtype=np.int64), [f"class number {label}" for label in range(62)])
    axes = figure.axes[0]
    assert not axes.texts and len(axes.get_xticklabels()) == 62
    with pytest.raises(UserError, match=r"shape \(3, 3\)"):
        confusion.draw_confusion(np.eye(4, dtype=np.int64), NAMES)


def test_a_thousand_classes_make_no_larger_figure_and_name_every_tenth():
    hundred, thousand = (
        confusion.draw_confusion(np.eye(classes, dtype=np.int64), list(map(str, range(classes))))
        for classes in (100, 1000)
    )
    assert hundred.get_size_inches().tolist() == thousand.get_size_inches().tolist()
    assert [label.get_text() for label in thousand.axes[0].get_xticklabels()] == list(map(str, range(0, 1000, 10)))


# ---- filters and feature maps ----


def test_filters_of_the_image_are_in_colour():
    weights = np.random.default_rng(0).standard_normal((6, 3, 5, 5)).astype(np.float32)
    sheet = layers.draw_filters(weights, "0", colour=True).axes[0].images[0].get_array()
    assert sheet.ndim == 3 and sheet.min() >= 0 and sheet.max() <= 1
    bound = np.abs(weights).max()
    np.testing.assert_allclose(sheet[0, 0], weights[0, :, 0, 0] / (2 * bound) + 0.5, 1e-6)


def test_other_filters_are_a_row_per_filter_and_a_column_per_channel():
    weights = np.random.default_rng(0).standard_normal((70, 20, 3, 3)).astype(np.float32)
    figure = layers.draw_filters(weights, "conv2")
    sheet = figure.axes[0].images[0].get_array()
    side = 3 * layers.ZOOM + layers.ZOOM // 2
    assert sheet.shape == (64 * side - layers.ZOOM // 2, 16 * side - layers.ZOOM // 2)
    assert sheet[5 * side, 2 * side] == weights[5, 2, 0, 0]
    low, high = figure.axes[0].images[0].get_clim()
    assert high == -low == np.abs(weights).max()
    title = " ".join(figure.get_suptitle().split())
    assert title == "conv2: the first 64 of 70 filters 3×3 (rows), the first 16 of 20 input channels (columns)"


def test_a_linear_layer_is_drawn_as_its_matrix():
    weights = np.arange(-6, 6, dtype=np.float32).reshape(3, 4)
    assert layers.draw_filters(weights, "fc").axes[0].images[0].get_array().tolist() == weights.tolist()
    with pytest.raises(UserError, match="shape"):
        layers.draw_filters(np.ones(3, np.float32), "norm")
    layers.draw_filters(np.zeros((2, 1, 3, 3), np.float32), "all zero")


def test_features_are_a_strip_per_layer():
    rng = np.random.default_rng(0)
    maps = {
        "conv": rng.standard_normal((20, 6, 5)).astype(np.float32),
        "dense": rng.standard_normal(300).astype(np.float32),
        "scores": np.array([0.1, 0.7, 0.2], np.float32),
    }
    figure = layers.draw_features(maps, rng.random((1, 8, 8)), {"conv": "Conv2D(1, 20, 3)"}, NAMES)
    rows = np.array(figure.axes).reshape(4, 2)
    assert "20×6×5" in rows[1, 0].texts[0].get_text()
    conv = rows[1, 1].images[0].get_array()
    assert conv.shape == (6, 16 * 5 + 15) and conv[2, 6 * 2 + 1] == maps["conv"][2, 2, 1]
    assert rows[2, 1].images[0].get_array().compressed().tolist() == pytest.approx(maps["dense"].tolist())
    assert [bar.get_height() for bar in rows[3, 1].patches] == pytest.approx([0.1, 0.7, 0.2])
    assert [label.get_text() for label in rows[3, 1].get_xticklabels()] == list(NAMES)


# ---- sheets ----


def answers(count=40):
    """Labels, probabilities of three classes, and images whose brightness is their number."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, count)
    probabilities = rng.dirichlet(np.ones(3), count).astype(np.float32)
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), np.uint8)
    return images, truth, probabilities


def test_the_most_confident_mistakes_come_first():
    images, truth, probabilities = answers()
    worst = sheets.worst_mistakes(truth, probabilities, 5)
    wrong = [each for each in range(len(truth)) if probabilities[each].argmax() != truth[each]]
    assert worst.tolist() == sorted(wrong, key=lambda each: -probabilities[each].max())[:5]
    figure = sheets.draw_mistakes(images, truth, probabilities, NAMES, 5)
    assert figure.get_suptitle() == f"{len(wrong)} mistakes in 40 samples, the most confident first"
    for axes, sample in zip(figure.axes, worst):
        assert axes.images[0].get_array()[0, 0] == pytest.approx(sample / 255)
        assert axes.get_title() == f"true {NAMES[truth[sample]]}"
        assert axes.get_xlabel().startswith(NAMES[probabilities[sample].argmax()])


def test_mistakes_say_which_sample_they_are():
    images, truth, probabilities = answers()
    captions = [f"photograph of number {each}.png" for each in range(len(truth))]
    figure = sheets.draw_mistakes(images, truth, probabilities, NAMES, 5, captions)
    for axes, sample in zip(figure.axes, sheets.worst_mistakes(truth, probabilities, 5)):
        name, below = axes.get_xlabel().split("\n")
        assert name.startswith(NAMES[probabilities[sample].argmax()]) and below == canvas.shorten(captions[sample], 16)
    right = np.eye(3, dtype=np.float32)[truth]
    assert not sheets.draw_mistakes(images, truth, right, NAMES, 5, captions).axes


def test_no_mistakes_and_bad_counts():
    images, truth, probabilities = answers(3)
    right = np.eye(3, dtype=np.float32)[truth]
    figure = sheets.draw_mistakes(images, truth, right, NAMES)
    assert figure.get_suptitle() == "0 mistakes in 3 samples" and not figure.axes
    for call in (lambda: sheets.draw_mistakes(images, truth, right, NAMES, 0),
                 lambda: sheets.draw_samples(images, truth, NAMES, {}, 0)):  # fmt: skip
        with pytest.raises(UserError, match="1 or more and at most"):
            call()


def test_only_certainty_is_a_hundred_percent():
    assert [sheets._percent(value) for value in (0.9999, 1.0, 0.25)] == ["99.9 %", "100 %", "25.0 %"]


def test_samples_stand_in_their_class_beside_its_count():
    images = np.arange(1, 8, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    labels = np.array([2, 0, 0, 2, 0, 0, 0])
    counts = {"training": np.array([5, 0, 2]), "test": np.array([1, 4, 0])}
    figure = sheets.draw_samples(images, labels, NAMES, counts, 3)
    left, right = figure.axes
    sheet = left.images[0].get_array()
    assert sheet[::3, ::3].filled(0) * 255 == pytest.approx(np.array([[2, 3, 5], [0, 0, 0], [1, 4, 0]]))
    assert [bar.get_width() for bar in right.patches] == [5, 0, 2, 1, 4, 0]
    assert [text.get_text() for text in right.texts] == ["6", "4", "2"]


def test_the_first_hundred_of_many_classes_are_sampled():
    labels = np.arange(250)
    images = np.zeros((250, 1, 4, 4), np.uint8)
    left, right = sheets.draw_samples(images, labels, list(map(str, labels)), {"training": np.ones(250, int)}).axes
    assert len(left.get_yticklabels()) == 100 == len(right.patches)
    assert left.get_ylabel() == "the first 100 of 250 classes"


def test_large_figures_are_drawn_within_bounds():
    """62 classes, 100 runs, 48 mistakes: pixels and kilobytes (noise, the worst there is to pack)."""
    rng = np.random.default_rng(0)
    names = [f"class {label}" for label in range(62)]
    truth = rng.integers(0, 62, 600)
    images = rng.integers(0, 256, (600, 1, 28, 28), np.uint8)
    scores = rng.dirichlet(np.ones(62), 600).astype(np.float32)
    counts = np.bincount(truth, minlength=62)
    matrix = np.histogram2d(truth, scores.argmax(axis=1), (62, 62), ((0, 62), (0, 62)))[0].astype(np.int64)
    for figure, kilobytes in (
        (curves.draw_curves([log_of(f"run{seed}", 20, seed) for seed in range(100)]), 600),
        (confusion.draw_confusion(matrix, names), 300),
        (sheets.draw_mistakes(images, truth, scores, names, 48), 1500),
        (sheets.draw_samples(images, truth, names, {"training": counts}), 1500),
    ):
        width, height = figure.get_size_inches() * canvas.DPI
        assert width * height < 16e6
        assert len(canvas.encode(figure)) < 1024 * kilobytes


# ---- canvas ----


def test_a_figure_is_the_same_file_every_time(tmp_path):
    for kind in ("png", "svg", "pdf"):
        files = [canvas.encode(curves.draw_curves([log_of("a", 3)]), kind) for _ in range(2)]
        assert files[0] == files[1], kind


def test_tiles_lie_in_two_columns():
    from PIL import Image

    def png(width, height):
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), "red").save(buffer, "PNG")
        return buffer.getvalue()

    sheet = Image.open(io.BytesIO(canvas.tile([png(200, 200), png(100, 40), png(400, 80)], 216)))
    assert sheet.size == (216, 100)  # a square of 100, beside it 30 and 20 rows


def test_pictures_of_inputs():
    grey = np.array([[[[0, 255]]]], np.uint8)
    assert canvas.shown(grey).tolist() == [[[0, 1]]]
    assert canvas.shown(np.array([[[[-1.0, 3.0]]]], np.float32)).tolist() == [[[0, 1]]]
    assert canvas.shown(np.zeros((2, 3, 4, 5), np.uint8)).shape == (2, 4, 5, 3)
    assert canvas.shown(np.full((1, 2, 1, 1), 7.0, np.float32)).tolist() == [[[0]]]
    assert canvas.mosaic(np.ones((3, 2, 2)), 2).shape == (5, 5)
    assert canvas.shorten("tallbuilding", 8) == "tal…ding"
